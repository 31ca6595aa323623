"""`adapterhub add`: tasks of the Hub, those that ship, or head files, into a local registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.options import AsJson, RegistryToWrite, split_names
from adapterhub.commands.printing import print_json, print_line, size_text

if TYPE_CHECKING:
    from adapterhub.store.registry import Resolved

AllowOlder = Annotated[
    bool,
    typer.Option("--allow-older", help="Take an older version than the one that is pinned."),
]


def add(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="owner/repo:task, followed by @alias, :version, @tag or @commit if wanted; "
            "shipped:task; ./other/registry.yaml:task; or ./file.safetensors.",
        ),
    ],
    own_name: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="NAME", help="Name of a single task in the registry; else its own."
        ),
    ] = None,
    registry: RegistryToWrite = None,
    allow_older: AllowOlder = False,
    as_json: AsJson = False,
) -> None:
    """Copy tasks into a registry, from the Hub or a file.

    They are on the Hugging Face Hub, ship with adapterhub, or are in another registry or a head
    file. All of them are added, or none. A task of the Hub is pinned by commit, size and sha256,
    works without a network from then on, and changes only by `update`. Without a registry.yaml
    here, one is created.
    """
    from adapterhub.remote.pin import pin
    from adapterhub.store.editing import read_or_empty
    from adapterhub.store.registry import NEAREST, registry_to_write

    path = registry_to_write(registry or NEAREST)  # never the shipped one
    before = read_or_empty(path).tasks
    added = pin(path, *split_names(names), name=own_name, allow_older=allow_older)
    new = [one.task not in before or one.version not in before[one.task].versions for one in added]
    if as_json:
        values = [{**_values(one), "is_new": fresh} for one, fresh in zip(added, new, strict=True)]
        print_json(values[0] if len(values) == 1 else {"tasks": values})
        return
    for one, fresh in zip(added, new, strict=True):
        size, origin = size_text(one.record.size), one.record.origin
        there = "" if fresh else " (there already)"
        print_line(f"{one.task}  version {one.version}, {size}{there}: {one.path}")
        if origin is not None:
            print_line(
                f"from {origin.repo}:{origin.task} version {origin.version}, commit {origin.commit}"
            )


def _values(added: Resolved) -> dict[str, object]:
    origin = added.record.origin
    return {
        "task": added.task,
        "version": added.version,
        "file": str(added.path),
        "size": added.record.size,
        "sha256": added.record.sha256,
        "origin": None if origin is None else origin.model_dump(),
    }
