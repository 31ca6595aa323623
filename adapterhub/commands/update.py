"""`adapterhub update`: newer versions of the tasks that were added from the Hub."""

from __future__ import annotations

from typing import Annotated

import typer

from adapterhub.commands.add import AllowOlder
from adapterhub.commands.options import AsJson, Registry, split_names
from adapterhub.commands.printing import note, print_json, print_table
from adapterhub.errors import RemoteError


def update(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="Tasks; without any, all that came from the Hub."),
    ] = None,
    registry: Registry = None,
    allow_older: AllowOlder = False,
    as_json: AsJson = False,
) -> None:
    """Update tasks that were added from the Hub.

    A task that was added by version, tag or commit stays as it is. One that is refused, or was
    removed by its owner, stays too, and the exit code is 4.
    """
    from adapterhub.remote.pin import update as update_pinned
    from adapterhub.store.registry import locate_registry, read_registry

    opened = read_registry(locate_registry(registry))
    done = update_pinned(opened, tuple(split_names(names)), allow_older=allow_older)
    if as_json:
        tasks = [
            {
                "task": one.task,
                "state": one.state,
                "origin": one.origin.model_dump(),
                "problem": one.problem,
                "deprecated": one.deprecated,
            }
            for one in done
        ]
        print_json({"registry": str(opened.path), "tasks": tasks})
    elif done:
        print_table(
            ("task", "state", "version there", "commit", "from"),
            [
                (
                    one.task,
                    one.state,
                    str(one.origin.version),
                    one.origin.commit[:12],
                    f"{one.origin.repo}:{one.origin.task}",
                )
                for one in done
            ],
        )
    else:
        note(f"No task of {opened.path} came from the Hub; `adapterhub add` takes one from there.")
    for one in done:
        if one.problem is not None and not as_json:
            note(f"adapterhub: {one.problem}")
    if any(one.state in ("refused", "removed") for one in done):
        raise typer.Exit(RemoteError.exit_code)
