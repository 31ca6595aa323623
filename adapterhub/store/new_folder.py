"""A new folder of files: whole, or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from adapterhub.store.atomic import held_temp, sweep, sync_folder


def is_free(folder: Path) -> bool:
    """Returns whether a folder can be made: there is nothing of its name, or an empty folder.

    Raises:
        OSError: The system cannot say.
    """
    return not os.path.lexists(folder) or (
        folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
    )


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yields a folder to fill, which takes its name when the block ends; else nothing stays.

    Args:
        folder: Absolute path; missing or empty.

    Raises:
        OSError: The system cannot write it, or it is not empty.
    """
    parents = [path for path in folder.parents if not path.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder.parent)
        with held_temp(folder, is_folder=True) as temp:
            yield temp
            for path in temp.rglob("*"):
                _flush(path)
            sync_folder(temp)
            if folder.exists():
                folder.rmdir()
            temp.rename(folder)
        sync_folder(folder.parent)
    except BaseException:
        for path in parents:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _flush(path: Path) -> None:
    """Flushes a file or the names in a folder to the disk."""
    if path.is_dir():
        sync_folder(path)
        return
    with open(path, "r+b") as file:
        os.fsync(file.fileno())
