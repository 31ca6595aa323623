"""Writes to the Hub: creates a repository, sends a commit.

Every request is safe to repeat: a commit names its parent, so that a repeated commit whose first
response was lost is a conflict, and reading the repository again shows the content there.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, ModelInfo
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from adapterhub.remote.calls import TRIES, Place, call
from adapterhub.remote.faults import Action, no_token
from adapterhub.remote.fetch import MAIN, Commit
from adapterhub.remote.large_files import Uploads
from adapterhub.remote.session import Failed

_LFS_SUFFIXES = {".safetensors", ".png", ".model"}
_LFS_BYTES = 5 * 2**20
"""Size above which a file is stored as a large one, as the Hub demands above twice that."""
_SAMPLE = 512
_CONFLICT = 412


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest commit of a repository.

    Attributes:
        commit: The commit.
        files: Git's id of each of its files, by path.
        public: Whether everybody can read it.
    """

    commit: Commit
    files: Mapping[str, str]
    public: bool


@dataclass(frozen=True, slots=True)
class Message:
    """The message of a commit.

    Attributes:
        title: Its first line.
        description: The rest.
    """

    title: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """A commit that the Hub accepted.

    Attributes:
        oid: The commit.
        pull_request: Address of the pull request that holds it, or None.
    """

    oid: str
    pull_request: str | None = None


def require_token(place: Place, repo: str) -> None:
    """Checks that there is a token.

    Raises:
        RemoteAccessError: There is none.
    """
    if place.token is None:
        raise no_token(repo, "publishing")


def read_newest(place: Place, repo: str, branch: str = MAIN) -> Newest | None:
    """Returns the newest commit of a repository, or None if there is no such repository.

    Args:
        place: The Hub.
        repo: `owner/name`.
        branch: The branch, which must exist.

    Raises:
        RemoteError: The Hub cannot be reached, or the token is not valid.
    """
    revision = None if branch == MAIN else branch

    def ask(api: HfApi) -> ModelInfo | None:
        try:
            return api.model_info(repo, revision=revision, files_metadata=True)
        except RepositoryNotFoundError:
            if api.token:
                # The Hub answers 401 for both a missing repository and an invalid token.
                api.whoami()
            return None

    info = call(place, Action(repo, "reading the newest commit"), ask)
    if info is None or info.sha is None:
        return None
    files = {sibling.rfilename: sibling.blob_id or "" for sibling in info.siblings or ()}
    return Newest(Commit(repo, info.sha, place), files, public=info.private is False)


def make_repository(place: Place, repo: str, *, private: bool) -> None:
    """Creates a repository; an existing one is not changed.

    Raises:
        RemoteError: It cannot be created.
    """
    action = Action(repo, "creating the repository", writes=True)
    call(place, action, lambda api: api.create_repo(repo, private=private or None, exist_ok=True))


def send_commit(
    parent: Commit,
    files: Mapping[str, bytes | None],
    message: Message,
    *,
    uploads: Uploads,
    branch: str = MAIN,
    as_pull: bool = False,
) -> Sent | None:
    """Sends one commit on top of `parent`; returns None if `parent` is not the newest.

    Args:
        parent: The newest commit, as far as known.
        files: Content by path; None deletes the file.
        message: Message of the commit.
        uploads: The large files that this publication uploaded already.
        branch: The branch to change.
        as_pull: Whether to open a pull request instead of changing the main branch.

    Raises:
        RemoteError: It was refused, or the Hub cannot be reached.
    """
    large = {path: data for path, data in files.items() if data and _is_large(path, data)}
    uploaded = uploads.send(parent, large, revision=None if as_pull else branch)

    def send(api: HfApi) -> CommitInfo | None:
        operations: list[CommitOperationAdd | CommitOperationDelete] = []
        for path, data in sorted(files.items()):
            if data is None:
                operations.append(CommitOperationDelete(path))
            else:
                # A bytes object would be sent through hf_xet, to which our limits do not apply.
                operations.append(uploaded.get(path) or CommitOperationAdd(path, io.BytesIO(data)))
        try:
            return api.create_commit(
                parent.repo,
                operations,
                commit_message=message.title,
                commit_description=message.description,
                revision=branch,
                parent_commit=parent.oid,
                create_pr=as_pull,
            )
        except HfHubHTTPError as error:
            if error.response.status_code == _CONFLICT:
                return None
            raise
        except Failed:
            # The pull request may exist; the caller searches for it before the next attempt.
            uploads.unsure += 1
            if as_pull and uploads.unsure < TRIES:
                return None
            raise

    made = call(parent.place, Action(parent.repo, "committing", writes=True), send)
    return None if made is None else Sent(made.oid, made.pr_url)


def _is_large(path: str, data: bytes) -> bool:
    """Returns whether the Hub stores a file as a large one: weights, long ones, binary ones."""
    is_binary = b"\0" in data[:_SAMPLE]
    return PurePosixPath(path).suffix in _LFS_SUFFIXES or len(data) > _LFS_BYTES or is_binary
