"""`adapterhub alias`: aliases of a task, shown, moved and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.changed import print_change
from adapterhub.commands.option_fields import uses
from adapterhub.commands.options import AsJson, OwnTask, note_token
from adapterhub.commands.printing import note, print_json, print_table
from adapterhub.errors import UnknownTaskError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from adapterhub.commands.verb_options import AliasOptions
    from adapterhub.publishing.publication import CommitOptions


@uses(
    "adapterhub.commands.verb_options:AliasOptions",
    "adapterhub.publishing.publication:CommitOptions",
)
def alias(
    *,
    name: OwnTask,
    alias: Annotated[
        str | None, typer.Argument(metavar="ALIAS", help="For instance prod; none to show all.")
    ] = None,
    version: Annotated[
        str | None,
        typer.Argument(metavar="VERSION", help="The version, or another alias that points to it."),
    ] = None,
    what: AliasOptions,
    options: CommitOptions,
    as_json: AsJson = False,
) -> None:
    """Show, move or remove aliases of a task.

    An alias points to a version. On the Hub it moves in one commit, and whoever loads or updates
    `task@alias` gets that version.
    """
    from adapterhub.publishing.task_changes import remove_alias, set_alias
    from adapterhub.store.references import parse_reference

    given, found = options.model_dump(exclude_unset=True), parse_reference(name)
    has_version = version is not None or found.version is not None or found.alias is not None
    if alias is None or not (what.remove or has_version):
        if given or what.remove:
            raise UsageError("Give the alias, and the version that it is to point to.")
        _show(name, alias, what.registry, as_json=as_json)
        return
    note_token(options.token)
    if what.remove:
        if has_version:
            raise UsageError("--remove takes no version.")
        done = remove_alias(name, alias, registry=what.registry, **given)
        print_change(done, f"{name} has no alias {alias}", as_json=as_json)
        return
    done = set_alias(name, alias, version, registry=what.registry, **given)
    target = version or found.version or f"@{found.alias}"
    print_change(done, f"@{alias} of {found.task} is {_text(target)}", as_json=as_json)


def _text(target: str | int) -> str:
    return f"version {target}" if str(target).isdigit() else f"what {target} is"


def _show(name: str, alias: str | None, registry: Path | None, *, as_json: bool) -> None:
    from adapterhub.publishing.task_changes import task_entry

    task, entry = task_entry(name, registry=registry)
    if alias is not None and alias not in entry.aliases:
        raise UnknownTaskError(alias, entry.aliases, what=f"alias of '{task}'")
    aliases = {
        one: number for one, number in entry.aliases.items() if alias is None or one == alias
    }
    if as_json:
        print_json({"task": task, "aliases": aliases, "versions": sorted(entry.versions)})
    elif aliases:
        print_table(
            ("alias", "version"), [(one, str(number)) for one, number in sorted(aliases.items())]
        )
    else:
        note(f"{name} has no alias; `adapterhub alias {name} prod {entry.newest}` makes one.")
