"""Output files that are whole or not there."""

from __future__ import annotations

import contextlib
import gzip
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NoReturn, cast

from adapterhub.errors import DataError
from adapterhub.store.atomic import FREE_SUFFIX, reason, sync_folder


def open_writing(path: Path, *, packed: bool) -> IO[str]:
    """Opens a text file in UTF-8 whose lines end in a line feed on every system.

    Raises:
        DataError: It cannot be opened.
    """
    try:
        if packed:
            return cast("IO[str]", gzip.open(path, "wt", encoding="utf-8", newline="\n"))
        return path.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
        refuse_writing(path, error)


@contextlib.contextmanager
def whole_file(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which takes its name if the block ends well.

    Whatever stops the process, `path` is what it was before or the whole new file. A block
    that fails or is interrupted leaves no temporary file; one that is killed may.

    Args:
        path: The file to be made.
        force: Whether an existing file may be replaced.

    Raises:
        DataError: It exists and `force` is False, or the system cannot write there.
    """
    check_writable(path, force=force)
    temp = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}{FREE_SUFFIX}")
    try:
        yield temp
        _finish(temp, path, force=force)
    except DataError as error:
        if error.source != str(temp):
            raise
        raise DataError(path, error.problem, error.line) from error
    finally:
        with contextlib.suppress(OSError):
            temp.unlink(missing_ok=True)


def check_writable(path: Path, *, force: bool) -> None:
    """Checks that a file can be made at `path`, before hours are spent on its content.

    Raises:
        DataError: It exists and `force` is False, is no file, or its folder is not there.
    """
    if path.is_dir():
        raise DataError(path, "it is a folder; expected the name of a file to write")
    if path.exists() and not force:
        raise DataError(path, "it exists already; --force replaces it")
    if path.exists() and not path.is_file():
        raise DataError(path, "it is no regular file, so it cannot be replaced in one step")
    if not path.parent.is_dir():
        raise DataError(path, f"there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise DataError(path, f"the folder {path.parent} cannot be written to")


def refuse_writing(path: Path, error: OSError) -> NoReturn:
    """Raises our error for a file that cannot be written."""
    raise DataError(path, f"it cannot be written: {reason(error)}") from error


def _finish(temp: Path, path: Path, *, force: bool) -> None:
    try:
        with temp.open("rb") as file:
            os.fsync(file.fileno())
        if path.exists():
            # Somebody else may have made it in the meantime.
            check_writable(path, force=force)
            temp.chmod(stat.S_IMODE(path.stat().st_mode))
        os.replace(temp, path)
        sync_folder(path.parent)
    except OSError as error:
        refuse_writing(path, error)
