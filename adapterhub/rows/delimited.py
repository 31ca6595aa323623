r"""CSV and TSV: cells stay strings, without conversion (`NA`, `null`, `012`).

A cell of CSV may be in quotes and then go on over several lines. A line of TSV is a row. A quote
in a TSV file is an ordinary character, except in three cases that no plain text makes: a cell in
quotes that doubles every quote within (`"a ""b"" c"`, as spreadsheets and pandas write it), a
line that has the right number of cells only if a quoted cell may hold a tab, and a file whose
first line has all its cells in quotes, which therefore quotes its texts. In a cell in quotes,
`\u0009`, `\u000a`, `\u000d` and `\u005c` are a tab, a line feed, a carriage return and a
backslash; `tsv_cell` writes texts with line breaks so.

CSV is read by Python's own reader, because pyarrow's does not return the line of a row.
"""

from __future__ import annotations

import csv
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from adapterhub.errors import DataError
from adapterhub.rows.source_row import Rows, SourceRow, line_problem

# Texts can be longer than the csv module's default limit of 131,072 characters.
_LONGEST_CELL = 2**31 - 1
_ESCAPE = re.compile(r"\\u(0009|000a|000d|005c)")
_TAB = "\t"

_log = logging.getLogger("adapterhub")


def csv_rows(lines: Iterable[str], name: str) -> Rows:
    """Returns the rows of a CSV file.

    Raises:
        DataError: Its first line is not valid.
    """
    csv.field_size_limit(min(_LONGEST_CELL, sys.maxsize))
    taken = _Lines(iter(lines))
    reader = csv.reader(taken, strict=True)
    try:
        header = next(reader, None) or []
    except csv.Error as error:
        _refuse_bare_returns("".join(taken.taken), name)
        raise DataError(name, f"it cannot be read as CSV: {error}", 1) from error
    columns = _checked_header(header, name)
    return Rows(columns, _csv_body(reader, taken, columns, name))


def tsv_rows(lines: Iterable[str], name: str) -> Rows:
    """Returns the rows of a TSV file.

    Raises:
        DataError: Its first line is not valid.
    """
    csv.field_size_limit(min(_LONGEST_CELL, sys.maxsize))
    body = iter(lines)
    header = _without_end(next(body, ""))
    _refuse_bare_returns(header, name)
    cells = header.split(_TAB) if header else []
    quoted = bool(cells) and all(len(cell) > 1 and _inner(cell) is not None for cell in cells)
    columns = _checked_header([_tsv_value(cell, quoted=quoted) for cell in cells], name)
    return Rows(columns, _tsv_body(body, columns, quoted=quoted))


def tsv_cell(text: str, *, alone: bool = False) -> str:
    """Returns a text as a cell of TSV, which `tsv_rows` reads back as the same text.

    Args:
        text: Any text.
        alone: Whether the file has one column, whose empty cells would be empty lines.
    """
    if not text:
        return '""' if alone else ""
    if not any(sign in text for sign in '"\t\n\r'):
        return text
    text = re.sub(r"\\(?=u(?:0009|000a|000d|005c))", r"\\u005c", text)
    for sign in _TAB, "\n", "\r":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return '"' + text.replace('"', '""') + '"'


@dataclass(slots=True)
class _Lines(Iterator[str]):
    """Lines on their way to the CSV reader, which does not say what it took for a row.

    Attributes:
        lines: All lines.
        taken: Those since it was last emptied.
    """

    lines: Iterator[str]
    taken: list[str] = field(default_factory=list)

    def __next__(self) -> str:
        self.taken.append(next(self.lines))
        return self.taken[-1]


def _csv_body(
    reader: Iterator[list[str]], taken: _Lines, columns: tuple[str, ...], name: str
) -> Iterator[SourceRow]:
    line, doubts = 1 + len(taken.taken), 0
    while True:
        taken.taken.clear()
        fault = None
        try:
            cells = next(reader, None)
        except csv.Error as error:
            cells, fault = [], f"it cannot be read as CSV: {error}"
        if cells is None:
            break
        last = line + len(taken.taken) - 1
        if cells and len(cells) != len(columns):
            fault = f"{_wrong_count(len(cells), len(columns))}; quote cells that hold a ','"
        if fault is not None:
            raw = "".join(taken.taken).rstrip("\r\n")
            yield SourceRow(line, {}, fault + _swallowed(line, last), raw)
        elif cells:
            if _may_be_rows(taken.taken, len(columns)):
                if doubts == 0:
                    _log.warning(_DOUBT, name, line, last, line)
                doubts += 1
            yield _row(line, columns, cells, ",".join(cells))
        line = last + 1
    if doubts > 1:
        _log.warning("%s: %d more rows go on over several lines in this way", name, doubts - 1)


_DOUBT = (
    "%s: lines %d to %d are one row, because a cell in quotes goes on over them, but each has as "
    "many cells as a row. If they are rows of their own, close the quote in line %d, or write "
    '"" for a quote that belongs to a text.'
)


def _may_be_rows(lines: Sequence[str], width: int) -> bool:
    """Returns whether the lines of a row may be rows of their own.

    A row whose quote is not closed takes whole rows, up to one that holds a quote.
    """
    return len(lines) > 1 and all(line.count(",") == width - 1 for line in lines[:-1])


def _tsv_body(
    lines: Iterator[str], columns: tuple[str, ...], *, quoted: bool
) -> Iterator[SourceRow]:
    for place, line in enumerate(lines, start=2):
        raw = _without_end(line)
        if not raw:
            continue
        written = raw.split(_TAB)
        cells = [_tsv_value(cell, quoted=quoted) for cell in written]
        if len(cells) > len(columns) and '"' in raw:
            cells = _with_tabs(raw, len(columns)) or cells
        if len(cells) == len(columns):
            yield _row(place, columns, cells, raw)
            continue
        problem = _wrong_count(len(cells), len(columns))
        if any(cell.startswith('"') and _inner(cell) is None for cell in written):
            problem += (
                r'; a line of a TSV file is a row, so a line break in a cell is written "…\u000a…"'
                " (CSV can hold it as it is)"
            )
        yield SourceRow(place, {}, problem, raw)


def _row(place: int, columns: tuple[str, ...], cells: list[str], raw: str) -> SourceRow:
    problem = line_problem(raw)
    if problem is not None:
        return SourceRow(place, {}, problem, raw)
    return SourceRow(place, dict(zip(columns, cells, strict=True)))


def _wrong_count(found: int, expected: int) -> str:
    return f"it has {found} cells, the first line has {expected}"


def _swallowed(first: int, last: int) -> str:
    """Returns which lines are lost with a row whose quote is not closed, or an empty string."""
    if last <= first:
        return ""
    return (
        f" (a cell in quotes goes on to line {last}, and those lines are lost with it; write "
        f'"" for a quote that belongs to a text)'
    )


def _checked_header(header: list[str], name: str) -> tuple[str, ...]:
    twice = next((column for column in header if header.count(column) > 1), None)
    if twice is not None:
        raise DataError(name, f"the column '{twice}' occurs twice", 1)
    problem = line_problem("".join(header))
    if problem is not None:
        raise DataError(name, f"the names of the columns: {problem}", 1)
    return tuple(header)


def _refuse_bare_returns(header: str, name: str) -> None:
    """Refuses a file of which all rows would be a part of the first line."""
    if "\r" in _without_end(header):
        problem = (
            "its lines end in carriage returns alone, expected line feeds; convert it, for "
            r"instance: tr '\r' '\n'"
        )
        raise DataError(name, problem, 1)


def _without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _inner(cell: str) -> str | None:
    """Returns the text between the quotes of a cell that is well formed, or None."""
    if len(cell) < 2 or cell[0] != '"' or cell[-1] != '"':
        return None
    inner = cell[1:-1]
    return None if '"' in inner.replace('""', "") else inner.replace('""', '"')


def _tsv_value(cell: str, *, quoted: bool) -> str:
    """Returns the text of a cell; `quoted` says that the file quotes its texts."""
    inner = _inner(cell)
    if inner is None or not (quoted or not inner or '"' in inner or _ESCAPE.search(inner)):
        return cell
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), inner)


def _with_tabs(line: str, width: int) -> list[str] | None:
    """Returns the cells of a line in which tabs stand within quotes, or None if none do."""
    try:
        cells = next(csv.reader([line], delimiter=_TAB, strict=True), [])
    except csv.Error:
        return None
    return cells if len(cells) == width else None
