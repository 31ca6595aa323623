"""`adapterhub list owner/repo`: the tasks of one repository on the Hugging Face Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterhub.commands.hub_tasks import HEADINGS, task_cells, task_values
from adapterhub.commands.printing import note, print_json, print_table

if TYPE_CHECKING:
    from adapterhub.specs import Kind


def list_repository(text: str, language: str | None, kind: Kind | None, *, as_json: bool) -> None:
    """Lists the tasks of a repository, each in its newest version, and its former names.

    Args:
        text: `owner/repo`, `owner/repo@revision`, or the address of one.
        language: Only tasks for this language.
        kind: Only tasks of this kind.
        as_json: Whether to print JSON.

    Raises:
        UsageError: It names no repository.
        RemoteError: The repository cannot be read.
    """
    from adapterhub.remote.operation import operation
    from adapterhub.remote.repository import lookup_of_call
    from adapterhub.store.references import parse_repository
    from adapterhub.store.registry import fits

    place = parse_repository(text)
    with operation():
        lookup = lookup_of_call()
        commit = lookup.commit(place.name, place.revision)
        content = lookup.registry(commit)
    prefix = f"{place.name}@{place.revision}" if place.revision else place.name
    found = [
        {**task_values(prefix, name, entry, commit.oid), "aliases": dict(entry.aliases)}
        for name, entry in sorted(content.tasks.items())
        if fits(entry, language=language, kind=kind)
    ]
    if as_json:
        retired = {
            name: one.model_dump(exclude_defaults=True) for name, one in content.retired.items()
        }
        print_json({"repo": place.name, "commit": commit.oid, "tasks": found, "retired": retired})
        return
    if found:
        print_table(HEADINGS, map(task_cells, found))
    else:
        note(f"No {'such ' if language or kind else ''}task in {prefix}.")
    for name, one in sorted(content.retired.items()):
        state = f"is {one.renamed} now" if one.renamed else "was removed"
        why = f": {one.reason}" if one.reason else ""
        note(f"adapterhub: {place.name}:{name} {state}{why}")
