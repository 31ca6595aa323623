"""Batches of other libraries: their columns as Python values, and the same with more columns.

A batch is a mapping of columns (lists or arrays, as Ray and datasets pass them), a data frame of
pandas or polars, or a table or record batch of Arrow. None of these libraries is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from adapterhub.errors import DataError, InputError
from adapterhub.rows.tables import column_values

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = "batch"
"""Name of a batch in messages."""


def batch_columns(batch: Any) -> list[Any]:
    """Returns the names of the columns of a batch.

    Raises:
        InputError: It is no batch.
    """
    if isinstance(batch, Mapping):
        return list(batch)
    if _is_pandas(batch) or _is_polars(batch):
        return list(batch.columns)
    return list(batch.schema.names) if _is_arrow(batch) else _refuse(batch)


def batch_rows(batch: Any) -> int:
    """Returns the number of rows of a batch, which `batch_columns` takes.

    Raises:
        InputError: It is one row.
        DataError: Its columns differ in length.
    """
    if not isinstance(batch, Mapping):
        return int(batch.num_rows) if _is_arrow(batch) else len(batch)
    sizes = {}
    for column, values in batch.items():
        if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__len__"):
            raise InputError(
                f"The batch has one {type(values).__name__} as its column '{column}'; expected a "
                f"column of values. Pass batches: map(…, batched=True), or map_batches."
            )
        sizes[column] = len(values)
    if len(set(sizes.values())) > 1:
        counts = ", ".join(f"'{column}' has {size}" for column, size in sizes.items())
        raise DataError(BATCH, f"its columns differ in length: {counts}")
    return next(iter(sizes.values()), 0)


def read_columns(batch: Any, columns: Iterable[str]) -> dict[str, Sequence[object]]:
    """Returns the values of some columns of a batch; missing ones of pandas are None.

    Raises:
        DataError: The batch has two columns of one of these names.
    """
    found = batch_columns(batch)
    for column in columns:
        if found.count(column) > 1:
            raise DataError(BATCH, f"it has two columns '{column}'; rename one")
    return {column: column_values(batch[column]) for column in columns}


def with_columns(
    batch: Any, columns: Mapping[str, list[Any]], types: Mapping[str, pa.DataType]
) -> Any:
    """Returns a batch of the same type with more columns; the given one stays as it is.

    Args:
        batch: The batch.
        columns: The new columns.
        types: Their types, by the same names.
    """
    if isinstance(batch, Mapping):
        given = [batch[name] for name in batch]
        if any(isinstance(values, np.ndarray) for values in given):
            added: dict[str, Any] = {
                name: _array(values, types[name]) for name, values in columns.items()
            }
        else:
            added = dict(columns)
        # Otherwise all columns of the datasets library would be decoded.
        joined: Any = batch | added if hasattr(batch, "__or__") else {**batch, **added}  # type: ignore[operator]
        return joined
    if _is_pandas(batch):
        return _with_pandas_columns(batch, columns, types)
    import pyarrow as pa

    arrays = {name: pa.array(values, types[name]) for name, values in columns.items()}
    if _is_polars(batch):
        return batch.hstack(type(batch)(pa.table(arrays)))
    for name, values in arrays.items():
        batch = batch.append_column(pa.field(name, types[name]), values)
    return batch


def _is_pandas(batch: Any) -> bool:
    return hasattr(batch, "iloc") and hasattr(batch, "columns")


def _is_polars(batch: Any) -> bool:
    return hasattr(batch, "hstack") and hasattr(batch, "get_columns")


def _is_arrow(batch: Any) -> bool:
    return hasattr(batch, "append_column") and hasattr(batch, "schema")


def _refuse(batch: Any) -> NoReturn:
    hint = ""
    if hasattr(batch, "map_batches"):
        hint = "; give the Scorer to its map_batches"
    elif hasattr(batch, "mapInPandas"):
        hint = "; give it to mapInPandas, as docs/clusters.md shows"
    elif hasattr(batch, "map") and hasattr(batch, "features"):
        hint = "; give the Scorer to its map, with batched=True"
    elif isinstance(batch, Iterable):
        hint = "; for texts and records there is Hub.score"
    raise InputError(
        f"A Scorer takes a batch: columns by name, a data frame of pandas or polars, an Arrow "
        f"table or record batch; found a {type(batch).__name__}{hint}."
    )


def _with_pandas_columns(
    frame: Any, columns: Mapping[str, list[Any]], types: Mapping[str, pa.DataType]
) -> Any:
    import pyarrow as pa

    added = {
        name: values
        if values and pa.types.is_nested(types[name])
        # The type that pandas has for strings differs between its versions.
        else pa.array(values, types[name]).to_pandas().set_axis(frame.index)
        for name, values in columns.items()
    }
    return frame.assign(**added)


def _array(values: list[Any], kind: pa.DataType) -> np.ndarray:
    """Returns a column as an array: of floats with NaN for None, or of objects."""
    import pyarrow as pa

    if pa.types.is_floating(kind):
        return np.array([np.nan if value is None else value for value in values], np.float64)
    array = np.empty(len(values), object)
    for place, value in enumerate(values):
        array[place] = value
    return array
