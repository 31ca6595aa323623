"""Changes the registry of a repository on the Hub: read, change, one commit, again after a race.

The head files, the card and the files beside the heads follow the registry in the same commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from adapterhub.errors import RemoteNotFoundError
from adapterhub.publishing.files import extras_of, files_of, task_of
from adapterhub.publishing.merging import Merged
from adapterhub.publishing.ownership import check_owner
from adapterhub.publishing.publication import CommitOptions
from adapterhub.publishing.target import (
    State,
    check_alias,
    check_commit,
    commit_message,
    make_missing_branch,
    open_place,
    read_state,
    send_changes,
    until_first,
)
from adapterhub.remote.fetch import MAIN, Commit, Promise, fetch
from adapterhub.remote.find import FoundTask, task_in
from adapterhub.remote.large_files import Uploads
from adapterhub.store.changes import Change, Tasks
from adapterhub.store.editing import make_content, prepare_registry, registry_bytes
from adapterhub.store.entries import RegistryContent, listed_files
from adapterhub.store.references import check_repository
from adapterhub.store.registry import REGISTRY_NAME, Registry


@dataclass(frozen=True, slots=True)
class RemoteChange:
    """What a change of a repository did, or would do.

    Attributes:
        repo: `owner/name`.
        commit: The commit with the change; None for a dry run that would make one.
        content: The registry after it.
        written: Paths that were written; none if nothing had to change.
        deleted: Paths that were deleted.
        pull_request: Address of the pull request, or None.
        branch: The branch, or None for main.
        dry_run: Whether nothing was sent.
    """

    repo: str
    commit: str | None
    content: RegistryContent
    written: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    pull_request: str | None = None
    branch: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _Order:
    """What to change, and how."""

    repo: str
    change: Change
    title: str
    options: CommitOptions
    alias: str | None
    uploads: Uploads


@dataclass(frozen=True, slots=True)
class _Attempt:
    """The tasks that one try found, and what it sent to the Hub."""

    old: Tasks
    done: RemoteChange


def change_repository(
    repo: str, change: Change, title: str, options: CommitOptions, *, alias: str | None = None
) -> RemoteChange:
    """Applies a change to the registry of a repository in one commit.

    Args:
        repo: `owner/name`.
        change: The change.
        title: Title of the commit where the options have none.
        options: Branch, message, token.
        alias: An alias that the change sets, which must not be a tag or branch of the repository.

    Raises:
        UsageError: The change or an option is not allowed.
        UnknownTaskError: There is no such task, version or alias.
        RemoteError: The Hub refuses it or cannot be reached; nothing was changed.
        MissingExtraError: A figure has to be drawn again, and matplotlib is not installed.
    """
    check_repository(repo)
    check_commit(options)
    place = open_place(repo, options)
    order = _Order(repo, change, title, options, alias, Uploads())
    before: _Attempt | None = None

    def attempt() -> RemoteChange | None:
        nonlocal before
        state = read_state(place, repo, options, has_names=alias is not None)
        done = _attempt(order, state, before)
        if isinstance(done, RemoteChange):
            return done
        before = done
        return None

    return until_first(repo, attempt)


def _attempt(order: _Order, state: State, before: _Attempt | None) -> RemoteChange | _Attempt:
    """Returns what was changed, or the attempt if another commit was first.

    Args:
        order: What to change.
        state: The current content of the repository.
        before: The previous attempt; its commit may be there although the response was lost.
    """
    repo, options = order.repo, order.options
    commit, content = _opened(repo, state)
    if order.alias is not None:
        check_alias(order.alias, state.refs, repo)
    old = Tasks(content.tasks, content.retired, str(commit))
    if before is not None and _is_there(before, old):
        return replace(before.done, commit=commit.oid, content=content)
    branch = None if options.branch == MAIN else options.branch
    done = RemoteChange(repo, commit.oid, content, branch=branch, dry_run=options.dry_run)
    new = order.change(old)
    if new is old:
        return done
    merged = _merged(content, new, repo)
    files = _files(state, merged, repo)
    check_owner(commit, content, card=state.card, there=state.files, changed=files)
    done = replace(
        done,
        commit=None,
        content=merged.content,
        written=tuple(sorted(path for path, data in files.items() if data is not None)),
        deleted=tuple(sorted(path for path, data in files.items() if data is None)),
    )
    if options.dry_run:
        return done
    make_missing_branch(state, options)
    return _send(order, commit, merged, files, _Attempt(old, done))


def _send(
    order: _Order,
    commit: Commit,
    merged: Merged,
    files: Mapping[str, bytes | None],
    made: _Attempt,
) -> RemoteChange | _Attempt:
    sent = send_changes(
        commit,
        files,
        commit_message(order.options, order.title),
        options=order.options,
        uploads=order.uploads,
        sign=(REGISTRY_NAME, merged.data),
    )
    if sent is None:
        return made
    return replace(made.done, commit=sent.oid, pull_request=sent.pull_request)


def _opened(repo: str, state: State) -> tuple[Commit, RegistryContent]:
    """Returns the newest commit and its registry.

    Raises:
        RemoteNotFoundError: There is no such repository, or it has no registry.
    """
    if state.commit is None:
        raise RemoteNotFoundError(repo, "there is no such repository. Check the name.")
    if state.content is None:
        raise RemoteNotFoundError(
            str(state.commit), f"it has no {REGISTRY_NAME}, so adapterhub published no task there"
        )
    return state.commit, state.content


def _is_there(made: _Attempt, now: Tasks) -> bool:
    """Returns whether what an earlier attempt wanted to change is as it wanted it."""
    old, wanted = made.old, made.done.content
    for was, then, there in (
        (old.entries, wanted.tasks, now.entries),
        (old.retired, wanted.retired, now.retired),
    ):
        changed = [name for name in {*was, *then} if was.get(name) != then.get(name)]
        if any(then.get(name) != there.get(name) for name in changed):
            return False
    return True


def _merged(before: RegistryContent, tasks: Tasks, repo: str) -> Merged:
    """Returns the registry after a change, checked as a reader will check it."""
    old = Registry(Path(f"{repo}/{REGISTRY_NAME}"), {}, {})
    state = prepare_registry(old, before.backbones, tasks.entries, retired=tasks.retired)
    content = make_content(state.backbones, state.tasks, state.retired)
    newest = {name: entry.newest for name, entry in content.tasks.items()}
    return Merged(content, registry_bytes(state), newest, frozenset(), before)


def _files(state: State, merged: Merged, repo: str) -> Mapping[str, bytes | None]:
    """Returns the content of every file that the commit changes; None deletes the file."""
    before, after = merged.before, merged.content
    if before is None or state.commit is None:
        return {}
    gone = before.tasks.keys() - after.tasks.keys()
    heads = listed_files(before.tasks) - listed_files(after.tasks)
    beside = {path for path in state.files if task_of(path) in gone}
    files: dict[str, bytes | None] = dict.fromkeys((heads & {*state.files}) | beside)
    fresh = [
        _head(state.commit, after, name)
        for name, entry in after.tasks.items()
        if name not in before.tasks
        or before.tasks[name].versions[before.tasks[name].newest].sha256
        != entry.versions[entry.newest].sha256
    ]
    return files | files_of(merged, fresh, repo=repo, extras=extras_of(fresh), there=state.present)


def _head(commit: Commit, content: RegistryContent, name: str) -> FoundTask:
    """Returns the newest version of a task, which is described anew."""
    entry = content.tasks[name]
    record = entry.versions[entry.newest]
    data = fetch(commit, record.file, Promise(record.size, record.sha256))
    found = task_in(data, f"{commit}/{record.file}")
    return replace(found, name=name, version=entry.newest)
