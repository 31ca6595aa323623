"""Publishes tasks: reads the repository, adds the tasks, sends one commit, retries after a race.

A publication is atomic, because it is one commit that names its parent. After any failure the
next try starts from the current state of the Hub; content that is there already is not sent again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapterhub.errors import RemoteError, UsageError
from adapterhub.publishing.base_model import on_base_model
from adapterhub.publishing.files import Extras, extras_of, files_of
from adapterhub.publishing.merging import Merged, merge
from adapterhub.publishing.ownership import check_owner
from adapterhub.publishing.publication import Published, PublishedTask, PublishOptions
from adapterhub.publishing.publish_checks import check_publication
from adapterhub.publishing.shown_examples import as_published
from adapterhub.publishing.target import (
    State,
    check_alias,
    commit_message,
    make_missing_branch,
    read_or_make,
    send_changes,
    until_first,
)
from adapterhub.remote.calls import Place, reading_with
from adapterhub.remote.fetch import MAIN, Commit
from adapterhub.remote.find import FoundTask
from adapterhub.remote.large_files import Uploads
from adapterhub.remote.refs import make_tag
from adapterhub.remote.upload import Sent
from adapterhub.store.registry import REGISTRY_NAME


@dataclass(frozen=True, slots=True)
class _Order:
    """What to publish, and where."""

    repo: str
    tasks: Sequence[FoundTask]
    options: PublishOptions
    extras: Extras
    place: Place
    uploads: Uploads


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What one try sent to the Hub."""

    merged: Merged
    files: Mapping[str, bytes | None]


def publish(repo: str, tasks: Sequence[FoundTask], options: PublishOptions) -> Published:
    """Adds tasks to a repository on the Hub, which is created if it is missing.

    Args:
        repo: `owner/name`.
        tasks: The tasks; no two of them have the same name.
        options: How to publish.

    Raises:
        UsageError: A name, alias or tag is not allowed or ambiguous.
        RemoteError: The Hub refuses it or cannot be reached; nothing was published.
        RegistryError: A task does not fit its current entry.
        MissingExtraError: matplotlib is needed and not installed.
    """
    place = check_publication(repo, tasks, options)
    with reading_with(token=options.token):
        tasks = on_base_model(tasks, options.base_model)
    extras = extras_of(tasks, options.benchmarks)
    order = _Order(repo, tasks, options, extras, place, Uploads())
    has_names = options.tag is not None or any(task.alias for task in tasks)
    before: _Attempt | None = None

    def attempt() -> Published | None:
        nonlocal before
        state = read_or_make(place, repo, options, private=options.private, has_names=has_names)
        if state is None:
            return None
        known = replace(order, tasks=as_published(tasks, state.content, state.read))
        done = _send(known, state, _merge(known, state), before=before)
        if isinstance(done, Published):
            return done
        before = done
        return None

    return until_first(repo, attempt)


def _merge(order: _Order, state: State) -> Merged:
    place = Path(f"{order.repo}/{REGISTRY_NAME}")
    renames = order.options.base_model is not None
    merged = merge(state.content, order.tasks, place=place, renames_backbone=renames)
    _check_names(order, state, merged)
    return merged


def _check_names(order: _Order, state: State, merged: Merged) -> None:
    """Checks that a name after `@` means one thing, and that no tag has to move."""
    tag, repo = order.options.tag, order.repo
    used = {alias for entry in merged.content.tasks.values() for alias in entry.aliases}
    if tag in used:
        raise UsageError(f"'{tag}' is an alias in {repo}, so it cannot be a tag too.")
    if order.options.branch in used - {MAIN}:
        branch = order.options.branch
        raise UsageError(f"'{branch}' is an alias in {repo}, so it cannot be a branch too.")
    if state.refs is None or state.commit is None:
        return
    for alias in {task.alias for task in order.tasks if task.alias is not None}:
        check_alias(alias, state.refs, repo)
    if tag in state.refs.branches:
        raise UsageError(f"'{tag}' is a branch of {repo}, so it cannot be a tag too.")
    there = None if tag is None else state.refs.tags.get(tag)
    if there is not None and (merged.changed or there != state.commit.oid):
        raise RemoteError(
            repo,
            f"the tag '{tag}' is at commit {there[:12]} already, and tags do not move. Choose "
            f"another; nothing was sent.",
        )


def _send(
    order: _Order, state: State, merged: Merged, *, before: _Attempt | None
) -> Published | _Attempt:
    """Returns what was published, or the attempt if another publisher was first.

    Args:
        order: What to publish.
        state: The current content of the repository.
        merged: Its registry with the tasks added.
        before: What the previous try sent; it may be there although the response was lost.
    """
    options, repo = order.options, order.repo
    if not merged.changed and state.commit is not None:
        make_missing_branch(state, options)
        return _finish(order, before or _Attempt(merged, {}), Sent(state.commit.oid))
    files = files_of(merged, order.tasks, repo=repo, extras=order.extras, there=state.present)
    if state.commit is not None:
        check_owner(state.commit, state.content, card=state.card, there=state.files, changed=files)
    attempt = _Attempt(merged, files)
    if options.dry_run or state.commit is None:
        return _finish(order, attempt, None)
    make_missing_branch(state, options)
    names = ", ".join(task.name for task in order.tasks)
    title = f"Publish {names if len(names) <= 60 else f'{len(order.tasks)} tasks'}"
    sent = send_changes(
        state.commit,
        files,
        commit_message(options, title),
        options=options,
        uploads=order.uploads,
        sign=(REGISTRY_NAME, merged.data),
    )
    return attempt if sent is None else _finish(order, attempt, sent)


def _finish(order: _Order, made: _Attempt, sent: Sent | None) -> Published:
    options, merged = order.options, made.merged
    branch = None if options.branch == MAIN else options.branch
    place = order.repo if branch is None else f"{order.repo}@{branch}"
    done = Published(
        repo=order.repo,
        commit=None if sent is None else sent.oid,
        tasks=tuple(
            PublishedTask(
                name=f"{place}:{task.name}",
                version=merged.versions[task.name],
                sha256=task.sha256,
                is_new=task.name in merged.added,
            )
            for task in order.tasks
        ),
        files=tuple(sorted(path for path, data in made.files.items() if data is not None)),
        pull_request=None if sent is None else sent.pull_request,
        dry_run=options.dry_run,
        branch=branch,
    )
    if sent is None or options.tag is None or options.dry_run:
        return done
    make_tag(Commit(order.repo, sent.oid, order.place), options.tag)
    return replace(done, tag=options.tag)
