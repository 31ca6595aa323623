"""Tables in memory -> rows: of pandas, Arrow, polars and datasets, and mappings of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapterhub.errors import DataError
from adapterhub.rows.class_names import features_of, named_rows
from adapterhub.rows.reading import BATCH_ROWS, refuse_duplicates
from adapterhub.rows.source_row import Rows

if TYPE_CHECKING:
    import pyarrow as pa

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


def _reader_of(data: object) -> Callable[[Any, str], Rows] | None:
    """Returns what reads a table, by what it can do: none of these libraries is imported."""
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return _pandas_rows
    if hasattr(getattr(data, "features", None), "to_dict") and isinstance(data, Iterable):
        return _dataset_rows
    is_arrow = hasattr(data, "schema") or hasattr(data, "columns")
    return _arrow_rows if is_arrow and hasattr(data, "__arrow_c_stream__") else None


def _pandas_rows(frame: Any, name: str) -> Rows:
    columns = _checked(list(frame.columns), name)
    batches = (frame.iloc[start : start + BATCH_ROWS] for start in range(0, len(frame), BATCH_ROWS))
    values = ({one: column_values(batch[one]) for one in columns} for batch in batches)
    return Rows(columns, named_rows(_rows_of(values), {}))


def _dataset_rows(dataset: Any, name: str) -> Rows:
    features = dataset.features.to_dict()
    # Rows in the format of torch would be tensors.
    plain = dataset.with_format(None) if hasattr(dataset, "with_format") else dataset
    return Rows(_checked(list(features), name), named_rows(plain, features))


def _arrow_rows(table: Any, name: str) -> Rows:
    import pyarrow as pa

    reader = pa.RecordBatchReader.from_stream(table)
    columns = _checked(reader.schema.names, name)
    return Rows(columns, named_rows(_arrow_values(reader, name), features_of(reader.schema)))


def _arrow_values(reader: pa.RecordBatchReader, name: str) -> Iterator[dict[str, object]]:
    try:
        for batch in reader:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield from batch.slice(start, BATCH_ROWS).to_pylist()
    except (OverflowError, ValueError) as error:
        raise DataError(name, f"it holds a value that Python has no form for: {error}") from error


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


def _checked(columns: list[Any], name: str) -> tuple[str, ...]:
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
