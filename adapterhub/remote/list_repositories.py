"""Finds repositories on the Hub that hold tasks of adapterhub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from adapterhub.errors import AdapterHubError, RemoteUnavailableError
from adapterhub.remote.calls import Place, call
from adapterhub.remote.faults import Asked
from adapterhub.remote.fetch import Commit
from adapterhub.remote.repository import read_registry_at
from adapterhub.store.entries import RegistryContent

LIBRARY = "adapterhub"


@dataclass(frozen=True, slots=True)
class Listed:
    """A repository that the Hub lists, and its registry.

    Attributes:
        commit: Its newest commit.
        content: Its registry; None where it cannot be read.
        problem: Why it cannot be read, or None.
    """

    commit: Commit
    content: RegistryContent | None
    problem: str | None = None


def list_repositories(
    place: Place, *, tags: Sequence[str] = (), author: str | None = None, limit: int = 20
) -> list[Listed]:
    """Returns repositories that the Hub lists under adapterhub and `tags`, newest changes first.

    Raises:
        RemoteError: The Hub cannot be asked. A repository that cannot be read is no error.
    """
    if place.offline:
        raise RemoteUnavailableError(
            place.endpoint, "searching needs the network, and HF_HUB_OFFLINE is set"
        )
    found = call(
        place,
        Asked(place.endpoint, "listing repositories"),
        lambda api: list(
            islice(
                api.list_models(
                    filter=[LIBRARY, *tags],
                    author=author,
                    sort="last_modified",
                    limit=limit,
                    full=True,
                ),
                limit,
            )
        ),
    )
    return [_read(Commit(model.id, model.sha, place)) for model in found if model.sha is not None]


def _read(commit: Commit) -> Listed:
    try:
        return Listed(commit, read_registry_at(commit))
    except AdapterHubError as error:
        return Listed(commit, None, str(error))
