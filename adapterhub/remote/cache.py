"""The cache of the Hub's client, in its layout: commits by revision, files by commit, blobs.

Files are written here instead of by the client, after their bytes were verified.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

from huggingface_hub.file_download import are_symlinks_supported, repo_folder_name

from adapterhub.remote.calls import Place
from adapterhub.store.atomic import held_temp, take_name

_OID = re.compile(r"[0-9a-f]{40}")
_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def cached_oid(place: Place, repo: str, revision: str) -> str | None:
    """Returns the commit of a revision when it was last read, or None."""
    try:
        oid = (_folder(place, repo) / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return oid if _OID.fullmatch(oid) else None


def keep_oid(place: Place, repo: str, revision: str, oid: str) -> None:
    """Writes that a revision is at a commit.

    Raises:
        OSError: The cache cannot be written.
    """
    if cached_oid(place, repo, revision) != oid:
        path = _folder(place, repo) / "refs" / revision
        _write(path, oid.encode())


def pointer(place: Place, repo: str, oid: str, path: str) -> Path:
    """Returns where a file of a commit is, if it is cached."""
    return _folder(place, repo) / "snapshots" / oid / path


def find_cached(place: Place, repo: str, oid: str, path: str, sha256: str | None) -> Path | None:
    """Returns the place of a file of a commit, or None if it is not cached.

    A file with a known sha256 may also be there from another commit.
    """
    found = pointer(place, repo, oid, path)
    if found.exists():
        return found
    blob = None if sha256 is None else _folder(place, repo) / "blobs" / sha256
    return blob if blob is not None and blob.is_file() else None


def keep(place: Place, repo: str, oid: str, path: str, *, data: bytes, name: str) -> None:
    """Writes a file of a commit.

    Args:
        place: The Hub.
        repo: `owner/name`.
        oid: The commit.
        path: Path in the repository.
        data: The verified bytes.
        name: The Hub's id of the file.

    Raises:
        OSError: The cache cannot be written.
    """
    folder = _folder(place, repo)
    found = folder / "snapshots" / oid / path
    if not _ID.fullmatch(name) or not are_symlinks_supported(place.cache):
        _write(found, data)
        return
    blob = folder / "blobs" / name
    if blob.is_symlink():
        blob.unlink()  # into a store that several caches share
    _write(blob, data)
    _link(blob, found)


def drop(path: Path) -> None:
    """Removes a cached file and its blob, as far as the system allows."""
    for one in (Path(os.path.realpath(path)), path):
        with contextlib.suppress(OSError):
            one.unlink()


def _write(path: Path, data: bytes) -> None:
    """Writes a file, whole or not at all; what a crash damages is fetched again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with held_temp(path) as temp:
        temp.write_bytes(data)
        take_name(temp, path, replace=True)


def _link(blob: Path, found: Path) -> None:
    target = os.path.relpath(blob, found.parent)
    if found.is_symlink() and os.readlink(found) == target:
        return
    found.parent.mkdir(parents=True, exist_ok=True)
    found.unlink(missing_ok=True)
    try:
        os.symlink(target, found)
    except FileExistsError:
        pass  # another process has cached the same file
    except PermissionError:
        shutil.copyfile(blob, found)


def _folder(place: Place, repo: str) -> Path:
    return place.cache / repo_folder_name(repo_id=repo, repo_type="model")
