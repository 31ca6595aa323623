"""Where the texts of a run come from: arguments, a stream or a file, all as rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, NoReturn

from adapterhub.errors import DataError
from adapterhub.rows.formats import FileFormat, Format
from adapterhub.rows.reading import (
    TEXT_COLUMN,
    SourceRow,
    read_file,
    read_stream,
    text_rows,
)

ARGUMENTS = "arguments"
"""Name of a source that is the texts of a call."""

CHUNK_ROWS = 2_048
"""Rows that are read, scored and written at a time; bounds the memory of a run."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Rows to be scored, to be gone through once.

    Attributes:
        name: The file, `stdin` or `arguments`, for messages.
        form: How the rows are written; plain texts are `text`.
        path: The file, if it can be read again; None for a stream or a pipe.
        columns: The columns of the first rows, in order; of all rows, but for JSON Lines.
        common: Those that all of the first rows have.
        rows: All rows.
    """

    name: str
    form: FileFormat
    path: Path | None
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
            raise DataError(f"text {place}", problem)
        if self.form.name == "parquet":
            raise DataError(self.name, f"row {place}: {problem}")
        raise DataError(self.name, problem, place)


def file_source(path: Path, form: FileFormat) -> Source:
    """Returns the rows of a file.

    Raises:
        DataError: It cannot be read, or holds no row that can.
    """
    # A pipe (`<(zcat …)`) can be read, but only once.
    again = path if path.is_file() else None
    return _source(str(path), form, again, read_file(path, form))


def stream_source(stream: IO[str], form: Format, *, name: str = "stdin") -> Source:
    """Returns the rows of a stream that is opened as `formats.open_reading` does.

    Raises:
        DataError: It holds no row that can be read.
    """
    return _source(name, FileFormat(form), None, read_stream(stream, form, name=name))


def text_source(texts: Iterable[str]) -> Source:
    """Returns one row per text.

    Raises:
        DataError: There are none.
    """
    return _source(ARGUMENTS, FileFormat("text"), None, text_rows(texts))


def _source(name: str, form: FileFormat, path: Path | None, rows: Iterator[SourceRow]) -> Source:
    first = list(islice(rows, CHUNK_ROWS))
    if not first:
        raise DataError(name, "it holds no rows")
    good = [row.values for row in first if row.problem is None]
    columns = tuple(dict.fromkeys(column for values in good for column in values))
    if form.name == "text":
        columns = (TEXT_COLUMN,)
    common = frozenset(columns).intersection(*good)
    source = Source(name, form, path, columns, common, chain(first, rows))
    if not columns:
        bad = next((row for row in first if row.problem is not None), first[0])
        source.refuse(bad.place, bad.problem or "it has no columns")
    return source
