"""Rows as they are read: with their place, their values, or the problem with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row of a file, stream or table.

    Attributes:
        place: Its first line, or in Parquet, Arrow and tables its row number, from 1.
        values: Value by column; empty if there is a problem.
        problem: Why it cannot be read, or None.
        raw: Its text, if there is a problem.
        file: The name of its file, where the source has several; else empty.
    """

    place: int
    values: Mapping[str, object] = field(default_factory=dict)
    problem: str | None = None
    raw: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Rows(Iterator[SourceRow]):
    """The rows of a source, to be gone through once, and its columns.

    Attributes:
        columns: The columns that a header or schema declares; empty where rows have their own.
        rows: The rows.
        schema: The types of the values, of the columns in order, where the source declares them.
    """

    columns: tuple[str, ...]
    rows: Iterator[SourceRow]
    schema: pa.Schema | None = None

    def __next__(self) -> SourceRow:
        """Returns the next row."""
        return next(self.rows)


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
            return (
                f"it is not UTF-8: byte 0x{code - 0xDC00:02X} at code point {error.start}; "
                f"convert the file, for instance: iconv -f LATIN1 (or GBK, …) -t UTF-8"
            )
        return f"it has a lone surrogate (U+{code:04X}) at code point {error.start}"
    return None


def line_problem(text: str) -> str | None:
    """Returns why a line of a file cannot be read as text, or None if it can."""
    if "\0" in text:
        return (
            f"it has a NUL byte at code point {text.index(chr(0))}, as UTF-16 and binary files "
            f"do; expected UTF-8"
        )
    return encoding_problem(text)


def wide_encoding(line: str) -> str | None:
    """Returns the encoding of two or four bytes per character that a file begins with, or None.

    Args:
        line: The first line of the file, decoded as UTF-8 with surrogateescape.
    """
    begin = line[:4].encode("utf-8", "surrogateescape")[:4]
    for mark, name in _MARKS.items():
        if begin.startswith(mark):
            return name
    nuls = line.count("\0")
    # Latin text of two bytes per character is half NULs, of four bytes three quarters.
    if 3 * nuls < len(line):
        return None
    return "UTF-32" if 3 * nuls > 2 * len(line) else "UTF-16"


# UTF-32LE first: its mark begins with that of UTF-16LE.
_MARKS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
