"""Files of one commit, through the cache, with their bytes verified on every read.

The Hub's client compares sizes at most, so a flipped bit would be cached under the right name.
Here the bytes that are returned are compared with the digest in the registry, or with the id
under which the Hub stores the file.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import ModelInfo

from adapterhub.errors import (
    IntegrityError,
    RemoteContentError,
    RemoteError,
    RemoteUnavailableError,
)
from adapterhub.remote.cache import cached_oid, drop, find_cached, keep, keep_oid
from adapterhub.remote.calls import Place, call
from adapterhub.remote.download import Downloaded, Transfer
from adapterhub.remote.faults import Action
from adapterhub.remote.operation import briefly, operation
from adapterhub.remote.outages import remembered
from adapterhub.store.atomic import open_regular, reason
from adapterhub.store.header import MAX_FILE_BYTES
from adapterhub.store.registry import REGISTRY_NAME

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
        revision: The branch or tag that is at this commit now; None where that is not known.
        files: Paths of all its files, sorted; None where they were not read.
        older: An older commit in the cache, to use if this one cannot be fetched; or None.
    """

    repo: str
    oid: str
    place: Place
    from_cache: bool = False
    revision: str | None = field(default=None, compare=False)
    files: tuple[str, ...] | None = field(default=None, compare=False, repr=False)
    older: Commit | None = field(default=None, compare=False, repr=False)

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

    Where there is a cached one, the Hub has BRIEF_SECONDS to respond, and is not asked if it was
    out of reach a moment ago.

    Raises:
        RemoteError: There is no such repository or revision, or the Hub cannot be reached and
            the cache does not have it.
    """
    revision = revision or MAIN
    if COMMIT.fullmatch(revision):
        return Commit(repo, revision, place)
    oid = cached_oid(place, repo, revision)
    cached = None if oid is None else Commit(repo, oid, place, from_cache=True)
    if place.offline:
        return _use_cached(cached, place, _name(repo, revision), "HF_HUB_OFFLINE is set")
    has_registry = cached is not None and is_cached(cached, REGISTRY_NAME)
    if has_registry and (why := remembered(place.endpoint)):
        return _use_cached(cached, place, _name(repo, revision), why)
    try:
        with briefly(wanted=has_registry):
            return _newest(place, repo, revision, cached if has_registry else None)
    except RemoteUnavailableError as error:
        return _use_cached(cached, place, _name(repo, revision), error.problem, error)


def keep_commit(commit: Commit) -> None:
    """Writes to the cache that the revision is at this commit, whose wanted files are there."""
    if commit.revision is None or commit.from_cache:
        return
    try:
        keep_oid(commit.place, commit.repo, commit.revision, commit.oid)
    except OSError as error:
        _log.warning("Hub %s: the cache cannot be written: %s", commit.repo, reason(error))


def fetch(commit: Commit, path: str, promise: Promise | None = None) -> bytes:
    """Returns the bytes of a file, from the cache if it is there and intact.

    Damaged files are removed from the cache; wrong bytes are downloaded once more.

    Args:
        commit: The commit.
        path: Path in the repository.
        promise: Size and digest that the bytes must have, if known.

    Raises:
        IntegrityError: Even the second download differs from the promise.
        RemoteContentError: Even the second download differs from the Hub's id of the file.
        RemoteError: The file is missing or cannot be downloaded.
    """
    place = commit.place
    sha256 = None if promise is None else promise.sha256
    cached = find_cached(place, commit.repo, commit.oid, path, sha256)
    if cached is not None:
        data = _read(cached, commit, path)
        if _problem(data, Path(os.path.realpath(cached)).name, promise) is None:
            return data
        drop(cached)
    if place.offline:
        raise RemoteUnavailableError(
            str(commit),
            f"{path} is not in the cache {place.cache}, and HF_HUB_OFFLINE is set"
            if cached is None
            else f"the cached {path} was damaged, so it was removed. Download it again: unset "
            f"HF_HUB_OFFLINE.",
        )
    with operation(), briefly(wanted=commit.older is not None):
        return _download(commit, path, promise)


def git_id(data: bytes) -> str:
    """Returns the id under which git stores bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def is_cached(commit: Commit, path: str) -> bool:
    """Returns whether a file of a commit is in the cache."""
    return find_cached(commit.place, commit.repo, commit.oid, path, None) is not None


def paths_of(info: ModelInfo) -> tuple[str, ...] | None:
    """Returns the paths of all files that the Hub lists of a repository, sorted; None without."""
    siblings = info.siblings
    return None if siblings is None else tuple(sorted(one.rfilename for one in siblings))


def use_older(commit: Commit, why: str) -> Commit | None:
    """Returns the older commit in the cache for one that cannot be fetched, or None."""
    older = commit.older
    return None if older is None else _use_cached(older, commit.place, commit.repo, why)


def _newest(place: Place, repo: str, revision: str, cached: Commit | None) -> Commit:
    action = Action(repo, "reading the newest commit", None if revision == MAIN else revision)
    info = call(place, action, lambda api: api.model_info(repo, revision=revision))
    if info.sha is None or not COMMIT.fullmatch(info.sha):
        raise RemoteError(action.place, f"the Hub names the commit {info.sha!r}, which is none")
    older = cached if cached is not None and cached.oid != info.sha else None
    return Commit(repo, info.sha, place, revision=revision, files=paths_of(info), older=older)


def _use_cached(
    commit: Commit | None, place: Place, name: str, why: str, error: RemoteError | None = None
) -> Commit:
    """Returns the cached commit, and says so.

    Raises:
        RemoteUnavailableError: There is none.
    """
    if commit is None:
        raise RemoteUnavailableError(
            name, f"it is not in the cache {place.cache}, and the Hub is out of reach: {why}"
        ) from error
    _log.warning("Hub %s: using the cached commit %s: %s", commit.repo, commit.oid[:12], why)
    return commit


def _name(repo: str, revision: str) -> str:
    return repo if revision == MAIN else f"{repo}@{revision}"


def _download(commit: Commit, path: str, promise: Promise | None) -> bytes:
    """Returns the verified bytes of a file, which is in the cache then."""
    place = commit.place
    action = Action(commit.repo, f"fetching {path}", commit.oid[:12])
    problem: str | None = None
    for _ in range(2):
        transfer = Transfer(commit.repo, commit.oid, path)
        found = call(place, action, transfer.attempt)
        problem = _problem(found.data, found.name, promise)
        if problem is None:
            _keep(commit, path, found)
            return found.data
    message = f"{problem}. It was downloaded twice and is not kept; report it to its owner."
    if promise is not None:
        raise IntegrityError(f"{commit}/{path}", message)
    raise RemoteContentError(str(commit), f"{path}: {message}")


def _keep(commit: Commit, path: str, found: Downloaded) -> None:
    try:
        keep(commit.place, commit.repo, commit.oid, path, data=found.data, name=found.name)
    except OSError as error:
        _log.warning(
            "Hub %s: %s is used but not kept, since the cache %s cannot be written: %s",
            commit.repo,
            path,
            commit.place.cache,
            reason(error),
        )


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


def _problem(data: bytes, name: str, promise: Promise | None) -> str | None:
    """Returns how the bytes differ from what they must be, or None.

    Args:
        data: The bytes.
        name: The Hub's id of the file, which the client names its blob by.
        promise: What a registry says of it.
    """
    digest = hashlib.sha256(data).hexdigest()
    if promise is not None:
        if (len(data), digest) == (promise.size, promise.sha256):
            return None
        return (
            f"it has {len(data)} bytes with sha256 {digest}; the registry promises "
            f"{promise.size} bytes with sha256 {promise.sha256}"
        )
    # Git's SHA-1, or sha256 for large files.
    git = git_id(data)
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) or name in (git, digest):
        return None
    return f"its bytes have the id {git if len(name) == 40 else digest}; the Hub promises {name}"
