"""Tables in memory -> rows: of pandas, Arrow, polars and datasets, and mappings of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapterhub.errors import DataError
from adapterhub.rows.arrow_files import BATCH_ROWS, batch_rows, values_named
from adapterhub.rows.arrow_types import plain_schema
from adapterhub.rows.class_names import named_rows
from adapterhub.rows.source_row import Rows, SourceRow, refuse_duplicates

if TYPE_CHECKING:
    pass

Batches = Iterable[Mapping[str, Sequence[object]]]


def is_table(data: object) -> bool:
    """Returns whether `data` is a table, or several of them by the name of a part."""
    return isinstance(data, Mapping) or _reader_of(data) is not None


def parts_of_table(data: object) -> dict[str, object] | None:
    """Returns the tables of a data set by the name of their part, or None for one table.

    Those are a `DatasetDict`, or any mapping of names to tables or to lists of records.
    """
    if not isinstance(data, Mapping) or not data:
        return None
    return dict(data) if all(map(_is_part, data.values())) else None


def table_rows(data: object, name: str) -> Rows:
    """Returns the rows of a table for which `is_table` is true, in batches of constant size.

    Missing values of pandas are None; class numbers of the datasets library become their names.

    Args:
        data: A data frame, a table, or a mapping of columns.
        name: Its name in messages.

    Raises:
        DataError: It has parts, two columns of one name, columns without a name, or columns of
            different lengths.
    """
    parts = parts_of_table(data)
    if parts is not None:
        raise DataError(
            name, f"it has the parts {', '.join(map(str, parts))}; give one, such as data['train']"
        )
    reader = _reader_of(data)
    if reader is not None:
        return reader(data, name)
    if not isinstance(data, Mapping):
        raise DataError(name, f"it is a {type(data).__name__}, no table")
    return _mapping_rows(data, name)


def is_read_once(table: object) -> bool:
    """Returns whether a table gives its rows once, or reads them from afar each time.

    Those are readers of record batches, and streamed data sets of the datasets library.
    """
    is_streamed = _reader_of(table) is _dataset_rows and not hasattr(table, "__len__")
    is_reader = hasattr(table, "read_next_batch") or hasattr(table, "projected_schema")
    return is_streamed or is_reader or isinstance(table, Iterator)


def table_size(table: Any) -> int | None:
    """Returns the number of rows of a table, or None where it is not known without reading it."""
    if isinstance(table, Mapping):
        return next((len(values) for values in table.values()), 0)
    if hasattr(table, "__len__"):
        return len(table)
    if hasattr(table, "num_rows"):
        return int(table.num_rows)
    return int(table.count_rows()) if hasattr(table, "count_rows") else None


def _reader_of(data: object) -> Callable[[Any, str], Rows] | None:
    """Returns what reads a table, by what it can do: none of these libraries is imported."""
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return _pandas_rows
    if hasattr(data, "with_format") and hasattr(data, "features") and isinstance(data, Iterable):
        return _dataset_rows
    if hasattr(data, "collect_schema") and not hasattr(data, "__arrow_c_stream__"):
        return _lazy_rows
    if hasattr(data, "projected_schema") or (hasattr(data, "scanner") and hasattr(data, "schema")):
        return _scanned_rows
    is_arrow = hasattr(data, "schema") or hasattr(data, "columns")
    return _arrow_rows if is_arrow and hasattr(data, "__arrow_c_stream__") else None


def _pandas_rows(frame: Any, name: str) -> Rows:
    columns = _checked(list(frame.columns), name)
    batches = (frame.iloc[start : start + BATCH_ROWS] for start in range(0, len(frame), BATCH_ROWS))
    values = ({one: column_values(batch[one]) for one in columns} for batch in batches)
    return Rows(columns, named_rows(_rows_of(values), {}))


def _dataset_rows(dataset: Any, name: str) -> Rows:
    if dataset.features is None:  # of a stream after its `map`, for instance
        return Rows((), named_rows(dataset.with_format(None), {}))
    features = dataset.features.to_dict()
    columns = _checked(list(features), name)
    schema = plain_schema(dataset.features.arrow_schema)
    if not hasattr(dataset, "__len__"):
        # Row by row, as they arrive; in the format of torch they would be tensors.
        return Rows(columns, named_rows(dataset.with_format(None), features), schema)
    # Without decoding images and sounds.
    tables = dataset.with_format("arrow").iter(batch_size=BATCH_ROWS)
    values = (row for table in tables for row in table.to_pylist())
    return Rows(columns, named_rows(values, features), schema)


def _lazy_rows(frame: Any, name: str) -> Rows:
    if not hasattr(frame, "collect_batches"):
        raise DataError(
            name,
            "it is a lazy frame, which this version of its library cannot give in parts; "
            "give frame.collect()",
        )
    import pyarrow as pa

    empty = pa.RecordBatchReader.from_stream(frame.collect_schema().to_frame())
    columns = _checked(empty.schema.names, name)
    parts = frame.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)
    tables = (pa.table(part) for part in parts)
    return Rows(
        columns,
        _named_values(batch_rows(empty.schema, tables, name), name),
        plain_schema(empty.schema),
    )


def _scanned_rows(data: Any, name: str) -> Rows:
    """Returns the rows of a data set of pyarrow, or of a scanner of one."""
    if hasattr(data, "scanner"):
        # With its usual sizes it would hold millions of rows at a time.
        data = data.scanner(batch_size=BATCH_ROWS, batch_readahead=4, fragment_readahead=1)
    return _arrow_rows(data.to_reader(), name)


def _arrow_rows(table: Any, name: str) -> Rows:
    import pyarrow as pa

    reader = pa.RecordBatchReader.from_stream(table)
    found = batch_rows(reader.schema, reader, name)
    return Rows(_checked(found.columns, name), _named_values(found, name), found.schema)


def _named_values(rows: Rows, name: str) -> Iterator[SourceRow]:
    """Yields rows; an error of a value names the source."""
    with values_named(name):
        yield from rows.rows


def _mapping_rows(table: Mapping[object, Any], name: str) -> Rows:
    columns = _checked(list(table), name)
    for column, values in zip(columns, table.values(), strict=True):
        if not _is_column(values):
            raise DataError(
                name,
                f"it is a mapping whose '{column}' is a {type(values).__name__}; expected columns, "
                f"such as {{'text': […], 'label': […]}}",
            )
    found = {
        column: column_values(values)
        for column, values in zip(columns, table.values(), strict=True)
    }
    sizes = {column: len(values) for column, values in found.items()}
    if len(set(sizes.values())) > 1:
        counts = ", ".join(f"'{column}' has {size}" for column, size in sizes.items())
        raise DataError(name, f"its columns differ in length: {counts}")
    return Rows(columns, named_rows(_rows_of([found]), {}))


def _rows_of(batches: Batches) -> Iterator[dict[str, object]]:
    for batch in batches:
        for values in zip(*batch.values(), strict=True):
            yield dict(zip(batch, values, strict=True))


def _checked(columns: Sequence[Any], name: str) -> tuple[str, ...]:
    refuse_duplicates(columns, name)
    odd = next((column for column in columns if not isinstance(column, str)), None)
    if odd is not None:
        raise DataError(name, f"the name of column {odd!r} is no text; rename it")
    return tuple(columns)


def column_values(column: Any) -> Sequence[object]:
    """Returns the values of a column as Python objects; missing ones of pandas are None."""
    if hasattr(column, "to_pylist"):
        return list(column.to_pylist())
    if hasattr(column, "isna"):
        missing = column.isna()
        return [None if gone else one for one, gone in zip(column.tolist(), missing, strict=True)]
    for convert in ("tolist", "to_list"):
        if hasattr(column, convert):
            return list(getattr(column, convert)())
    return list(column)


def _is_column(values: object) -> bool:
    is_other = isinstance(values, Mapping | str | bytes | bytearray) or is_table(values)
    return not is_other and hasattr(values, "__len__") and isinstance(values, Iterable)


def _is_part(values: object) -> bool:
    """Returns whether a value of a mapping is a table of its own."""
    if isinstance(values, list | tuple):
        return bool(values) and isinstance(values[0], Mapping)
    return is_table(values)
