"""Reads files and streams row by row; a bad row does not affect the others.

CSV cells stay strings, without conversion (`NA`, `null`, `012`). CSV is read by Python's own
reader, because pyarrow's does not return the line of a row.
"""

from __future__ import annotations

import csv
import json
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from gzip import BadGzipFile
from pathlib import Path
from typing import IO

from adapterhub.errors import DataError
from adapterhub.rows.formats import FileFormat, Format, open_reading, refuse_reading
from adapterhub.store.jsonsafe import read_json_object

TEXT_COLUMN = "text"
"""The column of rows that have only a text."""

_DELIMITERS = {"csv": ",", "tsv": "\t"}
# Texts can be longer than the csv module's default limit of 131,072 characters.
_LONGEST_CELL = 2**31 - 1
_BATCH_ROWS = 2_048


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row of a file or stream.

    Attributes:
        place: Its first line, or in Parquet its row number, from 1.
        values: Value by column; empty if there is a problem.
        problem: Why it cannot be read, or None.
        raw: Its text, if there is a problem.
    """

    place: int
    values: Mapping[str, object] = field(default_factory=dict)
    problem: str | None = None
    raw: str = ""


def read_file(path: Path, form: FileFormat) -> Iterator[SourceRow]:
    """Yields the rows of a file.

    Raises:
        DataError: The file cannot be read or is damaged; bad rows are yielded with a problem.
    """
    if not path.exists():
        raise DataError(path, "there is no such file")
    try:
        if form.name == "parquet":
            yield from _parquet_rows(path)
            return
        with open_reading(path, packed=form.packed) as stream:
            yield from read_stream(stream, form.name, name=str(path))
    except (EOFError, zlib.error, BadGzipFile) as error:
        raise DataError(path, f"it is a damaged gzip file: {error}") from error
    except OSError as error:
        refuse_reading(path, error)


def read_stream(stream: IO[str], form: Format, *, name: str) -> Iterator[SourceRow]:
    """Yields the rows of an open text stream.

    Args:
        stream: Opened as `formats.open_reading` does.
        form: Its format, not Parquet.
        name: Name of the stream, for messages.

    Raises:
        DataError: The header of a CSV file is not valid.
    """
    if form == "text":
        lines = enumerate(stream, start=1)
        yield from (_text_row(line, text.rstrip("\n").rstrip("\r")) for line, text in lines)
    elif form == "jsonl":
        lines = enumerate(stream, start=1)
        yield from (_json_row(line, text) for line, text in lines if text.strip())
    else:
        yield from _csv_rows(stream, _DELIMITERS[form], name)


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
    return max(lines - (form.name in _DELIMITERS), 1)


def _text_row(place: int, text: str) -> SourceRow:
    problem = encoding_problem(text)
    return SourceRow(place, {} if problem else {TEXT_COLUMN: text}, problem, text)


def _json_row(line: int, text: str) -> SourceRow:
    problem = encoding_problem(text)
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


def _csv_rows(stream: IO[str], delimiter: str, name: str) -> Iterator[SourceRow]:
    csv.field_size_limit(min(_LONGEST_CELL, sys.maxsize))
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    header = _csv_header(reader, name)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            fault = f"it cannot be read as CSV: {error}{_swallowed(line, reader.line_num)}"
            yield SourceRow(line, {}, fault)
            continue
        if cells is None:
            return
        if not cells:
            continue
        raw = delimiter.join(cells)
        problem = encoding_problem(raw)
        if len(cells) != len(header):
            found = f"it has {len(cells)} cells, the first line has {len(header)}"
            found += _swallowed(line, reader.line_num)
            problem = f"{found}; quote cells that hold a {delimiter!r}"
        if problem is None:
            yield SourceRow(line, dict(zip(header, cells, strict=True)))
        else:
            yield SourceRow(line, {}, problem, raw)


def _swallowed(first: int, last: int) -> str:
    """Returns which lines are lost with a row whose quote is not closed, or an empty string."""
    if last == first:
        return ""
    return (
        f" (a cell in quotes goes on to line {last}, and those lines are lost with it; write "
        f'"" for a quote that belongs to a text)'
    )


def _csv_header(reader: Iterator[list[str]], name: str) -> list[str]:
    try:
        header = next(reader, None) or []
    except csv.Error as error:
        raise DataError(name, f"it cannot be read as CSV: {error}", 1) from error
    twice = next((column for column in header if header.count(column) > 1), None)
    if twice is not None:
        raise DataError(name, f"the column '{twice}' occurs twice", 1)
    problem = encoding_problem("".join(header))
    if problem is not None:
        raise DataError(name, f"the names of the columns: {problem}", 1)
    return header


def _parquet_rows(path: Path) -> Iterator[SourceRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            refuse_duplicates(file.schema_arrow.names, path)
            place = 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for values in batch.to_pylist():
                    place += 1
                    yield SourceRow(place, values)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(path, f"it is not a readable Parquet file: {error}") from error
    except (OverflowError, ValueError) as error:
        # A date after the year 9999, for instance, as databases write for "never".
        raise DataError(path, f"it holds a value that Python has no form for: {error}") from error


def refuse_duplicates(columns: Sequence[object], source: str | Path) -> None:
    """Refuses a table with two columns of one name, since a row keeps one value per name.

    Raises:
        DataError: A name occurs twice.
    """
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise DataError(source, f"the column '{twice}' occurs twice")


def encoding_problem(text: str) -> str | None:
    """Returns why `text` cannot be encoded as UTF-8, or None if it can."""
    if text.isascii():
        return None
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        # The surrogates that surrogateescape makes of the bytes 0x80 to 0xFF.
        if 0xDC80 <= code <= 0xDCFF:
            return f"it is not UTF-8: byte 0x{code - 0xDC00:02X} at code point {error.start}"
        return f"it has a lone surrogate (U+{code:04X}) at code point {error.start}"
    return None
