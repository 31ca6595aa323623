"""Rows in windows of bounded size, which never cross the border of a part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adapterhub.rows.source_row import SourceRow

WINDOW_ROWS = 4_096
"""Rows that are read, scored and written at a time; their lengths are sorted for the encoder."""
WINDOW_CHARACTERS = 2_000_000
"""Characters of a window's rows after which it ends."""


@dataclass(frozen=True, slots=True)
class Window:
    """Rows that are scored together.

    Attributes:
        part: Number of their part.
        start: Place of the first row within the part.
        rows: The rows.
        ends_part: Whether they are the last of their part.
        ends_input: Whether they are the last of all.
    """

    part: int
    start: int
    rows: tuple[SourceRow, ...]
    ends_part: bool
    ends_input: bool


def take_windows(
    rows: Iterator[SourceRow], part_rows: int, *, first_part: int = 0
) -> Iterator[Window]:
    """Yields rows in windows; at least one, which is empty if there are no rows.

    Where a window ends depends on nothing but the rows of its part.

    Args:
        rows: The rows, which are read one ahead.
        part_rows: Rows per part.
        first_part: Number of the part that the first row belongs to.
    """
    part, start, size = first_part, 0, 0
    waiting: list[SourceRow] = []
    following = next(rows, None)
    while following is not None:
        waiting.append(following)
        size += characters(following)
        following = next(rows, None)
        read = start + len(waiting)
        ends_part = read == part_rows or following is None
        full = size >= WINDOW_CHARACTERS
        if ends_part or len(waiting) >= WINDOW_ROWS or full:
            yield Window(part, start, tuple(waiting), ends_part, following is None)
            part, start = (part + 1, 0) if ends_part else (part, read)
            waiting, size = [], 0
    if (part, start) == (first_part, 0):
        yield Window(part, 0, (), ends_part=True, ends_input=True)


def characters(row: SourceRow) -> int:
    """Returns the characters of the texts of a row."""
    return len(row.raw) + sum(len(one) for one in row.values.values() if isinstance(one, str))
