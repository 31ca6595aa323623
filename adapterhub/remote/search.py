"""Finding repositories on the Hub by what they are tagged with; reads their registries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from adapterhub.errors import AdapterHubError, RemoteUnavailableError
from adapterhub.remote.calls import Place, call
from adapterhub.remote.faults import Action
from adapterhub.remote.fetch import Commit, paths_of
from adapterhub.remote.operation import operation
from adapterhub.remote.parallel import in_parallel
from adapterhub.remote.repository import read_registry_at
from adapterhub.store.entries import RegistryContent
from adapterhub.store.registry import REGISTRY_NAME

_LIBRARY = "adapterhub"


@dataclass(frozen=True, slots=True)
class Listed:
    """A repository that the Hub lists, and its registry.

    Attributes:
        commit: Its newest commit.
        content: Its registry; None if it cannot be read.
        problem: Why it cannot be read, or None.
    """

    commit: Commit
    content: RegistryContent | None
    problem: str | None = None


@operation()
def list_repositories(
    place: Place, *, tags: Sequence[str] = (), author: str | None = None, limit: int = 20
) -> list[Listed]:
    """Returns repositories with the tags adapterhub and `tags`, last modified first.

    Backbones, which have the tag too and no registry, are left out.

    Raises:
        RemoteError: The Hub cannot be reached. An unreadable repository is no error.
    """
    if place.offline:
        raise RemoteUnavailableError(
            place.endpoint, "searching needs the network, and HF_HUB_OFFLINE is set"
        )
    found = call(
        place,
        Action(place.endpoint, "listing repositories"),
        lambda api: list(
            islice(
                api.list_models(
                    filter=[_LIBRARY, *tags],
                    author=author,
                    sort="last_modified",
                    limit=limit,
                    full=True,
                ),
                limit,
            )
        ),
    )
    commits = [
        Commit(model.id, model.sha, place, files=paths_of(model))
        for model in found
        if model.sha is not None and not _is_of_others(model.library_name, paths_of(model))
    ]
    return in_parallel(_read_listed, commits)


def _is_of_others(library: str | None, files: Sequence[str] | None) -> bool:
    """Returns whether a repository names another library and has no registry."""
    return library not in (None, _LIBRARY) and REGISTRY_NAME not in (files or (REGISTRY_NAME,))


def _read_listed(commit: Commit) -> Listed:
    try:
        return Listed(commit, read_registry_at(commit))
    except AdapterHubError as error:
        return Listed(commit, None, str(error))
