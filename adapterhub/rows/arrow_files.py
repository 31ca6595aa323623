"""Parquet and Arrow IPC files and streams to rows, in batches of constant size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from adapterhub.errors import DataError
from adapterhub.rows.arrow_types import plain_schema
from adapterhub.rows.class_names import features_of, named_rows
from adapterhub.rows.formats import Format
from adapterhub.rows.source_row import Rows, refuse_duplicates

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 2_048
"""Rows of a table that are Python objects at a time."""

_MAGIC = b"ARROW1"
_OLD_FEATHER = b"FEA1"
_NAMES = {"parquet": "Parquet", "arrow": "Arrow"}


@contextmanager
def opened_table(path: Path, form: Format) -> Iterator[Rows]:
    """Yields the rows of a Parquet or Arrow file, which is closed at the end of the block.

    Raises:
        DataError: It is damaged, at once or where its rows are read.
    """
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        stack.enter_context(values_named(path, form))
        if form == "parquet":
            file = stack.enter_context(pq.ParquetFile(path))
            schema, batches = file.schema_arrow, file.iter_batches(batch_size=BATCH_ROWS)
        else:
            schema, batches = _arrow_batches(stack.enter_context(path.open("rb")), path)
        yield batch_rows(schema, batches, path)


def arrow_stream(stream: IO[bytes], name: str) -> Rows:
    """Returns the rows of an open stream in Arrow's stream format, as its batches arrive.

    Raises:
        DataError: It is not in this format, or damaged where its rows are read.
    """
    import pyarrow as pa

    with values_named(name, "arrow"):
        reader = pa.ipc.open_stream(stream)
        rows = batch_rows(reader.schema, reader, name)

    def read() -> Iterator[Any]:
        with values_named(name, "arrow"):
            yield from rows.rows

    return Rows(rows.columns, read(), rows.schema)


def batch_rows(schema: pa.Schema, batches: Iterable[Any], name: str | Path) -> Rows:
    """Returns the rows of record batches or tables.

    Args:
        schema: That of all batches.
        batches: Of any size.
        name: Their source, for messages.

    Raises:
        DataError: Two columns have one name.
    """
    refuse_duplicates(schema.names, name)
    values = (
        row
        for batch in batches
        for start in range(0, batch.num_rows, BATCH_ROWS)
        for row in batch.slice(start, BATCH_ROWS).to_pylist()
    )
    rows = named_rows(values, features_of(schema))
    return Rows(tuple(schema.names), rows, plain_schema(schema))


def table_row_count(path: Path, form: Format) -> int:
    """Returns the number of rows of a Parquet or Arrow file.

    Raises:
        DataError: It is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with values_named(path, form):
        if form == "parquet":
            return int(pq.read_metadata(path).num_rows)
        # Memory-mapped, so that values are not read for their number.
        with pa.memory_map(str(path)) as file:
            return sum(batch.num_rows for batch in _arrow_batches(file, path)[1])


@contextmanager
def values_named(name: str | Path, form: Format | None = None) -> Iterator[None]:
    """Raises our error for a table, or a value of it, that cannot be read.

    Args:
        name: The file, stream or table.
        form: Its format; None for a table in memory.
    """
    import pyarrow as pa

    what = "table" if form is None else f"{_NAMES[form]} file"
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(name, f"it is not a readable {what}: {error}") from error
    except (OverflowError, ValueError) as error:
        # A date after the year 9999, for instance, as databases write for "never".
        raise DataError(name, f"it holds a value that Python has no form for: {error}") from error


def _arrow_batches(file: Any, path: Path) -> tuple[pa.Schema, Iterable[pa.RecordBatch]]:
    """Returns schema and batches of a file in Arrow's file format, or in its stream format."""
    import pyarrow as pa

    begin = file.read(len(_MAGIC))
    file.seek(0)
    if begin.startswith(_OLD_FEATHER):
        raise DataError(
            path,
            "it is in the first Feather format, expected the second (Arrow IPC); convert it, for "
            "instance with pandas: pd.read_feather(path).to_feather(path)",
        )
    if begin != _MAGIC:
        reader = pa.ipc.open_stream(file)
        return reader.schema, reader
    whole = pa.ipc.open_file(file)
    return whole.schema, map(whole.get_batch, range(whole.num_record_batches))
