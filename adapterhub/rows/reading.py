"""Reads files and streams row by row; a bad row does not affect the others."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from gzip import BadGzipFile
from pathlib import Path

from adapterhub.errors import DataError
from adapterhub.rows.arrow_files import opened_table
from adapterhub.rows.delimited import csv_rows, tsv_rows
from adapterhub.rows.formats import FileFormat, Format, open_reading, refuse_reading
from adapterhub.rows.source_row import Rows, line_problem, wide_encoding
from adapterhub.rows.source_row import SourceRow as SourceRow
from adapterhub.rows.source_row import encoding_problem as encoding_problem
from adapterhub.store.jsonsafe import read_json_object

TEXT_COLUMN = "text"
"""The column of rows that have only a text."""


def read_file(path: Path, form: FileFormat) -> Rows:
    """Returns the rows of a file; bad rows have a problem.

    Raises:
        DataError: The file cannot be read or is damaged, at once or where its rows are read.
    """
    with ExitStack() as stack:
        found = stack.enter_context(_opened(path, form))
        return Rows(found.columns, closing_rows(stack.pop_all(), found.rows), found.schema)


def read_header(path: Path, form: FileFormat) -> Rows:
    """Returns what a file declares of its rows, without them.

    Raises:
        DataError: The file cannot be read or is damaged.
    """
    with _opened(path, form) as found:
        return Rows(found.columns, iter(()), found.schema)


@contextmanager
def _opened(path: Path, form: FileFormat) -> Iterator[Rows]:
    if not path.exists():
        raise DataError(path, "there is no such file")
    with ExitStack() as stack:
        stack.enter_context(damage_named(path, form))
        if form.is_typed:
            yield stack.enter_context(opened_table(path, form.name))
        else:
            stream = stack.enter_context(open_reading(path, packed=form.packed))
            yield read_stream(stream, form.name, name=str(path))


def read_stream(stream: Iterable[str], form: Format, *, name: str) -> Rows:
    """Returns the rows of an open text stream.

    Args:
        stream: Opened as `formats.open_reading` does.
        form: Its format, neither Parquet nor Arrow.
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


@contextmanager
def damage_named(path: Path, form: FileFormat) -> Iterator[None]:
    """Raises our error for a file that cannot be read."""
    try:
        yield
    except (EOFError, zlib.error, BadGzipFile) as error:
        raise DataError(path, f"it is a damaged gzip file: {error}") from error
    except OSError as error:
        # The system numbers its errors; those of zstd and Arrow have no number.
        if error.errno is None and (form.packed == "zst" or form.is_typed):
            what = "zstd" if form.packed else form.name.capitalize()
            raise DataError(path, f"it is a damaged {what} file: {error}") from error
        refuse_reading(path, error)


def closing_rows(opened: ExitStack, rows: Iterator[SourceRow]) -> Iterator[SourceRow]:
    """Yields rows within what was opened for them, which ends with the last row."""
    with opened:
        yield from rows


def _narrow_lines(lines: Iterator[str], name: str) -> Iterator[str]:
    """Yields the lines of a stream.

    Raises:
        DataError: It is UTF-16 or UTF-32, whose characters would be read as texts with NULs.
    """
    for line in lines:
        encoding = wide_encoding(line)
        if encoding is not None:
            raise DataError(
                name,
                f"it is {encoding}, expected UTF-8; convert it, for instance: "
                f"iconv -f {encoding} -t UTF-8",
            )
        yield line
        break
    yield from lines


def _text_row(place: int, text: str) -> SourceRow:
    problem = line_problem(text)
    return SourceRow(place, {} if problem else {TEXT_COLUMN: text}, problem, text)


def _json_row(line: int, text: str) -> SourceRow:
    problem = line_problem(text)
    if problem is None:
        try:
            values = read_json_object(text)
        except json.JSONDecodeError as error:
            # Its own message counts lines within this one.
            problem = f"it is no JSON record: {error.msg} at character {error.pos + 1}"
            return SourceRow(line, {}, problem, text.strip())
        except ValueError as error:
            return SourceRow(line, {}, f"it is no JSON record: {error}", text.strip())
        if "\\ud" in text or "\\uD" in text:
            problem = encoding_problem(json.dumps(values, ensure_ascii=False))
        if problem is None:
            return SourceRow(line, values)
    return SourceRow(line, {}, problem, text.strip())
