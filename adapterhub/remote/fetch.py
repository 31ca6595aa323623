"""Files of one commit, by way of the cache, with their bytes checked on every read.

The Hub's client compares sizes at most, so a flipped bit would be cached under the right name.
Here the very bytes that are handed out are compared with what is promised: the digest that a
registry gives, and the id under which the Hub itself stores the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError, RevisionResolutionError

from adapterhub.errors import (
    IntegrityError,
    RemoteContentError,
    RemoteError,
    RemoteUnavailableError,
)
from adapterhub.remote.calls import Place, call
from adapterhub.remote.faults import Action
from adapterhub.remote.session import operation
from adapterhub.store.atomic import open_regular, reason
from adapterhub.store.header import MAX_FILE_BYTES

MAIN = "main"
COMMIT = re.compile(r"[0-9a-f]{40}")

_log = logging.getLogger("adapterhub")


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a repository.

    Attributes:
        repo: `owner/name`.
        oid: The commit, 40 hexadecimal digits.
        place: The Hub that it is on.
        from_cache: Whether it was read from the cache, so that the Hub may have a newer one.
    """

    repo: str
    oid: str
    place: Place
    from_cache: bool = False

    def __str__(self) -> str:
        """Returns the repository and the start of the commit, for messages."""
        return f"{self.repo}@{self.oid[:12]}"


@dataclass(frozen=True, slots=True)
class Promise:
    """What a registry promises of a file: its size in bytes and its sha256."""

    size: int
    sha256: str


def find_commit(place: Place, repo: str, revision: str | None = None) -> Commit:
    """Returns the commit that a revision stands for now, or stood for when it was last action.

    Raises:
        RemoteError: There is no such repository or revision, or it was never fetched here and
            the Hub is away.
    """
    revision = revision or MAIN
    if COMMIT.fullmatch(revision):
        return Commit(repo, revision, place)
    if place.offline:
        return _cached_commit(place, repo, revision, "HF_HUB_OFFLINE is set")
    action = Action(repo, "asking for the newest commit", None if revision == MAIN else revision)
    try:
        found = call(
            place,
            action,
            lambda api: api.resolve_revision(repo, revision=revision, cache_dir=place.cache),
        )
    except RemoteUnavailableError as error:
        return _cached_commit(place, repo, revision, error.problem, error)
    return Commit(repo, found.resolved, place)


def fetch(commit: Commit, path: str, promise: Promise | None = None) -> bytes:
    """Returns the bytes of a file, from the cache where it is there and sound.

    Wrong bytes leave the cache and are fetched afresh once.

    Args:
        commit: Where it is.
        path: Its path in the repository.
        promise: What its bytes must be, if known.

    Raises:
        IntegrityError: The bytes are not those promised, not even fetched afresh.
        RemoteContentError: They are not those that the Hub says it has.
        RemoteError: The file is not there or cannot be fetched.
    """
    with operation():
        pointer = _download(commit, path, afresh=False)
        data = _read(pointer, commit, path)
        if _problem(data, pointer, promise) is None:
            return data
        _drop(pointer)
        if commit.place.offline:
            raise RemoteUnavailableError(
                str(commit),
                f"what the cache held of {path} was damaged, so it was removed. Fetch it again "
                f"with the network: unset HF_HUB_OFFLINE.",
            )
        pointer = _download(commit, path, afresh=True)
        data = _read(pointer, commit, path)
        problem = _problem(data, pointer, promise)
        if problem is None:
            return data
        _drop(pointer)
    told = f"{problem}. It was fetched twice and is not kept; tell its owner."
    if promise is not None:
        raise IntegrityError(f"{commit}/{path}", told)
    raise RemoteContentError(str(commit), f"{path}: {told}")


def is_cached(commit: Commit, path: str) -> bool:
    """Returns whether the cache has a file of a commit."""
    try:
        _cached(commit, path)
    except LocalEntryNotFoundError:
        return False
    return True


def _cached_commit(
    place: Place, repo: str, revision: str, why: str, error: RemoteError | None = None
) -> Commit:
    try:
        found = place.api.resolve_revision(
            repo, revision=revision, cache_dir=place.cache, local_files_only=True
        )
    except RevisionResolutionError:
        name = repo if revision == MAIN else f"{repo}@{revision}"
        raise RemoteUnavailableError(
            name, f"it is not in the cache {place.cache}, and the Hub is out of reach: {why}"
        ) from error
    commit = Commit(repo, found.resolved, place, from_cache=True)
    _log.warning("Hub %s: taken from the cache as of commit %s: %s", repo, commit.oid[:12], why)
    return commit


def _download(commit: Commit, path: str, *, afresh: bool) -> Path:
    """Returns the file in the cache, fetched where it is missing or to be had `afresh`."""
    place = commit.place
    action = Action(commit.repo, f"fetching {path}", commit.oid[:12])
    if place.offline:
        try:
            return _cached(commit, path)
        except LocalEntryNotFoundError as error:
            raise RemoteUnavailableError(
                str(commit), f"{path} is not in the cache {place.cache}, and HF_HUB_OFFLINE is set"
            ) from error
    return Path(
        call(
            place,
            action,
            lambda api: hf_hub_download(
                commit.repo,
                path,
                revision=commit.oid,
                cache_dir=place.cache,
                endpoint=place.endpoint,
                token=api.token,
                library_name="adapterhub",
                force_download=afresh,
            ),
        )
    )


def _cached(commit: Commit, path: str) -> Path:
    found = hf_hub_download(
        commit.repo,
        path,
        revision=commit.oid,
        cache_dir=commit.place.cache,
        local_files_only=True,
    )
    return Path(found)


def _read(pointer: Path, commit: Commit, path: str) -> bytes:
    try:
        with open_regular(pointer) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        problem = f"{path} cannot be read from the cache: {reason(error)}"
        raise RemoteContentError(str(commit), problem) from error
    if len(data) > MAX_FILE_BYTES:
        raise RemoteContentError(str(commit), f"{path} is longer than {MAX_FILE_BYTES} bytes")
    return data


def _problem(data: bytes, pointer: Path, promise: Promise | None) -> str | None:
    """Returns what is wrong with the bytes, or None."""
    digest = hashlib.sha256(data).hexdigest()
    if promise is not None:
        if (len(data), digest) == (promise.size, promise.sha256):
            return None
        return (
            f"it has {len(data)} bytes with sha256 {digest}; the registry promises "
            f"{promise.size} bytes with sha256 {promise.sha256}"
        )
    # The client names a blob by the id that the Hub gave: git's, or sha256 for large files.
    name = Path(os.path.realpath(pointer)).name
    git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) or name in (git, digest):
        return None
    return f"its bytes have the id {git if len(name) == 40 else digest}; the Hub promises {name}"


def _drop(pointer: Path) -> None:
    for path in (Path(os.path.realpath(pointer)), pointer):
        with contextlib.suppress(OSError):
            path.unlink()
