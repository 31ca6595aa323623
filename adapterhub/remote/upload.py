"""Changes to a repository on the Hub: made where it is missing, one commit, a tag.

Every change is safe to send twice: a commit names its parent, so that a second copy of one whose
answer was lost is a conflict, and who re-reads then finds the content there.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, ModelInfo
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from adapterhub.errors import RemoteError
from adapterhub.remote.calls import TRIES, Place, call
from adapterhub.remote.faults import Action, no_token
from adapterhub.remote.fetch import Commit
from adapterhub.remote.session import Failed

_STORED_APART = {".safetensors", ".png"}
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
class Sent:
    """A commit that the Hub took.

    Attributes:
        oid: The commit.
        pull_request: Address of the pull request that holds it, or None.
    """

    oid: str
    pull_request: str | None = None


class Uploads:
    """Files that one publication sends; what is stored apart is uploaded once for all its tries.

    Attributes:
        unsure: How many commits were sent whose answer did not come.
    """

    def __init__(self) -> None:
        self.unsure = 0
        self._known: dict[str, tuple[bytes, CommitOperationAdd]] = {}

    def operation(self, path: str, data: bytes) -> CommitOperationAdd:
        """Returns the client's operation for a file."""
        known = self._known.get(path)
        if known is not None and known[0] == data:
            return known[1]
        # Bytes would go through hf_xet, whose requests have no limits of ours.
        return CommitOperationAdd(path, io.BytesIO(data))

    def keep(self, operation: CommitOperationAdd, data: bytes) -> None:
        """Takes note that a file is uploaded."""
        self._known[operation.path_in_repo] = (data, operation)


def require_token(place: Place, repo: str) -> None:
    """Checks that there is a token to write with.

    Raises:
        RemoteAccessError: There is none.
    """
    if place.token is None:
        raise no_token(repo, "publishing")


def read_newest(place: Place, repo: str) -> Newest | None:
    """Returns the newest commit of a repository, or None where there is no such repository.

    Raises:
        RemoteError: The Hub cannot be reached, or the token is not valid.
    """

    def ask(api: HfApi) -> ModelInfo | None:
        try:
            return api.model_info(repo)
        except RepositoryNotFoundError:
            if api.token:
                # An answer of 401 means either that, or a token that is not valid.
                api.whoami()
            return None

    info = call(place, Action(repo, "asking for the newest commit"), ask)
    if info is None or info.sha is None:
        return None
    files = frozenset(sibling.rfilename for sibling in info.siblings or ())
    return Newest(Commit(repo, info.sha, place), files)


def make_repository(place: Place, repo: str, *, private: bool) -> None:
    """Makes a repository; one that is there already is left as it is.

    Raises:
        RemoteError: It cannot be made.
    """
    action = Action(repo, "making the repository")
    call(place, action, lambda api: api.create_repo(repo, private=private or None, exist_ok=True))


def send_commit(
    parent: Commit,
    files: Mapping[str, bytes | None],
    title: str,
    *,
    uploads: Uploads,
    as_pull: bool = False,
) -> Sent | None:
    """Puts files in one commit on top of `parent`; returns None where that is not the newest.

    Args:
        parent: The newest commit, as far as known.
        files: Content by path; None for a file that goes.
        title: Title of the commit.
        uploads: What was uploaded already for the same publication.
        as_pull: Whether to open a pull request instead of changing the main branch.

    Raises:
        RemoteError: It was refused, or the Hub is out of reach.
    """

    def send(api: HfApi) -> CommitInfo | None:
        operations: list[CommitOperationAdd | CommitOperationDelete] = []
        for path, data in sorted(files.items()):
            if data is None:
                operations.append(CommitOperationDelete(path))
                continue
            operation = uploads.operation(path, data)
            operations.append(operation)
            # One by one, because the client uploads several in threads of its own.
            if PurePosixPath(path).suffix in _STORED_APART:
                api.preupload_lfs_files(
                    parent.repo, [operation], create_pr=as_pull, free_memory=False
                )
                uploads.keep(operation, data)
        try:
            return api.create_commit(
                parent.repo,
                operations,
                commit_message=title,
                parent_commit=parent.oid,
                create_pr=as_pull,
            )
        except HfHubHTTPError as error:
            if error.response.status_code == _CONFLICT:
                return None
            raise
        except Failed:
            # It may have been opened; who looks for it before the next try opens no second one.
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
    action = Action(repo, "looking at its pull requests")
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
    """Tags a commit; a tag that is there already at this commit is fine.

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

    if call(place, Action(repo, f"making the tag '{tag}'"), make):
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
