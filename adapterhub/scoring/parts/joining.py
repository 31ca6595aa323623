"""The parts of a job, one after another, as one file; without reading them as Python rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.errors import DataError
from adapterhub.scoring.output.writers import TypedTable, refuse_writing
from adapterhub.scoring.parts.layout import Layout
from adapterhub.store.atomic import reason

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 16_384


def join_parts(
    parts: Iterable[Path], target: Path, layout: Layout, metadata: Mapping[bytes, bytes]
) -> None:
    """Writes the rows of all parts to a file that exists and is empty.

    CSV has its header in the first part. Members of gzip and frames of zstd that stand one behind
    another are one file.

    Raises:
        DataError: A part cannot be read, or the system cannot write the file.
    """
    if layout.schema is None:
        for part in parts:
            append_file(part, target)
        return
    writer = TypedTable(target, layout.form, layout.with_metadata(metadata))
    try:
        for part in parts:
            for table in _tables(part, layout):
                writer.write_table(table.replace_schema_metadata(dict(metadata)))
    finally:
        writer.close()


def _tables(part: Path, layout: Layout) -> Iterator[pa.Table]:
    """Yields the rows of a part of Parquet or Arrow, a bounded number at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if layout.form.name == "arrow":
            with pa.memory_map(str(part)) as source, pa.ipc.open_file(source) as file:
                for number in range(file.num_record_batches):
                    yield pa.Table.from_batches([file.get_batch(number)])
        else:
            with pq.ParquetFile(part) as file:
                for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                    yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise DataError(part, f"it cannot be read: {error}") from error


def append_file(source: Path, target: Path) -> None:
    """Appends the bytes of a file to another.

    Raises:
        DataError: One cannot be read, or the other not written.
    """
    try:
        file = source.open("rb")
    except OSError as error:
        raise DataError(source, f"it cannot be read: {reason(error)}") from error
    with file:
        try:
            with target.open("ab") as output:
                shutil.copyfileobj(file, output, 2**20)
        except OSError as error:
            refuse_writing(target, error)
