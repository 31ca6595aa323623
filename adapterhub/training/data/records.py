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
import pyarrow as pa

from adapterhub.errors import DataError, nearest
from adapterhub.rows.formats import PACKED, find_format
from adapterhub.rows.reading import SourceRow, read_file, refuse_duplicates

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
        # A subclass of str, such as an Enum, may have another __str__.
        names: Iterable[object] = self.rows[0].values
        return tuple(str.__str__(n) if isinstance(n, str) else str(n) for n in names)

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
    """Returns the rows of a file, a pyarrow table, a pandas data frame, or mappings.

    Args:
        data: A path that ends in .jsonl, .csv, .tsv (each also with .gz) or .parquet, or rows.

    Raises:
        DataError: It cannot be read, is damaged, or holds no rows or a bad one; names the line.
        UsageError: The name of a file ends in none of these.
    """
    if isinstance(data, str | Path):
        records = _read_file(Path(os.path.expanduser(data)))
    else:
        rows = tuple(SourceRow(place, row) for place, row in enumerate(_python_rows(data), start=1))
        records = Records("data", "data", False, rows)
    if not records.rows:
        raise DataError(records.source, "it holds no rows")
    return records


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


def _python_rows(data: object) -> Iterator[Values]:
    if isinstance(data, pa.Table):
        refuse_duplicates(data.column_names, "data")
        for batch in data.to_batches():
            yield from batch.to_pylist()
        return
    to_dict = getattr(data, "to_dict", None)
    if hasattr(data, "dtypes") and to_dict is not None:
        refuse_duplicates(list(getattr(data, "columns", ())), "data")
        data = to_dict("records")
    if isinstance(data, Mapping) or not isinstance(data, Iterable):
        raise DataError(
            "data",
            f"it is a {type(data).__name__}; expected a path, a pyarrow table, a pandas data "
            f"frame, or a list of mappings",
        )
    for place, row in enumerate(data, start=1):
        if not isinstance(row, Mapping):
            raise DataError("data", f"row {place}: it is a {type(row).__name__}, not a mapping")
        yield row
