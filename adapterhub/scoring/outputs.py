"""The files of a run: predictions and, where bad rows are left out, the bad rows.

Both are whole or not there. CSV must know all columns, and Parquet all types, before the first
row is written; so JSON Lines and records are read once ahead for them.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.errors import DataError, UsageError
from adapterhub.results import column_types
from adapterhub.rows.class_names import named_schema
from adapterhub.rows.formats import find_format
from adapterhub.rows.reading import SourceRow
from adapterhub.scoring.assign_columns import Assignment, check_columns
from adapterhub.scoring.chunks import ScoredChunk, take_chunks
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.sources import RowSource
from adapterhub.scoring.writers import DelimitedText, JsonLines, Parquet, refuse_writing
from adapterhub.store.atomic import FREE_SUFFIX, sync_folder

if TYPE_CHECKING:
    import pyarrow as pa

_SCANNED_ROWS = 8_192


def errors_path(out: Path) -> Path:
    """Returns the file that takes the bad rows beside `out`."""
    return out.with_name(f"{out.name}.errors.jsonl")


def check_output(out: Path, source: RowSource, options: ScoringOptions) -> None:
    """Checks that the files of a run can be written, before anything is computed.

    Raises:
        UsageError: The format is unknown, or cannot be written from this source.
        DataError: A file is in the way, or the folder cannot be written to.
    """
    form = find_format(out, answers=True)
    for path in (out, errors_path(out)) if options.on_error == "skip" else (out,):
        found = path.stat() if path.exists() else None
        if found is not None and (found.st_dev, found.st_ino) == source.identity:
            raise UsageError(
                f"The input itself would be written, {path}; give --out (out) another name."
            )
        check_writable(path, force=options.force)
    is_stream = source.form.name == "jsonl" and source.again is None and not source.is_blank
    if form.name != "jsonl" and is_stream:
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
    if path.is_dir():
        raise DataError(path, "it is a folder; expected the name of a file to write")
    if path.exists() and not force:
        raise DataError(path, "it exists already; --force replaces it (force=True)")
    if path.exists() and not path.is_file():
        raise DataError(path, "it is no regular file, so it cannot be replaced in one step")
    if not path.parent.is_dir():
        raise DataError(path, f"there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise DataError(path, f"the folder {path.parent} cannot be written to")


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
                        {"file": source.name, "line": r.place, "reason": r.problem, "row": r.row}
                        for r in chunk.bad
                    ]
                )
            writer.write(chunk.rows)

        yield write


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


@contextlib.contextmanager
def _bad_rows_file(path: Path, *, force: bool) -> Iterator[JsonLines]:
    """Yields the file of the bad rows; leaves none where there were none."""
    with (
        whole_file(path, force=force) as temp,
        contextlib.closing(JsonLines(temp)) as file,
    ):
        yield file
    if not path.stat().st_size:
        path.unlink(missing_ok=True)


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


def source_columns(source: RowSource) -> tuple[str, ...]:
    """Returns all columns of a source, in order of first appearance."""
    if source.form.name != "jsonl" or source.again is None:
        return source.columns
    found = dict.fromkeys(source.columns)
    for row in source.again():
        found.update(dict.fromkeys(row.values))
    return tuple(found)


def source_schema(source: RowSource) -> pa.Schema:
    """Returns the Parquet schema of a source: its own, or what its values are.

    Raises:
        DataError: A column holds values that no one type of Parquet can hold.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if source.form.name == "parquet" and source.path is not None:
        try:
            return named_schema(pq.read_schema(source.path))
        except (pa.ArrowException, OSError) as error:
            raise DataError(source.name, f"it is not a readable Parquet file: {error}") from error
    if source.form.name != "jsonl" or source.again is None:
        return pa.schema([(column, pa.string()) for column in source.columns])
    schema = pa.schema([])
    for rows in take_chunks(source.again(), _SCANNED_ROWS):
        schema = _widen(schema, [row for row in rows if row.problem is None], source)
    # Those of a table without rows.
    unseen = [(column, pa.null()) for column in source.columns if column not in schema.names]
    return pa.schema([*schema, *pa.schema(unseen)])


def _widen(schema: pa.Schema, rows: Sequence[SourceRow], source: RowSource) -> pa.Schema:
    import pyarrow as pa

    names = dict.fromkeys(name for row in rows for name in row.values)
    for name in names:
        values = [row.values.get(name) for row in rows]
        try:
            found = pa.schema([(name, pa.array(values).type)])
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
        except (pa.ArrowException, TypeError, OverflowError) as error:
            source.refuse(
                rows[0].place,
                f"the column '{name}' holds values that Parquet cannot hold in one column: "
                f"{error}. Write .jsonl instead",
            )
    return schema
