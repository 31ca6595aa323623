"""`adapterhub list`: the tasks of a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from adapterhub.commands.options import AsJson, OnlyKind, OnlyLanguage, Registry, one_of
from adapterhub.commands.printing import note, print_json, print_table, size_text

if TYPE_CHECKING:
    from adapterhub.store.registry import Resolved


def list_tasks(
    registry: Registry = None,
    language: OnlyLanguage = None,
    kind: OnlyKind = None,
    as_json: AsJson = False,
) -> None:
    """List the tasks of a registry.

    Each is shown in its newest version.
    """
    from adapterhub.remote.find import open_registry
    from adapterhub.specs import KINDS, Kind

    opened = open_registry(registry)
    wanted = None if kind is None else cast("Kind", one_of("--kind", kind, KINDS))
    found = [opened.resolve(name) for name in opened.search(language=language, kind=wanted)]
    if as_json:
        tasks = [_values(task) for task in found]
        print_json({"registry": str(opened.path), "tasks": tasks})
    elif found:
        headings = ("task", "version", "kind", "language", "depth", "measured", "size", "about")
        print_table(headings, map(_cells, found))
    else:
        note(f"No {'such ' if language or kind else ''}task in {opened.path}.")


def _values(task: Resolved) -> dict[str, object]:
    return {
        "name": task.task,
        "version": task.version,
        "kind": task.entry.kind,
        "languages": list(task.entry.languages),
        "description": task.entry.description,
        "backbone": task.entry.backbone,
        "depths": list(task.record.depths),
        "pooling": task.record.pooling,
        "metrics": dict(task.record.metrics),
        "measured_on": task.record.measured_on,
        "aliases": dict(task.entry.aliases),
        "license": task.entry.license,
        "size": task.record.size,
    }


def _cells(task: Resolved) -> tuple[str, ...]:
    from adapterhub.diagnostics import figure_text

    aliases = [name for name, version in task.entry.aliases.items() if version == task.version]
    measured = (f"{name} {figure_text(value, 3)}" for name, value in task.record.metrics.items())
    return (
        task.task,
        " ".join([str(task.version), *(f"@{name}" for name in aliases)]),
        task.entry.kind,
        " ".join(task.entry.languages),
        _depths(task.record.depths),
        next(measured, "") + (f" ({task.record.measured_on})" if task.record.measured_on else ""),
        size_text(task.record.size),
        task.entry.description,
    )


def _depths(depths: tuple[int, ...]) -> str:
    """Returns `3`, `1+4`, or `0-5` for all from 0 to 5."""
    if len(depths) > 2 and depths[-1] - depths[0] == len(depths) - 1:
        return f"{depths[0]}-{depths[-1]}"
    return "+".join(map(str, depths))
