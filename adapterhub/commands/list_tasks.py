"""`adapterhub list`: the tasks of a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from adapterhub.commands.options import AsJson, OnlyKind, OnlyLanguage, Registries, one_of
from adapterhub.commands.printing import about_text, note, print_json, print_table, size_text
from adapterhub.errors import UsageError

if TYPE_CHECKING:
    from adapterhub.store.registry import Resolved


def list_tasks(
    repository: Annotated[
        str | None,
        typer.Argument(
            metavar="OWNER/REPO",
            help="A repository on the Hub: owner/repo, owner/repo@revision, or its address.",
        ),
    ] = None,
    registry: Registries = None,
    language: OnlyLanguage = None,
    kind: OnlyKind = None,
    as_json: AsJson = False,
) -> None:
    """List the tasks of a registry or of the Hub.

    They are of one registry, of several, or of a repository on the Hugging Face Hub. Each is shown
    in its newest version, by the name that other verbs take.
    """
    from adapterhub.specs import KINDS, Kind
    from adapterhub.store.registries import open_registries

    wanted = None if kind is None else cast("Kind", one_of("--kind", kind, KINDS))
    if repository is not None:
        if registry:
            raise UsageError(f"'{repository}' is on the Hub; --registry is for local tasks.")
        from adapterhub.commands.list_repository import list_repository

        list_repository(repository, language, wanted, as_json=as_json)
        return
    opened = open_registries(registry)
    fitting = {one.path: one.search(language=language, kind=wanted) for one in opened.given}
    found = [
        (one.registry, one.name, one.registry.resolve(one.task))
        for one in opened.tasks()
        if one.task in fitting[one.registry.path]
    ]
    several = len(opened.paths) > 1
    if as_json:
        tasks = [
            {**_values(name, task), **({"registry": str(at.path)} if several else {})}
            for at, name, task in found
        ]
        paths = [str(path) for path in opened.paths]
        print_json(
            {**({"registries": paths} if several else {"registry": paths[0]}), "tasks": tasks}
        )
    elif found:
        headings = ("task", "version", "kind", "language", "depth", "measured", "size", "about")
        print_table(headings, (_cells(name, task) for _, name, task in found))
    else:
        note(f"No {'such ' if language or kind else ''}task in {opened.text}.")


def _values(name: str, task: Resolved) -> dict[str, object]:
    from adapterhub.store.retired import deprecation_text

    return {
        "name": name,
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
        "deprecated": deprecation_text(task.entry.deprecated),
    }


def _cells(name: str, task: Resolved) -> tuple[str, ...]:
    from adapterhub.diagnostics import figure_text
    from adapterhub.store.retired import deprecation_text

    aliases = [name for name, version in task.entry.aliases.items() if version == task.version]
    measured = (f"{name} {figure_text(value, 3)}" for name, value in task.record.metrics.items())
    return (
        name,
        " ".join([str(task.version), *(f"@{name}" for name in aliases)]),
        task.entry.kind,
        " ".join(task.entry.languages),
        _depths(task.record.depths),
        next(measured, "") + (f" ({task.record.measured_on})" if task.record.measured_on else ""),
        size_text(task.record.size),
        about_text(deprecation_text(task.entry.deprecated), task.entry.description),
    )


def _depths(depths: tuple[int, ...]) -> str:
    """Returns `3`, `1+4`, or `0-5` for all from 0 to 5."""
    if len(depths) > 2 and depths[-1] - depths[0] == len(depths) - 1:
        return f"{depths[0]}-{depths[-1]}"
    return "+".join(map(str, depths))
