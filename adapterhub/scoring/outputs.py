"""The files of a run: predictions and, where bad rows are left out, the bad rows.

Both are whole or not there. CSV must know all columns, and Parquet all types, before the first
row is written; so JSON Lines and records are read once ahead for them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from adapterhub.errors import DataError, UsageError
from adapterhub.results import column_types
from adapterhub.rows.formats import PACKED, find_format
from adapterhub.scoring.assign_columns import Assignment, check_columns
from adapterhub.scoring.chunks import ScoredChunk
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.source_schema import source_columns, source_schema
from adapterhub.scoring.sources import RowSource
from adapterhub.scoring.writers import DelimitedText, JsonLines, Parquet, refuse_writing
from adapterhub.store.atomic import held_temp, reason, sweep, sync_folder, take_name
from adapterhub.store.locks import held_by, hold_lock, output_lock

if TYPE_CHECKING:
    import pyarrow as pa

_RESERVE_TIMEOUT = 0.2
"""Seconds to wait for a process that only checks a name."""
_MOST_KEPT = 100


def errors_path(out: Path) -> Path:
    """Returns the file that takes the bad rows beside `out`."""
    return out.with_name(f"{out.name}.errors.jsonl")


def check_output(out: Path, source: RowSource, options: ScoringOptions) -> None:
    """Checks that the files of a run can be written, before anything is computed.

    Raises:
        UsageError: The format is unknown, or cannot be written from this source.
        DataError: A file is in the way, another process writes it, or the folder cannot be
            written to.
    """
    form = find_format(out, answers=True)
    for path in (out, errors_path(out)) if options.on_error == "skip" else (out,):
        if source.reads(path):
            raise UsageError(
                f"The input itself would be written, {path}; give --out (out) another name."
            )
        if source.takes_in(path):
            raise UsageError(
                f"{path} would be read as a part of the input {source.name} the next time; give "
                f"--out (out) another name, such as one that begins with '_'."
            )
        check_writable(path, force=options.force)
        with _reserved(path):
            pass
    is_unknown = not source.declared and source.again is None and not source.is_blank
    if form.name != "jsonl" and is_unknown:
        raise UsageError(
            f"{out.name} needs all columns before the first row, and rows of JSON from a stream "
            f"may have any; write .jsonl, or read them from a file with --file (in Python, from "
            f"a path or a list)."
        )


def check_writable(path: Path, *, force: bool) -> None:
    """Checks that a file can be made at `path`, before hours are spent on its content.

    Raises:
        DataError: It exists and `force` is False, is no file, or its folder is not there.
    """
    target = _target(path)
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
def open_output(
    out: Path, source: RowSource, assigned: Assignment, options: ScoringOptions
) -> Iterator[Callable[[ScoredChunk], None]]:
    """Yields what writes chunks; the files get their names when the block ends well.

    Raises:
        UsageError: The input has a column with the name of a column of predictions.
        DataError: A file cannot be written, or not in this format.
    """
    with contextlib.ExitStack() as stack:
        errors = None
        if options.on_error == "skip":
            # Entered first, so that it gets its name after the output, and not without it.
            errors = stack.enter_context(_bad_rows_file(errors_path(out), force=options.force))
        temp = stack.enter_context(whole_file(out, force=options.force))
        writer = stack.enter_context(contextlib.closing(_open_writer(out, temp, source, assigned)))

        def write(chunk: ScoredChunk) -> None:
            if errors is not None and chunk.bad:
                errors.write(
                    [
                        {
                            "file": r.file or source.name,
                            "line": r.place,
                            "reason": r.problem,
                            "row": r.row,
                        }
                        for r in chunk.bad
                    ]
                )
            writer.write(chunk.rows)

        yield write


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
    target = _target(path)
    with _reserved(path), _held_temp(target, path) as temp:
        sweep(target.parent)
        try:
            yield temp
            _finish(temp, target, path=path, force=force, unless_empty=unless_empty)
        except DataError as error:
            if error.source != str(temp):
                raise
            raise DataError(path, error.problem, error.line) from error


def _target(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError until Python 3.13
        raise DataError(path, "it is a link that leads in a circle") from error


@contextlib.contextmanager
def _reserved(path: Path) -> Iterator[None]:
    """Keeps other processes from writing to `path` with `whole_file`."""
    lock = output_lock(_target(path))
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


@contextlib.contextmanager
def _held_temp(target: Path, path: Path) -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        try:
            temp = stack.enter_context(held_temp(target))
        except OSError as error:
            refuse_writing(path, error)
        yield temp


def _finish(temp: Path, target: Path, *, path: Path, force: bool, unless_empty: bool) -> None:
    try:
        with temp.open("rb") as file:
            os.fsync(file.fileno())
        is_empty = not temp.stat().st_size
    except OSError as error:
        refuse_writing(path, error)
    if unless_empty and is_empty:
        if force:
            target.unlink(missing_ok=True)
        return
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


@contextlib.contextmanager
def _bad_rows_file(path: Path, *, force: bool) -> Iterator[JsonLines]:
    """Yields the file of the bad rows; leaves none where there were none."""
    with (
        whole_file(path, force=force, unless_empty=True) as temp,
        contextlib.closing(JsonLines(temp)) as file,
    ):
        yield file


def _open_writer(
    out: Path, temp: Path, source: RowSource, assigned: Assignment
) -> JsonLines | DelimitedText | Parquet:
    """Opens `temp` for what `out` will hold: the columns of the source, then the predictions."""
    form = find_format(out, answers=True)
    request = assigned.request
    if form.name == "jsonl":
        return JsonLines(temp, packed=form.packed)
    if form.name == "parquet":
        import pyarrow as pa

        schema = source_schema(source)
        check_columns(schema.names, request.columns)
        types: dict[str, pa.DataType] = {}
        for name, spec in assigned.specs.items():
            types |= column_types(name, spec.kind, top_k=request.top_k)
        return Parquet(temp, pa.schema([*schema, *pa.schema(types)]))
    columns = source_columns(source)
    check_columns(columns, request.columns)
    return DelimitedText(temp, form, (*columns, *request.columns))
