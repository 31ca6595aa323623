"""Files and tables -> records: one mapping of column to value per row, and its line.

Files are read as in scoring, but a bad row is an error: otherwise a task would be trained and
evaluated on other rows than intended.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn, TypeGuard

import numpy as np

from adapterhub.errors import DataError, nearest
from adapterhub.rows.formats import PACKED, find_format
from adapterhub.rows.reading import SourceRow, read_file
from adapterhub.rows.tables import is_table, parts_of_table, table_rows

Values = Mapping[str, object]

# Files of these names are splits of a data set, whose name is mostly that of the folder.
_NAMES_OF_PARTS = ("train", "training", "data")


@dataclass(frozen=True, slots=True)
class Records:
    """All rows of one source.

    Attributes:
        source: File name, or `data` for rows from Python.
        name: Default name of the data set: the file's name without endings, or its folder's if
            the file is called `train`, `training` or `data`.
        by_line: Whether `place` is a line of a file.
        rows: The rows in order.
    """

    source: str
    name: str
    by_line: bool
    rows: tuple[SourceRow, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Returns the columns of the first row."""
        return tuple(map(str, self.rows[0].values))

    def refuse(self, problem: str, record: SourceRow | None = None) -> NoReturn:
        """Raises an error with this source and the place of `record`.

        Raises:
            DataError: Always.
        """
        if record is None or self.by_line:
            raise DataError(self.source, problem, None if record is None else record.place)
        raise DataError(self.source, f"row {record.place}: {problem}")

    def value(self, record: SourceRow, column: str) -> object:
        """Returns one value of a row.

        Raises:
            DataError: The row has no such column.
        """
        if column not in record.values:
            known = [str(name) for name in record.values]
            hint = nearest(column, known)
            have = ", ".join(known[:8]) or "none"
            meant = f" Did you mean '{hint}'?" if hint else ""
            self.refuse(f"there is no column '{column}'; columns are {have}.{meant}", record)
        return record.values[column]


def read_records(data: object) -> Records:
    """Returns the rows of a file, a table, mappings, or tuples.

    Args:
        data: A path that ends in .jsonl, .csv, .tsv (each also with .gz) or .parquet; a data
            frame, an Arrow table, a `datasets.Dataset` or a mapping of columns; mappings of
            column to value; or tuples, see `_from_tuple`.

    Raises:
        DataError: It cannot be read, is damaged, or holds no rows or a bad one; names the line.
        UsageError: The name of a file ends in none of these.
    """
    if isinstance(data, str | Path):
        records = _read_file(Path(os.path.expanduser(data)))
    else:
        records = Records("data", "data", False, ())
        records = replace(records, rows=tuple(_good_rows(records, _python_rows(data))))
    if not records.rows:
        raise DataError(records.source, "it holds no rows")
    return records


def part_of(data: object, names: Sequence[str]) -> object:
    """Returns the table of a data set in parts that has one of `names`, or None without it."""
    parts = parts_of_table(data) or {}
    return next((part for name, part in parts.items() if str(name).lower() in names), None)


def _read_file(path: Path) -> Records:
    form = find_format(path, answers=True)
    records = Records(str(path), _set_name(path), form.name != "parquet", ())
    return replace(records, rows=tuple(_good_rows(records, read_file(path, form))))


def _good_rows(records: Records, rows: Iterable[SourceRow]) -> Iterator[SourceRow]:
    for row in rows:
        if row.problem is not None:
            records.refuse(row.problem, row)
        yield row


def _set_name(path: Path) -> str:
    name = Path(path.stem).stem if path.suffix.lower() == PACKED else path.stem
    return path.resolve().parent.name or name if name in _NAMES_OF_PARTS else name


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Returns whether a value of a row is a list."""
    return isinstance(value, list | tuple | np.ndarray)


def _python_rows(data: object) -> Iterator[SourceRow]:
    if is_table(data):
        yield from table_rows(data, "data")
        return
    if isinstance(data, bytes | bytearray) or not isinstance(data, Iterable):
        raise DataError(
            "data",
            f"it is a {type(data).__name__}; expected a path, a data frame, an Arrow table, a "
            f"dataset, a mapping of columns, or a list of mappings or tuples",
        )
    for place, row in enumerate(data, start=1):
        values = _from_tuple(row) if isinstance(row, tuple | list) else row
        if not isinstance(values, Mapping):
            size = f" of {len(row)}" if isinstance(row, tuple | list) else ""
            raise DataError(
                "data",
                f"row {place}: it is a {type(row).__name__}{size}, not a mapping, (text, label) or "
                f"(text, text_pair, label)",
            )
        yield SourceRow(place, values)


def _from_tuple(row: Sequence[object]) -> Values | None:
    """Returns the columns of (text, label), (text, text_pair, label) or (tokens, tags)."""
    names = getattr(row, "_fields", None)
    if names is None and len(row) in (2, 3):
        target = "labels" if is_list(row[-1]) else "label"
        names = ("text", target) if len(row) == 2 else ("text", "text_pair", target)
        names = ("tokens", "tags") if len(row) == 2 and is_list(row[0]) else names
    return None if names is None else dict(zip(names, row, strict=True))
