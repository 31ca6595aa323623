"""Locks between processes, which name their holder; the kernel frees them when it dies."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock

from adapterhub.store.atomic import held_temp, open_regular, removed_at_end
from adapterhub.store.owners import try_lock

OUTPUT_LOCK = ".adapterhub-lock"
"""Ends the name of the lock on an output, which is removed with its holder's note."""

_POLL = 0.01
_HOLDER = "-holder"
_SOFT = "-soft"
_LONGEST = 200


@contextlib.contextmanager
def hold_lock(lock_path: Path, *, timeout: float, remove: bool = False) -> Iterator[None]:
    """Holds a lock.

    Where the file system has no locks, a file that names its holder stands for one; it is taken
    over when that process has ended on this machine.

    Args:
        lock_path: The lock's file.
        timeout: Seconds to wait for other holders.
        remove: Whether the lock's file is removed at the end.

    Raises:
        filelock.Timeout: Another process held it for that long.
        OSError: Its file cannot be opened.
    """
    with held_temp(lock_path) as probe:
        descriptor = os.open(probe, os.O_RDWR)
        try:
            # Held already by `held_temp` where there are locks.
            has_locks = os.name == "nt" or try_lock(descriptor) is not None
        finally:
            os.close(descriptor)
    # Not one file for both: what a copied folder holds of another system would be a lock here.
    lock: BaseFileLock = FileLock(lock_path) if has_locks else SoftFileLock(_soft_path(lock_path))
    lock.acquire(timeout=timeout, poll_interval=_POLL)
    try:
        # A process that waits for a lock that is removed finds that out, and makes another.
        removed = removed_at_end(lock_path) if remove else contextlib.nullcontext()
        with removed, _named_holder(lock_path):
            yield
    finally:
        lock.release()


def output_lock(path: Path) -> Path:
    """Returns the lock on an output, the same for all that would write to this name."""
    name = path.name
    if len(os.fsencode(name)) > _LONGEST:
        # Some file systems take names that differ in case or in composed accents for the same.
        folded = unicodedata.normalize("NFC", name).casefold()
        digest = hashlib.blake2b(os.fsencode(folded), digest_size=8).hexdigest()
        name = f"{name[:40]}.{digest}"
    return path.with_name(f".{name}{OUTPUT_LOCK}")


def held_by(lock_path: Path) -> str:
    """Returns who holds a lock and what may be done, for the end of a message."""
    soft = _soft_path(lock_path)
    way_out = (
        f". This file system has no locks: remove {soft} if that process has ended"
        if soft.exists()
        else ""
    )
    try:
        with open_regular(lock_path.with_name(f"{lock_path.name}{_HOLDER}")) as file:
            text = file.read(200).decode("utf-8", "replace")
    except OSError:
        return way_out
    shown = "".join(sign if sign.isprintable() else "?" for sign in text)
    return f": {shown}{way_out}" if shown else way_out


def is_output_lock(path: Path) -> bool:
    """Returns whether a file belongs to the lock on an output."""
    return path.name.endswith(tuple(f"{OUTPUT_LOCK}{end}" for end in ("", _HOLDER, _SOFT)))


def output_locks(folder: Path) -> list[Path]:
    """Returns the files of all locks on outputs in `folder`, sorted."""
    return sorted(path for path in folder.glob(f".*{OUTPUT_LOCK}*") if is_output_lock(path))


def is_left_over(path: Path, *, remove: bool = False) -> bool:
    """Returns whether a file of the lock on an output is held by nobody; in doubt it is False.

    Args:
        path: For which `is_output_lock` is True.
        remove: Whether it is then removed, with what belongs to it.

    Raises:
        OSError: It cannot be opened or removed.
    """
    name = path.name.removesuffix(_HOLDER).removesuffix(_SOFT)
    lock, holder = path.with_name(name), path.with_name(f"{name}{_HOLDER}")
    if _soft_path(lock).exists():
        return False  # whoever takes the lock next looks for its holder
    files = [file for file in (holder, lock) if file.exists()]
    with contextlib.ExitStack() as stack:
        if lock in files:
            descriptor = os.open(lock, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            if not try_lock(descriptor):
                return False
        for file in files if remove else ():
            file.unlink(missing_ok=True)
    return True


@contextlib.contextmanager
def _named_holder(lock_path: Path) -> Iterator[None]:
    """Names the lock's holder in a file beside it; waiting processes truncate the lock file."""
    note = lock_path.with_name(f"{lock_path.name}{_HOLDER}")
    # Only error messages of other processes read it, so a full disk must not stop a writer here.
    with contextlib.suppress(OSError):
        note.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
    with removed_at_end(note):
        yield


def _soft_path(lock_path: Path) -> Path:
    return lock_path.with_name(f"{lock_path.name}{_SOFT}")
