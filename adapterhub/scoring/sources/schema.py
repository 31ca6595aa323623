"""The columns of a source and their types, before its first row is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapterhub.rows.source_row import SourceRow
from adapterhub.scoring.pipeline.chunks import take_chunks
from adapterhub.scoring.sources.row_source import RowSource

if TYPE_CHECKING:
    import pyarrow as pa

_SCANNED_ROWS = 8_192


def source_columns(source: RowSource) -> tuple[str, ...]:
    """Returns all columns of a source, in order of first appearance."""
    if source.declared or source.again is None:
        return source.columns
    found = dict.fromkeys(source.columns)
    for row in source.again():
        found.update(dict.fromkeys(row.values))
    return tuple(found)


def source_schema(source: RowSource, *, texts: Sequence[str] = ()) -> pa.Schema:
    """Returns the Arrow schema of a source: its own, or what its values are.

    Args:
        source: The source.
        texts: The columns that tasks read. A row with anything else than a text there is a bad
            one, which is not written, so its values are left out.

    Raises:
        DataError: A column holds values that no one type of Arrow can hold.
    """
    import pyarrow as pa

    if source.schema is not None:
        return source.schema
    if source.form.name != "jsonl" or source.again is None:
        # Cells of CSV and TSV, and plain texts.
        return pa.schema([(column, pa.string()) for column in source.columns])
    schema = pa.schema([])
    for rows in take_chunks(source.again(), _SCANNED_ROWS):
        good = [row for row in rows if row.problem is None]
        kept = [row for row in good if all(isinstance(row.values.get(c), str) for c in texts)]
        schema = _widen(schema, kept, source)
    # Those of a table without rows.
    unseen = [(column, pa.null()) for column in source.columns if column not in schema.names]
    return pa.schema([*schema, *pa.schema(unseen)])


def _widen(schema: pa.Schema, rows: Sequence[SourceRow], source: RowSource) -> pa.Schema:
    import pyarrow as pa

    names = dict.fromkeys(name for row in rows for name in row.values)
    for name in names:
        values = [row.values.get(name) for row in rows]
        try:
            found = pa.schema([(name, pa.array(values).type)])
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
        except (pa.ArrowException, TypeError, OverflowError) as error:
            source.refuse(
                rows[0].place,
                f"the column '{name}' holds values that Parquet and Arrow cannot hold in one "
                f"column: {error}. Write .jsonl instead",
                rows[0].file,
            )
    return schema
