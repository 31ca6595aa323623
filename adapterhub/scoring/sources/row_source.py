"""What is scored: files, a stream, a table, or texts and records of a call, all as rows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from adapterhub.errors import DataError
from adapterhub.rows.counting import count_rows, most_rows
from adapterhub.rows.formats import FileFormat
from adapterhub.rows.input_files import (
    InputFile,
    Place,
)
from adapterhub.rows.source_row import SourceRow
from adapterhub.scoring.output.writers import plain_value

if TYPE_CHECKING:
    import pyarrow as pa

ARGUMENTS = "arguments"
"""Name of a source that is the texts or records of a call."""

AHEAD_ROWS = 2_048
"""Rows that are read ahead at most, to know columns and faults before torch is imported."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RowSource:
    """Rows to be scored, to be gone through once.

    Attributes:
        name: The file, folder or pattern, `stdin` or `arguments`, for messages.
        form: How the rows are written; plain texts are `text`, records of a call `jsonl`.
        rows: All rows.
        columns: Those that a header or schema declares, else those of the first rows, in order.
        common: Those that all of the first rows have.
        declared: Whether the columns are known before the first row, so that no row has others.
        schema: The types of the columns, where the source declares them.
        again: Reads all rows once more; None for a stream, a pipe or a generator.
        is_stream: Whether rows arrive in their own time, as through a pipe.
        files: The files that are read, in order; none for a stream, a table or rows of a call.
        place: The folder or pattern of the files, if that was given.
        stream_identity: Device and inode of the file behind a stream.
        size: Returns the number of rows of a table, None where it is not known.
    """

    name: str
    form: FileFormat
    rows: Iterator[SourceRow]
    columns: tuple[str, ...]
    common: frozenset[str]
    declared: bool
    schema: pa.Schema | None = None
    again: Callable[[], Iterator[SourceRow]] | None = None
    is_stream: bool = False
    files: tuple[InputFile, ...] = ()
    place: Place | None = None
    stream_identity: tuple[int, int] | None = None
    size: Callable[[], int | None] | None = None

    @property
    def is_plain(self) -> bool:
        """Returns whether the rows are nothing but texts."""
        return self.form.name == "text"

    @property
    def is_blank(self) -> bool:
        """Returns whether there are neither rows nor columns, so that any task can read it."""
        return not self.columns

    def reads(self, path: Path) -> bool:
        """Returns whether a file is one of those that are read."""
        if not path.exists():
            return False
        found = path.stat()
        known = {self.stream_identity, *(file.identity for file in self.files)}
        return (found.st_dev, found.st_ino) in known

    def takes_in(self, path: Path) -> bool:
        """Returns whether a file or folder that is made at `path` would be read the next time."""
        return self.place is not None and self.place.takes_in(path)

    def digest(self) -> str | None:
        """Returns the sha256 of what is read, or None where that can be read only once.

        Of one file it is that of its bytes, of several that of a list of theirs in the form of
        `sha256sum`, with their names below the folder that they share. Tables and lists are read
        row by row for it.

        Raises:
            DataError: A file cannot be read.
        """
        if len(self.files) == 1:
            return self.files[0].sha256
        found = hashlib.sha256()
        if self.files:
            folder = os.path.commonpath([file.path.parent for file in self.files])
            for file in self.files:
                name = Path(os.path.relpath(file.path, folder)).as_posix()
                found.update(f"{file.sha256}  {name}\n".encode("utf-8", "surrogateescape"))
            return found.hexdigest()
        if self.again is None:
            return None
        for row in self.again():
            content = row.problem or row.values
            found.update(json.dumps(content, default=plain_value).encode() + b"\n")
        return found.hexdigest()

    def check_unchanged(self) -> None:
        """Checks that the files have the bytes that their digests were taken of.

        Raises:
            DataError: One has others.
        """
        for file in self.files:
            file.check_unchanged()

    def count(self) -> int | None:
        """Returns the approximate number of rows, for progress; None where it is not known."""
        if self.size is not None:
            return self.size()
        counts = [count_rows(file.path, file.form) for file in self.files]
        known = [count for count in counts if count is not None]
        return sum(known) if counts and len(known) == len(counts) else None

    def row_bound(self) -> int | None:
        """Returns a number that the rows, bad ones included, surely do not exceed; None if unknown.

        Text files are read as a whole for it.

        Raises:
            DataError: A file cannot be read, or is damaged.
        """
        if self.size is not None:
            return self.size()
        return sum(most_rows(one.path, one.form) for one in self.files) if self.files else None

    def refuse(self, place: int, problem: str, file: str = "") -> NoReturn:
        """Raises the error that names this source, the file where it has several, and a row.

        Raises:
            DataError: Always.
        """
        if self.name == ARGUMENTS:
            raise DataError(f"{'text' if self.is_plain else 'record'} {place}", problem)
        if self.form.is_typed:
            raise DataError(file or self.name, f"row {place}: {problem}")
        raise DataError(file or self.name, problem, place)
