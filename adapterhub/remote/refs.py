"""Tags, branches and pull requests of a repository: read and made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from adapterhub.errors import RemoteError
from adapterhub.remote.calls import call
from adapterhub.remote.faults import Action, why
from adapterhub.remote.fetch import Commit, git_id

_NEWEST_PULLS = 20
_EXISTS = 409
OPEN_STATUS = frozenset({"open", "draft"})
"""What the Hub says of a pull request that takes commits and can be merged."""


@dataclass(frozen=True, slots=True)
class Refs:
    """The names of commits in a repository.

    Attributes:
        tags: Commit by tag.
        branches: Commit by branch.
        pulls: Commit by number of a pull request, open or not.
    """

    tags: Mapping[str, str]
    branches: Mapping[str, str]
    pulls: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pull:
    """An open pull request.

    Attributes:
        oid: Its newest commit.
        address: Its page.
    """

    oid: str
    address: str


def read_refs(commit: Commit, *, pulls: bool = False) -> Refs:
    """Returns the tags and branches of a repository, and with `pulls` its pull requests.

    Raises:
        RemoteError: The Hub cannot be reached.
    """
    repo = commit.repo
    action = Action(repo, f"listing its {'pull requests' if pulls else 'tags and branches'}")
    found = call(
        commit.place, action, lambda api: api.list_repo_refs(repo, include_pull_requests=pulls)
    )
    return Refs(
        tags={ref.name: ref.target_commit for ref in found.tags},
        branches={ref.name: ref.target_commit for ref in found.branches},
        pulls={ref.name: ref.target_commit for ref in found.pull_requests or ()},
    )


def make_branch(commit: Commit, branch: str) -> None:
    """Makes a branch that begins at a commit; does nothing if there is one of that name.

    Raises:
        RemoteError: The Hub refuses it or cannot be reached.
    """
    repo, oid = commit.repo, commit.oid
    action = Action(repo, f"making the branch '{branch}'", writes=True)
    conflict = _conflict(
        commit, action, lambda api: api.create_branch(repo, branch=branch, revision=oid)
    )
    if conflict is not None and branch not in read_refs(commit).branches:
        raise conflict


def read_pull_status(commit: Commit, number: int) -> str:
    """Returns what the Hub says of a pull request: open, draft, closed or merged.

    Raises:
        RemoteError: The Hub cannot be reached.
    """
    action = Action(commit.repo, f"reading the pull request {number}")
    found = call(commit.place, action, lambda api: api.get_discussion_details(commit.repo, number))
    return found.status


def find_pull(parent: Commit, path: str, data: bytes) -> Pull | None:
    """Returns the newest open pull request whose file has these bytes, or None.

    Raises:
        RemoteError: The Hub cannot be reached.
    """
    repo, place = parent.repo, parent.place
    action = Action(repo, "listing its pull requests")
    opened = call(
        place,
        action,
        lambda api: list(
            islice(
                api.get_repo_discussions(
                    repo, discussion_type="pull_request", discussion_status="open"
                ),
                _NEWEST_PULLS,
            )
        ),
    )
    numbers = sorted((one.num for one in opened if one.status in OPEN_STATUS), reverse=True)
    if not numbers:
        return None
    wanted = git_id(data)
    pulls = read_refs(parent, pulls=True).pulls
    for number in (number for number in numbers if str(number) in pulls):
        found = call(
            place,
            action,
            lambda api, ref=f"refs/pr/{number}": api.get_paths_info(  # type: ignore[misc]
                repo, [path], revision=ref
            ),
        )
        if any(getattr(entry, "blob_id", None) == wanted for entry in found):
            address = f"{place.endpoint}/{repo}/discussions/{number}"
            return Pull(pulls[str(number)], address)
    return None


def make_tag(commit: Commit, tag: str) -> None:
    """Tags a commit; does nothing if the commit already has the tag.

    Raises:
        RemoteError: The tag is at another commit, since tags do not move; or the Hub refuses it.
    """
    repo, oid = commit.repo, commit.oid
    action = Action(repo, f"setting the tag '{tag}'", writes=True)
    conflict = _conflict(commit, action, lambda api: api.create_tag(repo, tag=tag, revision=oid))
    if conflict is None:
        return
    there = read_refs(commit).tags.get(tag)
    if there is None:
        raise conflict
    if there != oid:
        raise RemoteError(
            repo,
            f"the tag '{tag}' is at commit {there[:12]} already, and tags do not move. Choose "
            f"another; what was published is at {oid[:12]}.",
        )


def _conflict(commit: Commit, action: Action, make: Callable[[HfApi], None]) -> RemoteError | None:
    """Makes a tag or branch; returns the error for one that conflicts with what is there."""

    def attempt(api: HfApi) -> RemoteError | None:
        try:
            make(api)
        except HfHubHTTPError as error:
            if error.response.status_code != _EXISTS:
                raise
            text = f"{action.doing} failed with status {_EXISTS}: {why(error, api.token)}"
            return RemoteError(action.place, text)
        return None

    return call(commit.place, action, attempt)
