"""Files of one commit, through the cache, with their bytes verified on every read.

The Hub's client compares sizes at most, so a flipped bit would be cached under the right name.
Here the bytes that are returned are compared with the digest in the registry, or with the id
under which the Hub stores the file.
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
        place: The Hub.
        from_cache: Whether it was read from the cache, so that the Hub may have a newer one.
    """

    repo: str
    oid: str
    place: Place
    from_cache: bool = False

    def __str__(self) -> str:
        """Returns the repository and the abbreviated commit, for messages."""
        return f"{self.repo}@{self.oid[:12]}"


@dataclass(frozen=True, slots=True)
class Promise:
    """Size in bytes and sha256 of a file, as recorded in a registry."""

    size: int
    sha256: str


def find_commit(place: Place, repo: str, revision: str | None = None) -> Commit:
    """Returns the current commit of a revision; the cached one if the Hub cannot be reached.

    Raises:
        RemoteError: There is no such repository or revision, or the Hub cannot be reached and
            the cache does not have it.
    """
    revision = revision or MAIN
    if COMMIT.fullmatch(revision):
        return Commit(repo, revision, place)
    if place.offline:
        return _cached_commit(place, repo, revision, "HF_HUB_OFFLINE is set")
    action = Action(repo, "reading the newest commit", None if revision == MAIN else revision)
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
    """Returns the bytes of a file, from the cache if it is there and intact.

    Damaged files are removed from the cache and downloaded once more.

    Args:
        commit: The commit.
        path: Path in the repository.
        promise: Size and digest that the bytes must have, if known.

    Raises:
        IntegrityError: Even the second download differs from the promise.
        RemoteContentError: Even the second download differs from the Hub's id of the file.
        RemoteError: The file is missing or cannot be downloaded.
    """
    with operation():
        pointer = _download(commit, path, force=False)
        data = _read(pointer, commit, path)
        if _problem(data, pointer, promise) is None:
            return data
        _drop(pointer)
        if commit.place.offline:
            raise RemoteUnavailableError(
                str(commit),
                f"the cached {path} was damaged, so it was removed. Download it again: unset "
                f"HF_HUB_OFFLINE.",
            )
        pointer = _download(commit, path, force=True)
        data = _read(pointer, commit, path)
        problem = _problem(data, pointer, promise)
        if problem is None:
            return data
        _drop(pointer)
    message = f"{problem}. It was downloaded twice and is not kept; report it to its owner."
    if promise is not None:
        raise IntegrityError(f"{commit}/{path}", message)
    raise RemoteContentError(str(commit), f"{path}: {message}")


def is_cached(commit: Commit, path: str) -> bool:
    """Returns whether a file of a commit is in the cache."""
    try:
        _cached(commit, path)
    except LocalEntryNotFoundError:
        return False
    return True


def cached_path(commit: Commit, path: str) -> Path:
    """Returns the path of a file that is in the cache, for instance after `fetch`."""
    return _cached(commit, path)


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
    _log.warning("Hub %s: using the cached commit %s: %s", repo, commit.oid[:12], why)
    return commit


def _download(commit: Commit, path: str, *, force: bool) -> Path:
    """Returns the path in the cache; downloads the file if it is missing, or with `force`."""
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
                force_download=force,
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
    """Returns how the bytes differ from what they must be, or None."""
    digest = hashlib.sha256(data).hexdigest()
    if promise is not None:
        if (len(data), digest) == (promise.size, promise.sha256):
            return None
        return (
            f"it has {len(data)} bytes with sha256 {digest}; the registry promises "
            f"{promise.size} bytes with sha256 {promise.sha256}"
        )
    # The client names a cached blob by the Hub's id: git's SHA-1, or sha256 for large files.
    name = Path(os.path.realpath(pointer)).name
    git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) or name in (git, digest):
        return None
    return f"its bytes have the id {git if len(name) == 40 else digest}; the Hub promises {name}"


def _drop(pointer: Path) -> None:
    for path in (Path(os.path.realpath(pointer)), pointer):
        with contextlib.suppress(OSError):
            path.unlink()
