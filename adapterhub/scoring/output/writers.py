"""Rows to a file of one format, chunk by chunk."""

from __future__ import annotations

import base64
import contextlib
import csv
import datetime
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, Protocol
from uuid import UUID

from adapterhub.errors import DataError
from adapterhub.rows.arrow_types import without_dictionaries
from adapterhub.rows.delimited import tsv_cell
from adapterhub.rows.formats import FileFormat, Packing, open_writing
from adapterhub.rows.reading import encoding_problem
from adapterhub.store.atomic import reason

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, object]

_CRLF = "\r\n"
# Row groups of a few thousand rows make Parquet files that are big and slow to read.
_GROUP_ROWS = 65_536
# Of long texts fewer, which wait in memory.
_GROUP_BYTES = 2**26


class Writer(Protocol):
    """Takes rows and writes them to one place."""

    def write(self, rows: Sequence[Row]) -> None:
        """Writes rows after those before.

        Raises:
            DataError: The system cannot write them.
        """
        ...


def json_line(row: Row) -> str:
    """Returns a row as one line of JSON.

    NaN and infinity, which JSON lacks, become null. A lone surrogate, which UTF-8 lacks, is
    written as its escape.
    """
    try:
        text = _ENCODER.encode(row)
    except ValueError:
        text = _ENCODER.encode(_finite(row))
    if encoding_problem(text) is None:
        return text
    return json.dumps(_finite(row), allow_nan=False, default=plain_value)


class JsonLines:
    """Writes JSON Lines; rows may have any columns."""

    def __init__(self, path: Path, *, packed: Packing | None = None) -> None:
        self._path = path
        self._file: IO[str] = _open(path, packed)

    def write(self, rows: Sequence[Row]) -> None:
        """Writes rows; see `Writer`."""
        self.write_lines(map(json_line, rows))

    def write_lines(self, lines: Iterable[str]) -> None:
        """Writes rows that are lines already.

        Raises:
            DataError: The system cannot write them.
        """
        try:
            self._file.writelines(f"{line}\n" for line in lines)
        except OSError as error:
            refuse_writing(self._path, error)

    def close(self) -> None:
        """Closes the file.

        Raises:
            DataError: The system cannot write what is left.
        """
        _close(self._file, self._path)


class _LineFeeds:
    """Ends lines of a CSV writer with LF.

    The writer quotes a cell with a mark that ends lines only where its own lines end with that
    mark; a reader takes a bare CR for the end of a row.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, line: str) -> int:
        """Writes one row."""
        return self._file.write(line.removesuffix(_CRLF) + "\n")


class DelimitedText:
    """Writes CSV or TSV; lists and records become JSON in their cell, None an empty cell.

    Each row of TSV is one line, see `rows.delimited`.
    """

    def __init__(
        self, path: Path, form: FileFormat, columns: Sequence[str], *, header: bool = True
    ) -> None:
        self._path = path
        self._columns = tuple(columns)
        self._file: IO[str] = _open(path, form.packed)
        self._is_tsv = form.name == "tsv"
        self._writer = csv.writer(_LineFeeds(self._file), lineterminator=_CRLF)
        if header:
            self._put([self._columns])

    def write(self, rows: Sequence[Row]) -> None:
        """Writes rows; see `Writer`."""
        self._put([[_cell(row.get(column)) for column in self._columns] for row in rows])

    def close(self) -> None:
        """Closes the file.

        Raises:
            DataError: The system cannot write what is left.
        """
        _close(self._file, self._path)

    def _put(self, cells: Sequence[Sequence[str]]) -> None:
        alone = len(self._columns) == 1
        try:
            if self._is_tsv:
                for row in cells:
                    line = "\t".join(tsv_cell(cell, alone=alone) for cell in row)
                    self._file.write(f"{line}\n")
            else:
                self._writer.writerows(cells)
        except OSError as error:
            refuse_writing(self._path, error)


class TypedTable:
    """Writes Parquet or Arrow IPC in the types of a schema, whose metadata it keeps."""

    def __init__(self, path: Path, form: FileFormat, schema: pa.Schema) -> None:
        """Opens the file.

        Args:
            path: The file.
            form: Parquet or Arrow.
            schema: All columns; in Arrow, which has one dictionary per file, without dictionaries.

        Raises:
            DataError: It cannot be written, or the format lacks a type of the schema.
        """
        import pyarrow as pa

        self._path = path
        self._is_arrow = form.name == "arrow"
        self._schema = without_dictionaries(schema) if self._is_arrow else schema
        self._waiting: list[pa.Table] = []
        self._is_closed = False
        try:
            # Opened here, so that an error of the system is said in its own words.
            self._target = path.open("wb")
            self._file = self._open()
        except OSError as error:
            refuse_writing(path, error)
        except pa.ArrowException as error:
            self._target.close()
            name = form.name.capitalize()
            raise DataError(
                path, f"{name} cannot hold these columns: {error}. Write .jsonl instead"
            ) from error

    def write(self, rows: Sequence[Row]) -> None:
        """Writes rows; see `Writer`."""
        import pyarrow as pa

        try:
            table = pa.Table.from_pylist(list(rows), schema=self._schema)
        except (pa.ArrowException, TypeError, OverflowError) as error:
            raise DataError(
                self._path, f"a row does not fit the types of the rows before: {error}"
            ) from error
        self.write_table(table)

    def write_table(self, table: pa.Table) -> None:
        """Writes rows that are a table of the schema.

        Raises:
            DataError: The system cannot write them.
        """
        if not table.num_rows:
            # The datasets library cannot read a group of no rows.
            return
        self._waiting.append(table)
        rows = sum(table.num_rows for table in self._waiting)
        if rows >= _GROUP_ROWS or sum(table.nbytes for table in self._waiting) >= _GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Writes what is left and closes the file.

        Raises:
            DataError: The system cannot write it.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._flush()
            self._file.close()
            self._target.close()
        except OSError as error:
            refuse_writing(self._path, error)
        finally:
            # What it could not write the first time it cannot write now.
            with contextlib.suppress(OSError):
                self._target.close()

    def _open(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._is_arrow:
            return pq.ParquetWriter(self._target, self._schema)
        # As Feather files are written; every reader of Arrow since 2020 knows lz4.
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        return pa.ipc.new_file(self._target, self._schema, options=options)

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        self._waiting = []
        try:
            if self._is_arrow:
                self._file.write_table(table.combine_chunks())
            else:
                self._file.write_table(table, row_group_size=max(table.num_rows, 1))
        except OSError as error:
            refuse_writing(self._path, error)


def refuse_writing(path: Path, error: OSError) -> NoReturn:
    """Raises our error for a file that cannot be written."""
    raise DataError(path, f"it cannot be written: {reason(error)}") from error


def _open(path: Path, packed: Packing | None) -> IO[str]:
    try:
        return open_writing(path, packed=packed)
    except OSError as error:
        refuse_writing(path, error)


def _close(file: IO[str], path: Path) -> None:
    try:
        file.close()
    except OSError as error:
        refuse_writing(path, error)


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    value = _finite(value)
    if value is None:
        return ""
    text = _ENCODER.encode(value)
    # A date is a text in JSON, and needs no quotes in a cell of its own.
    return str(json.loads(text)) if text.startswith('"') else text


def plain_value(value: Any) -> object:
    """Returns what stands in JSON for a value of Parquet or NumPy that JSON has no form for.

    Raises:
        TypeError: Nothing does.
    """
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Decimal | datetime.timedelta | UUID):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a value of type {type(value).__name__} has no form in JSON")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


# Made once: json.dumps would make one for every row and cell.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=plain_value)
