"""`adapterhub add`: a task of the Hugging Face Hub into a registry here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapterhub.commands.options import AsJson, Registry
from adapterhub.commands.printing import print_json, print_line, size_text

AllowOlder = Annotated[
    bool,
    typer.Option("--allow-older", help="Take an older version than the one that is pinned."),
]


def add(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="owner/repo:task, with @alias, :version, @tag or @commit behind it.",
        ),
    ],
    own_name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Its name here; else its own.")
    ] = None,
    registry: Registry = None,
    allow_older: AllowOlder = False,
    as_json: AsJson = False,
) -> None:
    """Copy a task from the Hugging Face Hub into a registry.

    It is pinned by commit, size and sha256, works without a network from then on, and changes
    only by `update`. Without a registry.yaml here, one is made.
    """
    from adapterhub.remote.pin import pin

    added = pin(_registry_to_change(registry), name, name=own_name, allow_older=allow_older)
    record, origin = added.record, added.record.origin
    if as_json:
        print_json(
            {
                "task": added.task,
                "version": added.version,
                "file": str(added.path),
                "size": record.size,
                "sha256": record.sha256,
                "origin": None if origin is None else origin.model_dump(),
            }
        )
        return
    print_line(f"{added.task}  version {added.version}, {size_text(record.size)}: {added.path}")
    if origin is not None:
        print_line(
            f"from {origin.repo}:{origin.task} version {origin.version}, commit {origin.commit}"
        )


def _registry_to_change(registry: Registry) -> Path:
    """Returns the registry that was named, the nearest upwards, or a new one here.

    The shipped one is left alone.
    """
    from adapterhub.store.registry import NEAREST, registry_to_write

    return registry_to_write(registry or NEAREST)
