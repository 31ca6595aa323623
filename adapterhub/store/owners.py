"""Which process a temporary file belongs to, and whether that process may still run.

A file's name holds its owner, and the owner holds a lock of the kernel on the file. Either alone
can be wrong: some file systems have no locks, and process numbers mean nothing on other machines.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import socket
import time
from pathlib import Path

if os.name != "nt":
    import fcntl

TEMP_SUFFIX = ".adapterhub-temp"

_DAY = 86_400.0
_OWNED = re.compile(
    rf".*\.(?P<place>[0-9a-f]{{8}})-(?P<pid>[1-9][0-9]{{0,9}})-(?P<start>[0-9]+)-[0-9a-f]{{16}}"
    rf"{re.escape(TEMP_SUFFIX)}",
    re.DOTALL,
)
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


def owned_name(name: str) -> str:
    """Returns a new name of a temporary file for `name` that says that this process owns it."""
    # Cut, because file names may have at most 255 bytes.
    owner = f"{_place()}-{os.getpid()}-{_started(os.getpid()) or 0}-{secrets.token_hex(8)}"
    return f".{name[:40]}.{owner}{TEMP_SUFFIX}"


def try_lock(descriptor: int) -> bool | None:
    """Returns whether the lock on an open file was free and is now held; None without locks.

    The kernel frees the lock when the last process that has the file open this way ends.

    Raises:
        OSError: The system cannot lock it.
    """
    if os.name == "nt":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def is_abandoned(path: Path) -> bool:
    """Returns whether no process writes a temporary file any more; in doubt it is False.

    Raises:
        OSError: The file cannot be opened.
    """
    found = _OWNED.fullmatch(path.name)
    if found is None:
        # Written by an adapterhub that locked nothing.
        return False
    is_here = found["place"] == _place() and os.name != "nt"
    if is_here and _runs(int(found["pid"]), int(found["start"])):
        return False
    # Some file systems lock files for one machine only.
    if not is_here and time.time() - path.stat().st_mtime < _DAY:
        return False
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        # Processes that a dead owner has forked keep its lock.
        is_free = try_lock(descriptor)
    finally:
        os.close(descriptor)
    return is_here if is_free is None else is_free


def owner_of(path: Path) -> str:
    """Returns the owner of a temporary file for a message."""
    found = _OWNED.fullmatch(path.name)
    if found is None:
        return "an unknown process"
    where = "this machine" if found["place"] == _place() else "another machine"
    return f"process {found['pid']} on {where}"


def _place() -> str:
    """Returns a digest of what process numbers are unique in: the machine and the container."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    place = f"{socket.gethostname()} {space}"
    return hashlib.blake2b(place.encode(), digest_size=4).hexdigest()


def _runs(pid: int, start: int) -> bool:
    """Returns whether a process runs, and is no other one that got its number later."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    found = _started(pid)
    return found is None or (found > 0 and start in (0, found))


def _started(pid: int) -> int | None:
    """Returns when a process started, in ticks; 0 if it has ended, None where nothing says so."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name of the program, in parentheses, may hold anything.
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])
