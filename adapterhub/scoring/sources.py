"""What is scored: a file, a stream, or texts and records of a call, all as rows."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NoReturn

from adapterhub.errors import DataError, InputError, UsageError
from adapterhub.inputs import Record
from adapterhub.rows.formats import PACKED, FileFormat, Format, find_format
from adapterhub.rows.reading import (
    TEXT_COLUMN,
    SourceRow,
    encoding_problem,
    read_file,
    read_stream,
)
from adapterhub.scoring.writers import plain_value
from adapterhub.store.atomic import reason

ARGUMENTS = "arguments"
"""Name of a source that is the texts or records of a call."""

CHUNK_ROWS = 2_048
"""Rows that are read, scored and written at a time; bounds the memory of a run."""

_SHOWN = 200


@dataclass(frozen=True, slots=True, eq=False)
class RowSource:
    """Rows to be scored, to be gone through once.

    Attributes:
        name: The file, `stdin` or `arguments`, for messages.
        form: How the rows are written; plain texts are `text`, records of a call `jsonl`.
        path: The file, if it is a regular one.
        identity: Device and inode of what is read, so that it is not overwritten; None for rows.
        again: Reads all rows once more; None for a stream, a pipe or a generator.
        columns: The columns of the first rows, in order; of all rows, but for JSON Lines.
        common: Those that all of the first rows have.
        rows: All rows.
    """

    name: str
    form: FileFormat
    path: Path | None
    identity: tuple[int, int] | None
    again: Callable[[], Iterator[SourceRow]] | None
    columns: tuple[str, ...]
    common: frozenset[str]
    rows: Iterator[SourceRow]

    @property
    def is_plain(self) -> bool:
        """Returns whether the rows are nothing but texts."""
        return self.form.name == "text"

    def refuse(self, place: int, problem: str) -> NoReturn:
        """Raises the error that names this source and the place of a row.

        Raises:
            DataError: Always.
        """
        if self.name == ARGUMENTS:
            raise DataError(f"{'text' if self.is_plain else 'record'} {place}", problem)
        if self.form.name == "parquet":
            raise DataError(self.name, f"row {place}: {problem}")
        raise DataError(self.name, problem, place)


def open_source(source: object, form: Format | None = None) -> RowSource:
    """Returns the rows of a file, a stream, or an iterable of texts or records.

    Args:
        source: A path; an open stream, best in binary mode; or an iterable.
        form: Format of a file or stream; None goes by the name of a file, also of an open one,
            and takes any other stream for one text per line.

    Raises:
        DataError: It cannot be read, or holds no row that can.
        UsageError: The name of a file does not say its format.
        InputError: It is none of these.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(os.path.expanduser(source))
        packed = path.suffix.lower() == PACKED
        return file_source(path, FileFormat(form, packed) if form else find_format(path))
    if hasattr(source, "read"):
        name = str(getattr(source, "name", "stream"))
        return stream_source(source, form or _format_of(name), name=name)
    # Iterating over bytes gives numbers, over a data frame the names of its columns.
    is_other = isinstance(source, bytes | bytearray | Mapping) or hasattr(source, "columns")
    if is_other or not isinstance(source, Iterable):
        raise InputError(
            f"What is to be scored is of type {type(source).__name__}; expected a path, a stream, "
            f"or an iterable of strings or records."
        )
    return row_source(source)


def file_source(path: Path, form: FileFormat) -> RowSource:
    """Returns the rows of a file.

    Raises:
        DataError: It cannot be read, or holds no row that can.
    """
    if not path.is_file():
        # A pipe (`<(zcat …)`) can be read, but only once.
        return _source(str(path), form, read_file(path, form))
    again = partial(read_file, path.absolute(), form)
    found = path.stat()
    identity = (found.st_dev, found.st_ino)
    return _source(str(path), form, again(), path=path, identity=identity, again=again)


def stream_source(stream: Any, form: Format, *, name: str) -> RowSource:
    """Returns the rows of an open stream, which is read to its end and not closed.

    In binary mode, bytes that are not UTF-8 cost their row only.

    Raises:
        DataError: It holds no row that can be read.
        UsageError: Its format is Parquet.
    """
    if form == "parquet":
        raise UsageError(f"Parquet cannot be read from {name}; use --file (in Python, its path).")
    identity = None
    # A stream in memory has no file behind it.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        found = os.fstat(stream.fileno())
        identity = (found.st_dev, found.st_ino)
    return _source(name, FileFormat(form), _stream_rows(stream, form, name), identity=identity)


def _format_of(name: str) -> Format:
    """Returns the format that the name of an open file says; `text` for any other stream."""
    try:
        return find_format(Path(name)).name
    except UsageError:
        return "text"


def row_source(rows: Iterable[Record]) -> RowSource:
    """Returns one row per text, or per record; the first says which of both.

    Raises:
        DataError: There are none.
    """
    given = iter(rows)
    first = list(islice(given, 1))
    is_plain = bool(first) and isinstance(first[0], str)
    read = _text_rows if is_plain else _record_rows
    form = FileFormat("text" if is_plain else "jsonl")
    again = None if given is rows else partial(read, rows)
    return _source(ARGUMENTS, form, read(chain(first, given)), again=again)


def _source(
    name: str,
    form: FileFormat,
    rows: Iterator[SourceRow],
    *,
    path: Path | None = None,
    identity: tuple[int, int] | None = None,
    again: Callable[[], Iterator[SourceRow]] | None = None,
) -> RowSource:
    first = list(islice(rows, CHUNK_ROWS))
    if not first:
        raise DataError(name, "it holds no rows")
    good = [row.values for row in first if row.problem is None]
    columns = tuple(dict.fromkeys(column for values in good for column in values))
    if form.name == "text":
        columns = (TEXT_COLUMN,)
    common = frozenset(columns).intersection(*good)
    source = RowSource(name, form, path, identity, again, columns, common, chain(first, rows))
    if not columns:
        bad = next((row for row in first if row.problem is not None), first[0])
        source.refuse(bad.place, bad.problem or "it has no columns")
    return source


def _stream_rows(stream: Any, form: Format, name: str) -> Iterator[SourceRow]:
    try:
        with _decoded(stream) as text:
            yield from read_stream(text, form, name=name)
    except UnicodeDecodeError as error:
        raise DataError(name, f"it is not UTF-8: {error}; open it in binary mode") from error
    except (OSError, EOFError, zlib.error) as error:
        problem = reason(error) if isinstance(error, OSError) else str(error)
        raise DataError(name, f"it cannot be read: {problem}") from error


@contextlib.contextmanager
def _decoded(stream: Any) -> Iterator[IO[str]]:
    """Yields a stream of text as it is, and one of bytes as `formats.open_reading` decodes it."""
    if hasattr(stream, "encoding"):
        yield stream
        return
    text = TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="\n")
    try:
        yield text
    finally:
        # Otherwise it closes the stream of the caller, who may have done that already.
        with contextlib.suppress(ValueError):
            text.detach()


def _text_rows(texts: Iterable[object]) -> Iterator[SourceRow]:
    for place, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            problem: str | None = f"it is of type {type(text).__name__}; expected a string"
        else:
            problem = encoding_problem(text)
        values = {} if problem else {TEXT_COLUMN: text}
        yield SourceRow(place, values, problem, str(text))


def _record_rows(records: Iterable[object]) -> Iterator[SourceRow]:
    for place, record in enumerate(records, start=1):
        problem = _record_problem(record)
        if problem is None and isinstance(record, Mapping):
            yield SourceRow(place, record)
        else:
            yield SourceRow(place, {}, problem, repr(record)[:_SHOWN])


def _record_problem(record: object) -> str | None:
    """Returns why a record could not be written again, or None where it can."""
    if not isinstance(record, Mapping) or not all(isinstance(name, str) for name in record):
        return f"it is of type {type(record).__name__}; expected a record with names of columns"
    try:
        return encoding_problem(json.dumps(dict(record), ensure_ascii=False, default=plain_value))
    except (TypeError, ValueError) as error:
        return f"it holds a value that cannot be written: {error}"
