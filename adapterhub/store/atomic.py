"""Atomic reads and writes of whole files, safe against crashes of the writer."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from adapterhub.store.owners import TEMP_SUFFIX, is_abandoned, owned_name, try_lock

OLD_SUFFIXES = (".adapterhub-tmp", ".adapterhub-locked-tmp")
"""Of temporary files of earlier versions, which nobody can know to be abandoned."""

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


@contextlib.contextmanager
def held_temp(path: Path, *, is_folder: bool = False) -> Iterator[Path]:
    """Yields a new empty temporary file beside `path`, which other processes know to be in use.

    It is removed at the end, unless the block has renamed it. One whose process was killed is
    removed by `sweep`.

    Args:
        path: The file to be made; its folder must exist.
        is_folder: Whether a folder is to be made.

    Raises:
        OSError: The disk is full, the folder is read-only, or another error of the system.
    """
    temp = path.with_name(owned_name(path.name))
    if is_folder:
        temp.mkdir()
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        os.close(os.open(temp, flags, 0o666))
    with removed_at_end(temp), _locked(temp):
        yield temp


@contextlib.contextmanager
def removed_at_end(path: Path) -> Iterator[None]:
    """Removes a file or folder of this process at the end of the block, if it is still there."""
    _HELD.add(path)
    try:
        yield
    finally:
        remove(path)
        _HELD.discard(path)


def remove_held() -> None:
    """Removes what `removed_at_end` would remove; this process is about to end."""
    for path in tuple(_HELD):
        remove(path)


def write_atomic(path: Path, data: bytes, *, replace: bool, sync_name: bool = True) -> None:
    """Writes `data` durably, so that `path` holds either all of it or its previous content.

    The bytes go to a temporary file in the same folder, are flushed to disk and renamed. A new
    file gets its mode from the umask; a replaced file keeps its mode, because several users may
    share it. No temporary file is left behind on an error.

    Args:
        path: The file; its folder must exist.
        data: Its whole content.
        replace: Whether an existing file may be replaced.
        sync_name: Whether the file's name is flushed to disk too. A caller that writes many files
            to one folder passes False and calls `sync_folder` once.

    Raises:
        FileExistsError: The file exists and `replace` is False.
        OSError: The disk is full, the folder is read-only, or another error of the system.
    """
    with held_temp(path) as temp:
        with open(temp, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        take_name(temp, path, replace=replace)
    if sync_name:
        sync_folder(path.parent)


def take_name(temp: Path, path: Path, *, replace: bool) -> None:
    """Gives a finished temporary file its name; a replaced file keeps its mode.

    Raises:
        FileExistsError: The file exists and `replace` is False.
        OSError: The system refuses it.
    """
    if replace:
        with contextlib.suppress(FileNotFoundError):
            os.chmod(temp, stat.S_IMODE(path.stat().st_mode))
        os.replace(temp, path)
    else:
        _take_new_name(temp, path)


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
    """Removes temporary files in `folder` that no process writes any more."""
    for path in stray_files(folder):
        with contextlib.suppress(OSError):
            if is_abandoned(path):
                remove(path)


def stray_files(folder: Path) -> list[Path]:
    """Returns the temporary files in `folder`, in use or not, sorted."""
    if not folder.is_dir():
        return []
    # Names instead of Path objects, because every writer lists a folder of thousands of heads.
    suffixes = (TEMP_SUFFIX, *OLD_SUFFIXES)
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


_HELD: set[Path] = set()
"""Files and folders of this process that do not outlive it."""


@contextlib.contextmanager
def _locked(temp: Path) -> Iterator[None]:
    """Holds the lock on a temporary file, where the file system has locks."""
    if os.name == "nt":  # An open file cannot be renamed there.
        yield
        return
    descriptor = os.open(temp, os.O_RDONLY)
    try:
        # Nobody else touches a file whose owner runs, so the lock is free.
        with contextlib.suppress(OSError):
            try_lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def remove(temp: Path) -> None:
    """Removes a temporary file or folder if the system lets it."""
    if temp.is_dir():
        shutil.rmtree(temp, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        temp.unlink(missing_ok=True)
