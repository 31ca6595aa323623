"""Files and tables -> records: one mapping of column to value per row, and where it stands.

JSON Lines, CSV and TSV are read row by row, so that an error names its line, and nothing is
guessed: `NA`, `null` and `012` in a CSV file stay the texts they are.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn, cast

import pyarrow as pa
import pyarrow.parquet as pq

from adapterhub.errors import DataError, nearest
from adapterhub.store.jsonsafe import read_json_object

Values = Mapping[str, object]

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")
# What the formats' own readers raise for a damaged file.
_DAMAGED = (UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True, slots=True)
class Record:
    """One row as it was found.

    Attributes:
        place: Line in the file, or row of a table counted from 1.
        values: Value by column.
    """

    place: int
    values: Values


@dataclass(frozen=True, slots=True)
class Records:
    """All rows of one source.

    Attributes:
        source: File name, or `data` for rows from Python.
        name: Name of the data set where none is given: the file's name without endings.
        by_line: Whether `place` is a line of a file.
        rows: The rows in order.
    """

    source: str
    name: str
    by_line: bool
    rows: tuple[Record, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Returns the columns of the first row."""
        return tuple(self.rows[0].values)

    def refuse(self, problem: str, record: Record | None = None) -> NoReturn:
        """Raises the error that names this source and the place of `record`.

        Raises:
            DataError: Always.
        """
        if record is None or self.by_line:
            raise DataError(self.source, problem, None if record is None else record.place)
        raise DataError(self.source, f"row {record.place}: {problem}")

    def value(self, record: Record, column: str) -> object:
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
        data: A path that ends in .jsonl, .ndjson, .csv, .tsv (each also with .gz) or .parquet,
            or rows that are already in Python.

    Raises:
        DataError: It cannot be read, is damaged, or holds no rows.
    """
    if isinstance(data, str | Path):
        records = _read_file(Path(data).expanduser())
    else:
        rows = tuple(Record(index, row) for index, row in enumerate(_python_rows(data), start=1))
        records = Records("data", "data", False, rows)
    if not records.rows:
        raise DataError(records.source, "it holds no rows")
    return records


def _read_file(path: Path) -> Records:
    packed = path.suffix == ".gz"
    ending = Path(path.stem).suffix if packed else path.suffix
    name = Path(path.stem).stem if packed else path.stem
    try:
        if ending in _JSON_LINES:
            with _open_text(path, packed=packed) as file:
                return Records(str(path), name, True, tuple(_json_rows(file, path)))
        if ending in _DELIMITERS:
            with _open_text(path, packed=packed) as file:
                rows = tuple(_csv_rows(file, path, _DELIMITERS[ending]))
            return Records(str(path), name, True, rows)
        if ending in _PARQUET and not packed:
            return Records(str(path), name, False, tuple(_table_rows(pq.read_table(path))))
    except pa.ArrowException as error:
        raise DataError(path, f"it is not a readable Parquet file: {error}") from error
    except _DAMAGED as error:
        raise DataError(path, f"it is damaged or not UTF-8: {error}") from error
    except OSError as error:
        raise DataError(path, f"it cannot be read: {error.strerror or error}") from error
    raise DataError(
        path,
        f"its name ends in '{''.join(path.suffixes[-2:])}'; expected .jsonl, .csv or .tsv (each "
        f"also with .gz) or .parquet",
    )


def _open_text(path: Path, *, packed: bool) -> IO[str]:
    # utf-8-sig drops the mark that spreadsheets put at the start of a CSV file.
    if packed:
        return cast("IO[str]", gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return path.open(encoding="utf-8-sig", newline="")


def _json_rows(file: IO[str], path: Path) -> Iterator[Record]:
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        try:
            yield Record(line, read_json_object(text))
        except ValueError as error:
            raise DataError(path, f"it is no JSON record: {error}", line) from error


def _csv_rows(file: IO[str], path: Path, delimiter: str) -> Iterator[Record]:
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    line = 1
    try:
        header = next(reader, None)
        if header is None:
            return
        if len(set(header)) != len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise DataError(path, f"the column '{twice}' occurs twice", 1)
        while True:
            line = reader.line_num + 1
            cells = next(reader, None)
            if cells is None:
                return
            if not cells:
                continue
            if len(cells) != len(header):
                found = f"the row has {len(cells)} cells, the header has {len(header)}"
                raise DataError(path, f"{found}; quote cells that hold a '{delimiter}'", line)
            yield Record(line, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataError(path, f"it cannot be read as CSV: {error}", line) from error


def _table_rows(table: pa.Table) -> Iterator[Record]:
    place = 1
    for batch in table.to_batches():
        for row in batch.to_pylist():
            yield Record(place, row)
            place += 1


def _python_rows(data: object) -> Iterator[Values]:
    if isinstance(data, pa.Table):
        yield from (record.values for record in _table_rows(data))
        return
    to_dict = getattr(data, "to_dict", None)
    if hasattr(data, "dtypes") and to_dict is not None:
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
