"""Reads files and streams row by row; a bad row does not affect the others."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from gzip import BadGzipFile
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.errors import DataError
from adapterhub.rows.class_names import features_of, named_rows
from adapterhub.rows.delimited import csv_rows, tsv_rows
from adapterhub.rows.formats import FileFormat, Format, open_reading, refuse_reading
from adapterhub.rows.source_row import Rows, line_problem, wide_encoding
from adapterhub.rows.source_row import SourceRow as SourceRow
from adapterhub.rows.source_row import encoding_problem as encoding_problem
from adapterhub.store.jsonsafe import read_json_object

if TYPE_CHECKING:
    import pyarrow.parquet as pq

TEXT_COLUMN = "text"
"""The column of rows that have only a text."""

BATCH_ROWS = 2_048
"""Rows of a table that are Python objects at a time."""


def read_file(path: Path, form: FileFormat) -> Rows:
    """Returns the rows of a file; bad rows have a problem.

    Raises:
        DataError: The file cannot be read or is damaged, at once or where its rows are read.
    """
    if not path.exists():
        raise DataError(path, "there is no such file")
    with ExitStack() as stack:
        stack.enter_context(_damage_named(path))
        if form.name == "parquet":
            stack.enter_context(_values_named(path))
            import pyarrow.parquet as pq

            file = stack.enter_context(pq.ParquetFile(path))
            refuse_duplicates(file.schema_arrow.names, path)
            columns = tuple(file.schema_arrow.names)
            rows = named_rows(_parquet_values(file), features_of(file.schema_arrow))
        else:
            stream = stack.enter_context(open_reading(path, packed=form.packed))
            found = read_stream(stream, form.name, name=str(path))
            columns, rows = found.columns, found.rows
        return Rows(columns, _closing(stack.pop_all(), rows))


def read_stream(stream: Iterable[str], form: Format, *, name: str) -> Rows:
    """Returns the rows of an open text stream.

    Args:
        stream: Opened as `formats.open_reading` does.
        form: Its format, not Parquet.
        name: Name of the stream, for messages.

    Raises:
        DataError: The header of a CSV file is not valid, or the stream is UTF-16 or UTF-32.
    """
    lines = _narrow_lines(iter(stream), name)
    if form == "csv":
        return csv_rows(lines, name)
    if form == "tsv":
        return tsv_rows(lines, name)
    numbered = enumerate(lines, start=1)
    if form == "text":
        rows = (_text_row(line, text.rstrip("\n").rstrip("\r")) for line, text in numbered)
        return Rows((TEXT_COLUMN,), rows)
    return Rows((), (_json_row(line, text) for line, text in numbered if text.strip()))


def count_rows(path: Path, form: FileFormat) -> int | None:
    """Returns the approximate number of rows, for a progress bar; None if counting is slow."""
    try:
        if form.name == "parquet":
            import pyarrow.parquet as pq

            return int(pq.read_metadata(path).num_rows)
        if form.packed:
            return None
        with path.open("rb") as file:
            lines = sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))
    # Reading the rows raises the same fault with a better message.
    except (OSError, ValueError):
        return None
    return max(lines - (form.name in ("csv", "tsv")), 1)


def refuse_duplicates(columns: Sequence[object], source: str | Path) -> None:
    """Refuses a table with two columns of one name, since a row keeps one value per name.

    Raises:
        DataError: A name occurs twice.
    """
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise DataError(source, f"the column '{twice}' occurs twice")


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Raises our error for a file that cannot be read."""
    try:
        yield
    except (EOFError, zlib.error, BadGzipFile) as error:
        raise DataError(path, f"it is a damaged gzip file: {error}") from error
    except OSError as error:
        refuse_reading(path, error)


@contextmanager
def _values_named(path: Path) -> Iterator[None]:
    """Raises our error for a Parquet file, or a value of it, that cannot be read."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(path, f"it is not a readable Parquet file: {error}") from error
    except (OverflowError, ValueError) as error:
        # A date after the year 9999, for instance, as databases write for "never".
        raise DataError(path, f"it holds a value that Python has no form for: {error}") from error


def _closing(opened: ExitStack, rows: Iterator[SourceRow]) -> Iterator[SourceRow]:
    with opened:
        yield from rows


def _narrow_lines(lines: Iterator[str], name: str) -> Iterator[str]:
    """Returns the lines of a stream.

    Raises:
        DataError: It is UTF-16 or UTF-32, whose characters would be read as texts with NULs.
    """
    first = list(islice(lines, 1))
    encoding = wide_encoding(first[0]) if first else None
    if encoding is not None:
        raise DataError(
            name,
            f"it is {encoding}, expected UTF-8; convert it, for instance: "
            f"iconv -f {encoding} -t UTF-8",
        )
    return chain(first, lines)


def _text_row(place: int, text: str) -> SourceRow:
    problem = line_problem(text)
    return SourceRow(place, {} if problem else {TEXT_COLUMN: text}, problem, text)


def _json_row(line: int, text: str) -> SourceRow:
    problem = line_problem(text)
    if problem is None:
        try:
            values = read_json_object(text)
        except ValueError as error:
            return SourceRow(line, {}, f"it is no JSON record: {error}", text.strip())
        if "\\ud" in text or "\\uD" in text:
            problem = encoding_problem(json.dumps(values, ensure_ascii=False))
        if problem is None:
            return SourceRow(line, values)
    return SourceRow(line, {}, problem, text.strip())


def _parquet_values(file: pq.ParquetFile) -> Iterator[Mapping[str, object]]:
    for batch in file.iter_batches(batch_size=BATCH_ROWS):
        yield from batch.to_pylist()
