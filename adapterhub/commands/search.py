"""`adapterhub search`: tasks by language and kind, in a registry or on the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from adapterhub.commands.hub_tasks import HEADINGS, task_cells, task_values
from adapterhub.commands.list_tasks import list_tasks
from adapterhub.commands.option_fields import uses
from adapterhub.commands.options import AsJson, OnlyKind, OnlyLanguage, Registries, one_of
from adapterhub.commands.printing import note, print_json, print_table
from adapterhub.errors import UsageError

if TYPE_CHECKING:
    from adapterhub.commands.verb_options import SearchOptions
    from adapterhub.remote.search import Listed
    from adapterhub.specs import Kind
    from adapterhub.store.entries import TaskEntry


@uses("adapterhub.commands.verb_options:SearchOptions")
def search(
    *,
    registry: Registries = None,
    language: OnlyLanguage = None,
    kind: OnlyKind = None,
    options: SearchOptions,
    as_json: AsJson = False,
) -> None:
    """Find tasks by language and kind.

    They are of registries here, or with --remote of repositories on the Hugging Face Hub.
    """
    author, base_model = options.author, options.base_model
    if not options.remote:
        if base_model or author:
            raise UsageError("--base-model and --author search the Hub; give --remote with them.")
        list_tasks(None, registry, language, kind, as_json)
        return
    from adapterhub.remote.calls import current_place
    from adapterhub.remote.search import list_repositories
    from adapterhub.specs import KINDS
    from adapterhub.store.hub_urls import is_address
    from adapterhub.store.references import parse_repository

    wanted = None if kind is None else cast("Kind", one_of("--kind", kind, KINDS))
    # The Hub knows `zh` and not `zh-CN`; the entries decide.
    tags = [language.partition("-")[0].lower()] if language else []
    if base_model:
        name = parse_repository(base_model).name if is_address(base_model) else base_model
        tags.append(f"base_model:adapter:{name}")
    listed = list_repositories(current_place(), tags=tags, author=author, limit=options.limit)
    found = [
        task_values(one.commit.repo, name, entry, one.commit.oid)
        for one in listed
        for name, entry in _fitting(one, language, wanted)
    ]
    unread = [one for one in listed if one.problem is not None]
    if as_json:
        problems = {one.commit.repo: one.problem for one in unread}
        print_json({"tasks": found, "unread": problems})
        return
    if found:
        print_table(HEADINGS, map(task_cells, found))
    else:
        note("No such task in the repositories that the Hub lists.")
    for one in unread:
        note(f"adapterhub: left out {one.commit.repo}: {one.problem}")


def _fitting(
    one: Listed, language: str | None, kind: Kind | None
) -> Iterator[tuple[str, TaskEntry]]:
    from adapterhub.store.registry import fits

    for name, entry in sorted(one.content.tasks.items()) if one.content else ():
        if fits(entry, language=language, kind=kind):
            yield name, entry
