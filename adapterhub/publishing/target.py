"""The repository that a commit goes to: what it holds, on which branch, with which message."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from adapterhub.errors import (
    RemoteError,
    RemoteNotFoundError,
    RemoteUnavailableError,
    UsageError,
)
from adapterhub.publishing.front_matter import CARD_NAME
from adapterhub.publishing.layout import Present
from adapterhub.publishing.ownership import check_registry
from adapterhub.publishing.publication import CommitOptions
from adapterhub.remote.calls import Place, current_place, pause
from adapterhub.remote.fetch import MAIN, Commit, fetch
from adapterhub.remote.large_files import Uploads
from adapterhub.remote.operation import operation
from adapterhub.remote.refs import (
    OPEN_STATUS,
    Refs,
    find_pull,
    make_branch,
    read_pull_status,
    read_refs,
)
from adapterhub.remote.repository import check_files
from adapterhub.remote.upload import (
    Message,
    Newest,
    Sent,
    make_repository,
    read_newest,
    require_token,
    send_commit,
)
from adapterhub.store.entries import RegistryContent
from adapterhub.store.registry import REGISTRY_NAME, parse_registry

# Names that git allows, which are not a commit's and not those of the Hub's own refs.
_BRANCH = re.compile(
    r"(?![0-9a-f]{40}$)(?!HEAD$)(?!refs/)(?!.*(\.\.|//|/\.|\.lock(/|$)|[./]$))"
    r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}"
)
_PULL = re.compile(r"refs/pr/[1-9][0-9]{0,8}")


MOST_RACES = 40
"""How often a change starts again because another commit was first."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class State:
    """The current content of a repository.

    Attributes:
        commit: The newest commit; None if there is no such repository.
        content: Its registry, or None.
        card: Its card, or None.
        files: Git's id of each of its files, by path.
        refs: Its tags and branches; None where none of their names matter.
        is_public: Whether everybody can read it.
    """

    commit: Commit | None
    content: RegistryContent | None = None
    card: bytes | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    refs: Refs | None = None
    is_public: bool = False

    @property
    def present(self) -> Present:
        """Returns what the repository holds."""
        return Present(self.card, self.files, self.read, self.files)

    def read(self, path: str) -> bytes:
        """Returns the content of a file of the repository."""
        assert self.commit is not None
        return fetch(self.commit, path)


def check_commit(options: CommitOptions) -> None:
    """Checks the branch and the message of a commit.

    Raises:
        UsageError: One is not allowed, or they do not fit each other.
    """
    branch = options.revision
    if branch is not None and not (_BRANCH.fullmatch(branch) or _PULL.fullmatch(branch)):
        raise UsageError(
            f"The branch {branch[:200]!r} is not allowed: use up to 64 of A-Z, a-z, 0-9, '.', '-', "
            f"'_' and '/', not HEAD and no commit; or refs/pr/<number> for a pull request."
        )
    if options.create_pr and branch not in (None, MAIN):
        raise UsageError(
            "A pull request is opened against main; leave out --create-pr or the branch. "
            "`refs/pr/<number>` as the branch adds a commit to one that is open."
        )
    if options.commit_message is not None and not options.commit_message.strip():
        raise UsageError("The commit message is empty; give a title, or leave it out.")


def check_alias(alias: str, refs: Refs | None, repo: str) -> None:
    """Checks that an alias is no other name after `@`: neither a tag nor a branch.

    Raises:
        UsageError: It is one.
    """
    if refs is None:
        return
    for kind, names in (("tag", refs.tags), ("branch", refs.branches)):
        if alias in names:
            raise UsageError(f"'{alias}' is a {kind} of {repo}, so it cannot be an alias too.")


def commit_message(options: CommitOptions, usual: str) -> Message:
    """Returns the message of a commit; `usual` is its title where none is given."""
    title, _, rest = (options.commit_message or usual).strip().partition("\n")
    parts = (rest.strip(), (options.commit_description or "").strip())
    return Message(title.strip(), "\n\n".join(filter(None, parts)))


def open_place(repo: str, options: CommitOptions) -> Place:
    """Returns the Hub for a change of a repository.

    Raises:
        RemoteUnavailableError: HF_HUB_OFFLINE is set.
        RemoteAccessError: There is no token, and it is no dry run.
    """
    place = current_place(options.token)
    if place.offline:
        raise RemoteUnavailableError(repo, "publishing needs the network; HF_HUB_OFFLINE is set")
    if not options.dry_run:
        require_token(place, repo)
    return place


def until_first(repo: str, attempt: Callable[[], Result | None]) -> Result:
    """Returns the result of the first attempt that no other commit was ahead of.

    Args:
        repo: `owner/name`.
        attempt: Reads the repository and sends a commit; returns None if another one was first.

    Raises:
        RemoteUnavailableError: Others were first each time.
    """
    with operation() as running:
        for tried in range(1, MOST_RACES + 1):
            done = attempt()
            if done is not None:
                return done
            running.clock.sleep(pause(tried))
    raise RemoteUnavailableError(
        repo, f"others published {MOST_RACES} times while this was tried. Try again later."
    )


def read_state(
    place: Place, repo: str, options: CommitOptions, *, has_names: bool = False
) -> State:
    """Returns the current content of a repository, on the branch to commit to.

    Of a branch that is missing it is that of main, where the branch will begin.

    Args:
        place: The Hub.
        repo: `owner/name`.
        options: The branch.
        has_names: Whether tags or aliases are set, which must not be those of other commits.

    Raises:
        UsageError: There is a tag of the branch's name.
        RemoteError: The pull request to commit to is not open, the Hub refuses it or cannot be
            reached, or the repository is refused.
        RegistryError: Its registry is not valid.
    """
    newest = read_newest(place, repo)
    if newest is None:
        return State(None)
    is_pull = options.branch.startswith("refs/")
    refs = None
    if has_names or options.branch != MAIN:
        refs = read_refs(newest.commit, pulls=is_pull)
        newest = _on_branch(newest, refs, options)
    commit = newest.commit
    check_files(commit, newest.files)
    content = card = None
    if REGISTRY_NAME in newest.files:
        data = fetch(commit, REGISTRY_NAME)
        check_registry(commit, data)
        content = parse_registry(data, Path(f"{commit}/{REGISTRY_NAME}"))
    if CARD_NAME in newest.files:
        card = fetch(commit, CARD_NAME)
    return State(commit, content, card, newest.files, refs, is_public=newest.public)


def read_or_make(
    place: Place, repo: str, options: CommitOptions, *, private: bool, has_names: bool = False
) -> State | None:
    """Returns the current content of a repository, which is created if it is missing.

    Args:
        place: The Hub.
        repo: `owner/name`.
        options: The branch; a dry run creates nothing.
        private: Whether it is created as a private one.
        has_names: As in `read_state`.

    Returns:
        The content, or None where the Hub does not show yet what was created.

    Raises:
        UsageError: It shall be private and is public, or as `read_state`.
        RemoteError: The Hub refuses it or cannot be reached.
        RegistryError: As `read_state`.
    """
    state = read_state(place, repo, options, has_names=has_names)
    if state.commit is None and not options.dry_run:
        make_repository(place, repo, private=private)
        state = read_state(place, repo, options, has_names=has_names)
        if state.commit is None:
            return None
    if private and state.is_public:
        raise UsageError(
            f"{repo} is public, and --private makes only a new repository private. Make it private "
            f"at {place.endpoint}/{repo}/settings, or publish without --private."
        )
    return state


def send_changes(
    commit: Commit,
    files: Mapping[str, bytes | None],
    message: Message,
    *,
    options: CommitOptions,
    uploads: Uploads,
    sign: tuple[str, bytes],
) -> Sent | None:
    """Returns the commit with changes of files, or None if another commit was first.

    Args:
        commit: The newest commit, as far as known.
        files: Content by path; None deletes the file.
        message: Message of the commit.
        options: The branch, or that a pull request is wanted.
        uploads: The large files that were uploaded already.
        sign: A file with the content by which an open pull request is known to be this one.

    Raises:
        RemoteError: It was refused, or the Hub cannot be reached.
    """
    pull = find_pull(commit, *sign) if options.create_pr else None
    if pull is not None:
        return Sent(pull.oid, pull.address)
    return send_commit(
        commit,
        files,
        message,
        uploads=uploads,
        branch=options.branch,
        as_pull=options.create_pr,
    )


def make_missing_branch(state: State, options: CommitOptions) -> None:
    """Makes the branch to commit to where there is none; after all checks, right before it is used.

    Raises:
        RemoteError: The Hub refuses it or cannot be reached.
    """
    branch, refs = options.branch, state.refs
    if state.commit is None or refs is None or options.dry_run or branch.startswith("refs/"):
        return
    if branch not in (MAIN, *refs.branches):
        make_branch(state.commit, branch)


def _on_branch(newest: Newest, refs: Refs, options: CommitOptions) -> Newest:
    """Returns the newest commit of the branch to commit to, main's if it is missing."""
    branch, commit = options.branch, newest.commit
    if branch == MAIN:
        return newest
    if branch in refs.tags:
        raise UsageError(f"'{branch}' is a tag of {commit.repo}; a commit goes to a branch.")
    if branch.startswith("refs/"):
        _check_pull(commit, refs, branch)
    elif branch not in refs.branches:
        return newest
    return read_newest(commit.place, commit.repo, branch) or newest


def _check_pull(commit: Commit, refs: Refs, branch: str) -> None:
    """Checks that a pull request takes commits: a closed one keeps its branch, unseen by anybody.

    Raises:
        RemoteError: It does not exist, or was closed or merged.
    """
    number = branch.rpartition("/")[2]
    place = f"{commit.repo}@{branch}"
    if number not in refs.pulls:
        raise RemoteNotFoundError(place, "there is no such pull request")
    status = read_pull_status(commit, int(number))
    if status not in OPEN_STATUS:
        raise RemoteError(
            place, f"that pull request is {status}. Open another one with --create-pr."
        )
