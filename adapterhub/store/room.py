"""Whether a registry can take another version, tried out before hours are spent on making one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from adapterhub.errors import RegistryError
from adapterhub.specs import Kind
from adapterhub.store import editing
from adapterhub.store.atomic import held_temp, reason
from adapterhub.store.editing import HEADS_FOLDER, registry_lock
from adapterhub.store.registry import Registry, inside, read_registry
from adapterhub.store.yamlsafe import MAX_BYTES

_LOCK_TIMEOUT = 5.0
_HEAD_BYTES = 2**20
_ENTRY_BYTES = 2**14
_NO_ALLOCATION = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


def check_room(path: Path, *, more: int = 0) -> None:
    """Checks that a version can be added to a registry: lock, folders, free space, size.

    What it needs is really written and removed again. Nothing stays but the lock's file.

    Args:
        path: registry.yaml, which may not exist yet, nor its folder.
        more: Bytes that are written beside the version.

    Raises:
        RegistryError: It cannot be added, or the registry is not valid.
    """
    try:
        path = path.resolve()
        is_there, has_folder = path.exists(), path.parent.exists()
    except (OSError, RuntimeError) as error:  # RuntimeError until Python 3.13
        raise RegistryError(path, f"it cannot be written: {error}") from error
    if not is_there:
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        _try_to_write(folder, path, _HEAD_BYTES + _ENTRY_BYTES + more)
        if has_folder:
            _check_heads(path)
        return
    size = path.stat().st_size
    if size + _ENTRY_BYTES > MAX_BYTES:
        raise RegistryError(
            path, f"it is {size} bytes long, and with one more task it could exceed {MAX_BYTES}"
        )
    read_registry(path)
    with registry_lock(path, timeout=min(_LOCK_TIMEOUT, editing.LOCK_TIMEOUT)):
        _try_to_write(path.parent, path, size + _ENTRY_BYTES + _HEAD_BYTES + more)
        _check_heads(path)


def check_kind(path: Path, task: str, kind: Kind) -> Registry | None:
    """Returns the registry that a task gets its next version in; None where the task is new.

    Raises:
        RegistryError: It has a task of this name with another kind, or cannot be read.
    """
    known = read_registry(path) if path.is_file() and path.stat().st_size else None
    if known is None or task not in known.tasks:
        return None
    entry = known.tasks[task]
    if entry.kind != kind:
        raise RegistryError(
            path,
            f"task '{task}' is {entry.kind} on the backbone '{entry.backbone}'; a version that is "
            f"{kind} cannot be added. Give the new task another name.",
        )
    return known


def _check_heads(path: Path) -> None:
    heads = path.parent / HEADS_FOLDER
    inside(path, HEADS_FOLDER)
    if heads.exists():
        _try_to_write(heads, path, _HEAD_BYTES)


def _try_to_write(folder: Path, path: Path, size: int) -> None:
    """Writes a file of some size to a folder and removes it."""
    try:
        with held_temp(folder / path.name) as temp, open(temp, "r+b") as file:
            _allocate(file.fileno(), size)
    except OSError as error:
        raise RegistryError(
            path,
            f"a new version could not be saved: {folder} cannot be written to: {reason(error)}",
        ) from error


def _allocate(descriptor: int, size: int) -> None:
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in _NO_ALLOCATION:
            raise
