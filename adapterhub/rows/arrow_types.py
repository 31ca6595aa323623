"""Types of columns as rows have them, which are Python objects: without encodings of Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.errors import DataError
from adapterhub.rows.class_names import named_schema

if TYPE_CHECKING:
    import pyarrow as pa


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Returns the schema, without metadata, of the rows that are read from a table.

    Class numbers of the datasets library are names; views and run-length encodings, which Parquet
    and older readers lack, are what they stand for. Dictionaries have indices that are wide enough
    for the dictionaries of all batches.
    """
    import pyarrow as pa

    return pa.schema([pa.field(one.name, _plain(one.type)) for one in named_schema(schema)])


def without_dictionaries(schema: pa.Schema) -> pa.Schema:
    """Returns the schema with values in the place of dictionaries."""
    import pyarrow as pa

    return pa.schema(
        [pa.field(one.name, _plain(one.type, decoded=True)) for one in schema],
        metadata=schema.metadata,
    )


def one_schema(schemas: Sequence[tuple[Path | str, pa.Schema]]) -> pa.Schema:
    """Returns the schema that fits the rows of several files; numbers take the wider type.

    Args:
        schemas: Name and schema of each file, in the form of `plain_schema`.

    Raises:
        DataError: A column has types that nothing holds both of.
    """
    import pyarrow as pa

    first, found = schemas[0]
    for name, schema in schemas[1:]:
        if schema.equals(found):
            continue
        schema, found = without_dictionaries(schema), without_dictionaries(found)
        for column in schema.names:
            one, other = found.field(column), schema.field(column)
            try:
                pa.unify_schemas([pa.schema([one]), pa.schema([other])], **_WIDER)
            except pa.ArrowException as error:
                problem = (
                    f"its column '{column}' is of type {other.type}, that of the files before it "
                    f"(such as {first}) of type {one.type}; a source has one type per column. "
                    f"Convert one of them, or score these files one by one"
                )
                raise DataError(name, problem) from error
        found = pa.unify_schemas([found, schema], **_WIDER)
    return found


_WIDER = {"promote_options": "permissive"}


def _plain(kind: pa.DataType, *, decoded: bool = False) -> pa.DataType:
    import pyarrow as pa

    def plain(inner: pa.DataType) -> pa.DataType:
        return _plain(inner, decoded=decoded)

    is_type = pa.types
    if is_type.is_dictionary(kind) and not decoded:
        return pa.dictionary(pa.int32(), plain(kind.value_type), ordered=kind.ordered)
    if is_type.is_dictionary(kind) or is_type.is_run_end_encoded(kind):
        return plain(kind.value_type)
    views = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    if kind in views:
        return views[kind]
    if is_type.is_struct(kind):
        return pa.struct([(one.name, plain(one.type)) for one in kind])
    if is_type.is_map(kind):
        return pa.map_(plain(kind.key_type), plain(kind.item_type))
    if is_type.is_large_list(kind) or is_type.is_large_list_view(kind):
        return pa.large_list(plain(kind.value_type))
    if is_type.is_fixed_size_list(kind):
        return pa.list_(plain(kind.value_type), kind.list_size)
    if is_type.is_list(kind) or is_type.is_list_view(kind):
        return pa.list_(plain(kind.value_type))
    return kind
