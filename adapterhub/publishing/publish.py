"""Publishes tasks: reads the repository, adds the tasks, sends one commit, retries after a race.

A publication is atomic, because it is one commit that names its parent. After any failure the
next try starts from the current state of the Hub; content that is there already is not sent again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapterhub.errors import RemoteUnavailableError, UsageError
from adapterhub.publishing.base_model import on_base_model
from adapterhub.publishing.files import Extras, extras_of, files_of
from adapterhub.publishing.front_matter import CARD_NAME
from adapterhub.publishing.merging import Merged, merge
from adapterhub.publishing.ownership import check_owner, check_registry
from adapterhub.publishing.publication import (
    CommitOptions,
    Published,
    PublishedTask,
    PublishOptions,
)
from adapterhub.remote.calls import Place, current_place, pause
from adapterhub.remote.fetch import MAIN, Commit, fetch
from adapterhub.remote.find import FoundTask
from adapterhub.remote.repository import check_files
from adapterhub.remote.session import operation
from adapterhub.remote.upload import (
    Message,
    Sent,
    Uploads,
    find_branch,
    find_pull,
    make_repository,
    make_tag,
    read_newest,
    require_token,
    send_commit,
    tagged_commit,
)
from adapterhub.store.entries import RegistryContent
from adapterhub.store.references import check_repository
from adapterhub.store.registry import REGISTRY_NAME, parse_registry

MOST_RACES = 40
"""How often a publication starts again because another one was first."""

_TAG = re.compile(r"(?![0-9a-f]{40}$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Names that git allows, which are not a commit's and not those of the Hub's own refs.
_BRANCH = re.compile(
    r"(?![0-9a-f]{40}$)(?!refs/)(?!.*(\.\.|//|/\.|\.lock(/|$)|[./]$))"
    r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}"
)
_PULL = re.compile(r"refs/pr/[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class _Order:
    """What to publish, and where."""

    repo: str
    tasks: Sequence[FoundTask]
    options: PublishOptions
    extras: Extras
    place: Place
    uploads: Uploads

    @property
    def branch(self) -> str:
        """Returns the branch to commit to."""
        return self.options.revision or MAIN


@dataclass(frozen=True, slots=True)
class _State:
    """The current content of the repository; `commit` is None if it does not exist."""

    commit: Commit | None
    content: RegistryContent | None = None
    card: bytes | None = None
    files: Collection[str] = ()


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
    _check(repo, tasks, options)
    place = current_place(options.token)
    if place.offline:
        raise RemoteUnavailableError(repo, "publishing needs the network; HF_HUB_OFFLINE is set")
    if not options.dry_run:
        require_token(place, repo)
    tasks = on_base_model(tasks, options.base_model)
    order = _Order(repo, tasks, options, extras_of(tasks), place, Uploads())
    attempt: _Attempt | None = None
    with operation() as clock:
        for tried in range(1, MOST_RACES + 1):
            state = _read(order)
            if state.commit is None and not options.dry_run:
                make_repository(place, repo, private=options.private)
                continue
            merged = _merge(order, state)
            done = _send(order, state, merged, before=attempt)
            if isinstance(done, Published):
                return done
            attempt = done
            time.sleep(min(pause(tried), max(clock.left, 0)))
    raise RemoteUnavailableError(
        repo, f"others published {MOST_RACES} times while this was tried. Try again later."
    )


def _check(repo: str, tasks: Sequence[FoundTask], options: PublishOptions) -> None:
    check_repository(repo)
    names = [task.name for task in tasks]
    if not names:
        raise UsageError("No task was named; give one at least.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"Two tasks would both be '{twice}' in {repo}; publish them separately.")
    if options.tag is not None and not _TAG.fullmatch(options.tag):
        raise UsageError(
            f"The tag {options.tag!r} is not allowed: use up to 64 of A-Z, a-z, 0-9, '.', '-', '_'."
        )
    if options.tag is not None and options.create_pr:
        raise UsageError("A tag marks a published commit; a pull request is not yet. Tag it later.")
    if options.tag is not None and options.tag == options.revision:
        raise UsageError(f"'{options.tag}' cannot be a tag and a branch.")
    check_commit_options(options)


def check_commit_options(options: CommitOptions) -> None:
    """Checks the branch and the message of a commit.

    Raises:
        UsageError: One is not allowed, or they do not fit each other.
    """
    branch = options.revision
    if branch is not None and not (_BRANCH.fullmatch(branch) or _PULL.fullmatch(branch)):
        raise UsageError(
            f"The branch {branch[:200]!r} is not allowed: use up to 64 of A-Z, a-z, 0-9, '.', '-', "
            f"'_' and '/', or refs/pr/<number> for a pull request."
        )
    if options.create_pr and branch not in (None, MAIN):
        raise UsageError(
            "A pull request is opened against main; leave out --create-pr or the branch. "
            "`refs/pr/<number>` as the branch adds a commit to one that is open."
        )
    if options.commit_message is not None and not options.commit_message.strip():
        raise UsageError("The commit message is empty; give a title, or leave it out.")


def commit_message(options: CommitOptions, usual: str) -> Message:
    """Returns the message of a commit; `usual` is its title where none is given."""
    title, _, rest = (options.commit_message or usual).strip().partition("\n")
    parts = (rest.strip(), (options.commit_description or "").strip())
    return Message(title.strip(), "\n\n".join(filter(None, parts)))


def _read(order: _Order) -> _State:
    newest = read_newest(order.place, order.repo)
    if newest is None:
        return _State(None)
    if order.branch != MAIN:
        newest = find_branch(newest, order.branch, make=not order.options.dry_run)
    commit = newest.commit
    check_files(commit, newest.files)
    content = card = None
    if REGISTRY_NAME in newest.files:
        data = fetch(commit, REGISTRY_NAME)
        check_registry(commit, data)
        content = parse_registry(data, Path(f"{commit}/{REGISTRY_NAME}"))
    if CARD_NAME in newest.files:
        card = fetch(commit, CARD_NAME)
    return _State(commit, content, card, newest.files)


def _merge(order: _Order, state: _State) -> Merged:
    options = order.options
    merged = merge(
        state.content,
        order.tasks,
        place=Path(f"{order.repo}/{REGISTRY_NAME}"),
        renames_backbone=options.base_model is not None,
    )
    # A name after `@` must not be an alias and a tag.
    used = {alias for entry in merged.content.tasks.values() for alias in entry.aliases}
    if options.tag in used:
        raise UsageError(f"'{options.tag}' is an alias in {order.repo}, so it cannot be a tag too.")
    if options.revision in used:
        raise UsageError(
            f"'{options.revision}' is an alias in {order.repo}, so it cannot be a branch too."
        )
    for alias in {task.alias for task in order.tasks if task.alias is not None}:
        if state.commit is not None and tagged_commit(state.commit, alias) is not None:
            raise UsageError(f"'{alias}' is a tag of {order.repo}, so it cannot be an alias too.")
    return merged


def _send(
    order: _Order, state: _State, merged: Merged, *, before: _Attempt | None
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
        return _finish(order, before or _Attempt(merged, {}), Sent(state.commit.oid))
    files = files_of(
        merged,
        order.tasks,
        repo=repo,
        card=state.card,
        extras=order.extras,
        there=state.files,
    )
    if state.commit is not None:
        check_owner(state.commit, state.content, card=state.card, there=state.files, changed=files)
    attempt = _Attempt(merged, files)
    if options.dry_run or state.commit is None:
        return _finish(order, attempt, None)
    sent: Sent | None = None
    if options.create_pr:
        sent = find_pull(state.commit, REGISTRY_NAME, merged.data)
    names = ", ".join(task.name for task in order.tasks)
    title = f"Publish {names if len(names) <= 60 else f'{len(order.tasks)} tasks'}"
    sent = sent or send_commit(
        state.commit,
        files,
        commit_message(options, title),
        uploads=order.uploads,
        branch=order.branch,
        as_pull=options.create_pr,
    )
    return attempt if sent is None else _finish(order, attempt, sent)


def _finish(order: _Order, made: _Attempt, sent: Sent | None) -> Published:
    options, merged = order.options, made.merged
    branch = None if order.branch == MAIN else order.branch
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
