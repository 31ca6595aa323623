"""Atomic reads and writes of whole files, safe against crashes of the writer."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

FREE_SUFFIX = ".adapterhub-tmp"
LOCKED_SUFFIX = ".adapterhub-locked-tmp"
STALE_AFTER = 3_600.0
"""Seconds after which a temporary file written without a lock counts as abandoned."""

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Opens a regular file for reading; a pipe or device is refused, because opening may block.

    Raises:
        OSError: The file cannot be opened, or is not a regular file.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    with open(path, "rb", opener=opener) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        yield file


def write_atomic(
    path: Path, data: bytes, *, replace: bool, under_lock: bool = False, sync_name: bool = True
) -> None:
    """Writes `data` durably, so that `path` holds either all of it or its previous content.

    The bytes go to a temporary file in the same folder, are flushed to disk and renamed. A new
    file gets its mode from the umask; a replaced file keeps its mode, because several users may
    share it. No temporary file is left behind on an error.

    Args:
        path: The file; its folder must exist.
        data: Its whole content.
        replace: Whether an existing file may be replaced.
        under_lock: Whether the caller holds the registry's lock; see `sweep`.
        sync_name: Whether the file's name is flushed to disk too. A caller that writes many files
            to one folder passes False and calls `sync_folder` once.

    Raises:
        FileExistsError: The file exists and `replace` is False.
        OSError: The disk is full, the folder is read-only, or another error of the system.
    """
    suffix = LOCKED_SUFFIX if under_lock else FREE_SUFFIX
    # The name is cut, because file names may have at most 255 bytes.
    temp = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}{suffix}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temp, flags, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            with contextlib.suppress(FileNotFoundError):
                os.chmod(temp, stat.S_IMODE(path.stat().st_mode))
            os.replace(temp, path)
        else:
            _take_new_name(temp, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temp.unlink()
        raise
    if sync_name:
        sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Creates `folder` durably where it is missing.

    Raises:
        OSError: It cannot be created.
    """
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flushes the file names in `folder` to disk, where the system can do that.

    Raises:
        OSError: The disk reports an error.
    """
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Removes temporary files of dead writers. The caller holds the registry's lock.

    Only the lock's holder writes files with LOCKED_SUFFIX, so those that exist are abandoned.
    Other temporary files may be in use, and are kept until STALE_AFTER.
    """
    for path in stray_files(folder):
        with contextlib.suppress(OSError):
            abandoned = path.name.endswith(LOCKED_SUFFIX)
            if abandoned or time.time() - path.stat().st_mtime > STALE_AFTER:
                path.unlink()


def stray_files(folder: Path) -> list[Path]:
    """Returns the temporary files in `folder`, sorted."""
    if not folder.is_dir():
        return []
    # Names instead of Path objects, because every writer lists a folder of thousands of heads.
    suffixes = (FREE_SUFFIX, LOCKED_SUFFIX)
    return sorted(folder / name for name in os.listdir(folder) if name.endswith(suffixes))


def reason(error: OSError) -> str:
    """Returns the system's message for `error`, without the path."""
    return error.strerror or str(error)


def _take_new_name(temp: Path, path: Path) -> None:
    # A rename replaces an existing file; a hard link fails if another process was first.
    try:
        os.link(temp, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        os.replace(temp, path)
    else:
        temp.unlink()
