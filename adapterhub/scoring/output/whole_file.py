"""Files that are whole or not there, each with one writer at a time."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from adapterhub.errors import DataError
from adapterhub.rows.formats import PACKED
from adapterhub.scoring.output.writers import refuse_writing
from adapterhub.store.atomic import held_temp, reason, sweep, sync_folder, take_name
from adapterhub.store.locks import held_by, hold_lock, output_lock

if TYPE_CHECKING:
    pass

_RESERVE_TIMEOUT = 0.2
"""Seconds to wait for a process that only checks a name."""
_MOST_KEPT = 100


def errors_path(out: Path) -> Path:
    """Returns the file that takes the bad rows beside `out`."""
    return out.with_name(f"{out.name}.errors.jsonl")


def check_writable(path: Path, *, force: bool) -> None:
    """Checks that a file can be made at `path`, before hours are spent on its content.

    Raises:
        DataError: It exists and `force` is False, is no file, or its folder is not there.
    """
    target = resolved(path)
    if target.is_dir():
        raise DataError(path, "it is a folder; expected the name of a file to write")
    if target.exists() and not force:
        raise DataError(path, "it exists already; --force replaces it (force=True)")
    if target.exists() and not target.is_file():
        raise DataError(path, "it is no regular file, so it cannot be replaced in one step")
    if not target.parent.is_dir():
        raise DataError(path, f"there is no folder {target.parent}")
    if not os.access(target.parent, os.W_OK):
        raise DataError(path, f"the folder {target.parent} cannot be written to")


@contextlib.contextmanager
def whole_file(path: Path, *, force: bool = False, unless_empty: bool = False) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which takes its name if the block ends well.

    Whatever stops the process, `path` is what it was before or the whole new file. A block
    that fails or is interrupted leaves no temporary file; one that is killed may, which the next
    one that writes to this folder removes. Until the end no other process can write to `path`
    this way.

    Args:
        path: The file to be made; a link stands for the file that it leads to.
        force: Whether an existing file may be replaced.
        unless_empty: Whether an empty file is not made.

    Raises:
        DataError: It exists and `force` is False, another process writes it, or the system cannot
            write there. If the whole file was written and cannot take its name, it is kept under
            another, which the error names.
    """
    check_writable(path, force=force)
    with reserve(path), temp_beside(path) as temp:
        sweep(temp.parent)
        yield temp
        give_name(temp, path, force=force, unless_empty=unless_empty)


@contextlib.contextmanager
def temp_beside(path: Path) -> Iterator[Path]:
    """Yields a temporary file beside what `path` leads to, removed unless it gets another name.

    Raises:
        DataError: It cannot be made. An error in writing it names `path`.
    """
    target = resolved(path)
    with contextlib.ExitStack() as stack:
        try:
            temp = stack.enter_context(held_temp(target))
        except OSError as error:
            refuse_writing(path, error)
        try:
            yield temp
        except DataError as error:
            if error.source != str(temp):
                raise
            raise DataError(path, error.problem, error.line) from error


def resolved(path: Path) -> Path:
    """Returns the file that a path leads to.

    Raises:
        DataError: Its links lead in a circle.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError until Python 3.13
        raise DataError(path, "it is a link that leads in a circle") from error


@contextlib.contextmanager
def reserve(path: Path) -> Iterator[None]:
    """Keeps other processes from writing to `path` with `whole_file`.

    Raises:
        DataError: One does so already, or the folder cannot be written to.
    """
    lock = output_lock(resolved(path))
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold_lock(lock, timeout=_RESERVE_TIMEOUT, remove=True))
        except Timeout as error:
            raise DataError(
                path, f"it is being written{held_by(lock)}. Wait for its end, or name another file"
            ) from error
        except OSError as error:
            refuse_writing(path, error)
        yield


def give_name(temp: Path, path: Path, *, force: bool, unless_empty: bool = False) -> None:
    """Gives a file that is finished its name; see `whole_file`.

    Raises:
        DataError: The system refuses it, or there is such a file and `force` is False.
    """
    target = resolved(path)
    try:
        is_empty = not flush(temp)
        if unless_empty and is_empty:
            if force:
                target.unlink(missing_ok=True)
            return
    except OSError as error:
        refuse_writing(path, error)
    try:
        take_name(temp, target, replace=force)
    except FileExistsError as error:
        kept = _keep(temp, target)
        problem = "it was made by another program in the meantime and is not replaced"
        raise DataError(path, f"{problem}; what was written is in {kept}") from error
    except OSError as error:
        kept = _keep(temp, target)
        problem = f"it cannot be written: {reason(error)}"
        raise DataError(path, f"{problem}; what was written is in {kept}") from error
    sync_folder(target.parent)


def flush(path: Path) -> int:
    """Flushes a file to the disk and returns its size in bytes.

    Raises:
        OSError: The disk reports an error.
    """
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def _keep(temp: Path, target: Path) -> Path:
    """Gives a whole file another name than its own, if need be in another folder."""
    ending = "".join(target.suffixes[-2:]) if target.suffix.lower() in PACKED else target.suffix
    stem = target.name.removesuffix(ending)
    for number in range(2, _MOST_KEPT):
        kept = target.with_name(f"{stem}.{number}{ending}")
        try:
            take_name(temp, kept, replace=False)
        except FileExistsError:
            continue
        except OSError:
            break
        return kept
    kept = Path(tempfile.mkdtemp(prefix="adapterhub-")) / target.name
    shutil.copyfile(temp, kept)
    return kept
