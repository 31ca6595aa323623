"""The columns of a source and their types, before its first row is written."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from adapterhub.rows.source_row import SourceRow
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
    for rows in _lists(source.again(), _SCANNED_ROWS):
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
        before = schema

        def widened(count: int, name: str = name, before: pa.Schema = before) -> pa.Schema:
            values = [row.values.get(name) for row in rows[:count]]
            found = pa.schema([(name, pa.array(values).type)])
            return pa.unify_schemas([before, found], promote_options="permissive")

        try:
            schema = widened(len(rows))
        except _no_type() as error:
            row = rows[_first_misfit(widened, len(rows))]
            source.refuse(
                row.place,
                f"no one type of Parquet and Arrow holds its value of the column '{name}' and "
                f"those before: {error}. Write JSON Lines instead: .jsonl, or --part-format jsonl "
                f"(part_format) for a folder",
                row.file,
            )
    return schema


def _first_misfit(widened: Callable[[int], object], count: int) -> int:
    """Returns the place of the first row with which a column has no type any more."""

    def fails(first_rows: int) -> bool:
        try:
            widened(first_rows)
        except _no_type():
            return True
        return False

    return bisect_left(range(1, count), True, key=fails)


def _no_type() -> tuple[type[Exception], ...]:
    """Returns what pyarrow raises for values that no one type can hold."""
    import pyarrow as pa

    return pa.ArrowException, TypeError, OverflowError


def _lists(rows: Iterator[SourceRow], size: int) -> Iterator[list[SourceRow]]:
    while found := list(islice(rows, size)):
        yield found
