"""Tasks on the Hub as JSON and as rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from adapterhub.commands.printing import about_text

if TYPE_CHECKING:
    from adapterhub.store.entries import TaskEntry

HEADINGS = ("task", "version", "kind", "language", "depths", "measured", "about")


def task_values(place: str, name: str, entry: TaskEntry, commit: str) -> dict[str, object]:
    """Returns a task on the Hub for JSON, in its newest version.

    Args:
        place: Its repository, perhaps with the revision.
        name: Its name there.
        entry: Its entry.
        commit: The commit that it was read at.
    """
    from adapterhub.store.retired import deprecation_text

    record = entry.versions[entry.newest]
    return {
        "name": f"{place}:{name}",
        "version": entry.newest,
        "kind": entry.kind,
        "languages": list(entry.languages),
        "description": entry.description,
        "depths": list(record.depths),
        "metrics": dict(record.metrics),
        "measured_on": record.measured_on,
        "deprecated": deprecation_text(entry.deprecated, place),
        "commit": commit,
    }


def task_cells(found: dict[str, object]) -> tuple[str, ...]:
    """Returns a task on the Hub as the cells of a table."""
    from adapterhub.diagnostics import figure_text

    metrics = cast("dict[str, float]", found["metrics"])
    measured = (f"{name} {figure_text(value, 3)}" for name, value in metrics.items())
    named = cast("dict[str, int]", found.get("aliases", {}))
    aliases = [one for one, version in named.items() if version == found["version"]]
    return (
        str(found["name"]),
        " ".join([str(found["version"]), *(f"@{one}" for one in aliases)]),
        str(found["kind"]),
        " ".join(cast("list[str]", found["languages"])),
        "+".join(map(str, cast("list[int]", found["depths"]))),
        next(measured, "") + (f" ({found['measured_on']})" if found["measured_on"] else ""),
        about_text(found["deprecated"], found["description"]),
    )
