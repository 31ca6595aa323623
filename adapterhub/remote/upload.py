"""Writes to the Hub: creates a repository or a branch, sends a commit, sets a tag.

Every request is safe to repeat: a commit names its parent, so that a repeated commit whose first
response was lost is a conflict, and reading the repository again shows the content there.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, ModelInfo
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from adapterhub.errors import RemoteError, RemoteNotFoundError, UsageError
from adapterhub.remote.calls import TRIES, Place, call
from adapterhub.remote.faults import Action, no_token
from adapterhub.remote.fetch import MAIN, Commit
from adapterhub.remote.session import Failed

_LFS_SUFFIXES = {".safetensors", ".png"}
_NEWEST_PULLS = 20
_CONFLICT = 412


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest commit of a repository.

    Attributes:
        commit: The commit.
        files: Paths of its files.
    """

    commit: Commit
    files: frozenset[str]


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


class Uploads:
    """The uploaded files of one publication; LFS files are uploaded once for all attempts.

    Attributes:
        unsure: How many commits were sent without a response.
    """

    def __init__(self) -> None:
        self.unsure = 0
        self._known: dict[str, tuple[bytes, CommitOperationAdd]] = {}

    def operation(self, path: str, data: bytes) -> CommitOperationAdd:
        """Returns the client's operation for a file; the same again if it is uploaded."""
        known = self._known.get(path)
        if known is not None and known[0] == data:
            return known[1]
        # A bytes object would be sent through hf_xet, to which our limits do not apply.
        return CommitOperationAdd(path, io.BytesIO(data))

    def keep(self, operation: CommitOperationAdd, data: bytes) -> None:
        """Remembers the operation of an uploaded file."""
        self._known[operation.path_in_repo] = (data, operation)


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

    def ask(api: HfApi) -> ModelInfo | None:
        try:
            return api.model_info(repo, revision=None if branch == MAIN else branch)
        except RepositoryNotFoundError:
            if api.token:
                # The Hub answers 401 for both a missing repository and an invalid token.
                api.whoami()
            return None

    info = call(place, Action(repo, "reading the newest commit"), ask)
    if info is None or info.sha is None:
        return None
    files = frozenset(sibling.rfilename for sibling in info.siblings or ())
    return Newest(Commit(repo, info.sha, place), files)


def make_repository(place: Place, repo: str, *, private: bool) -> None:
    """Creates a repository; an existing one is not changed.

    Raises:
        RemoteError: It cannot be created.
    """
    action = Action(repo, "creating the repository")
    call(place, action, lambda api: api.create_repo(repo, private=private or None, exist_ok=True))


def find_branch(newest: Newest, branch: str, *, make: bool) -> Newest:
    """Returns the newest commit of a branch; a missing branch is made, or is as main is.

    Args:
        newest: The newest commit of main.
        branch: The branch, or `refs/pr/<number>`, which must exist.
        make: Whether to make a missing branch.

    Raises:
        UsageError: There is a tag of that name.
        RemoteError: There is no such pull request, or the Hub refuses it.
    """
    repo, place = newest.commit.repo, newest.commit.place
    is_pull = branch.startswith("refs/")
    action = Action(repo, "listing its branches")
    refs = call(place, action, lambda api: api.list_repo_refs(repo, include_pull_requests=is_pull))
    if any(tag.name == branch for tag in refs.tags):
        raise UsageError(f"'{branch}' is a tag of {repo}; a commit goes to a branch.")
    known = {ref.name for ref in refs.branches} | {pull.ref for pull in refs.pull_requests or ()}
    if branch not in known:
        if is_pull:
            raise RemoteNotFoundError(f"{repo}@{branch}", "there is no such pull request")
        if not make:
            return newest
        action = Action(repo, f"making the branch '{branch}'")
        call(place, action, lambda api: api.create_branch(repo, branch=branch, exist_ok=True))
    return read_newest(place, repo, branch) or newest


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
        uploads: The files that this publication uploaded already.
        branch: The branch to change.
        as_pull: Whether to open a pull request instead of changing the main branch.

    Raises:
        RemoteError: It was refused, or the Hub cannot be reached.
    """

    def upload(api: HfApi, path: str, data: bytes) -> CommitOperationAdd:
        operation = uploads.operation(path, data)
        # One by one, because the client would upload several in its own threads.
        if PurePosixPath(path).suffix in _LFS_SUFFIXES:
            repo, one = parent.repo, [operation]
            api.preupload_lfs_files(
                repo, one, revision=branch, create_pr=as_pull, free_memory=False
            )
            uploads.keep(operation, data)
        return operation

    def send(api: HfApi) -> CommitInfo | None:
        operations = [
            CommitOperationDelete(path) if data is None else upload(api, path, data)
            for path, data in sorted(files.items())
        ]
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

    made = call(parent.place, Action(parent.repo, "committing"), send)
    return None if made is None else Sent(made.oid, made.pr_url)


def find_pull(parent: Commit, path: str, data: bytes) -> Sent | None:
    """Returns the newest open pull request whose file has these bytes, or None.

    Raises:
        RemoteError: The Hub cannot be reached.
    """
    wanted = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    repo, place = parent.repo, parent.place
    action = Action(repo, "listing its pull requests")
    refs = call(place, action, lambda api: api.list_repo_refs(repo, include_pull_requests=True))
    pulls = sorted(refs.pull_requests or (), key=lambda pull: int(pull.name), reverse=True)
    for pull in pulls[:_NEWEST_PULLS]:
        found = call(
            place,
            action,
            lambda api, ref=pull.ref: api.get_paths_info(  # type: ignore[misc]
                repo, [path], revision=ref
            ),
        )
        if any(getattr(entry, "blob_id", None) == wanted for entry in found):
            address = f"{place.endpoint}/{repo}/discussions/{pull.name}"
            return Sent(pull.target_commit, address)
    return None


def make_tag(commit: Commit, tag: str) -> None:
    """Tags a commit; does nothing if the commit already has the tag.

    Raises:
        RemoteError: The tag is at another commit: tags do not move.
    """
    repo, place = commit.repo, commit.place

    def make(api: HfApi) -> bool:
        try:
            api.create_tag(repo, tag=tag, revision=commit.oid)
        except HfHubHTTPError as error:
            if error.response.status_code == 409:
                return False
            raise
        return True

    if call(place, Action(repo, f"setting the tag '{tag}'"), make):
        return
    if (there := tagged_commit(commit, tag)) != commit.oid:
        raise RemoteError(
            repo,
            f"the tag '{tag}' is at commit {(there or '?')[:12]} already, and tags do not move. "
            f"Choose another; what was published is at {commit.oid[:12]}.",
        )


def tagged_commit(commit: Commit, tag: str) -> str | None:
    """Returns the commit of a tag in the repository, or None where there is no such tag.

    Raises:
        RemoteError: The Hub cannot be reached.
    """
    action = Action(commit.repo, "listing its tags")
    refs = call(commit.place, action, lambda api: api.list_repo_refs(commit.repo))
    return next((ref.target_commit for ref in refs.tags if ref.name == tag), None)
