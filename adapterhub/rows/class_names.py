"""Names of classes, which the datasets library keeps beside columns of class numbers.

It writes the features of a data set into the schema of Arrow and Parquet, under `huggingface`:
`{"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}`, also within lists and structs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from adapterhub.rows.source_row import SourceRow

if TYPE_CHECKING:
    import pyarrow as pa

Naming = Callable[[object], object]
"""Puts names in the place of the class numbers in a value."""

_NO_LABEL = -1


def features_of(schema: pa.Schema) -> dict[str, object]:
    """Returns the features that the datasets library wrote into a schema; none without it."""
    try:
        content = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return dict(content["info"]["features"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


def named_rows(rows: Iterable[Mapping[str, object]], features: object) -> Iterator[SourceRow]:
    """Yields rows, from place 1, with names of classes in the place of their numbers.

    A class number of -1, which stands for no label, becomes None.

    Args:
        rows: Value by column.
        features: Feature by column, in the JSON form of the datasets library.
    """
    found = features.items() if isinstance(features, Mapping) else ()
    namings = {name: naming for name, one in found if (naming := _naming(one)) is not None}
    for place, values in enumerate(rows, start=1):
        try:
            named = {name: naming(values.get(name)) for name, naming in namings.items()}
        except ValueError as error:
            yield SourceRow(place, {}, str(error), repr(values)[:200])
            continue
        yield SourceRow(place, {**values, **named} if named else values)


def named_schema(schema: pa.Schema) -> pa.Schema:
    """Returns the schema, without metadata, that rows have once their classes are named."""
    import pyarrow as pa

    features = features_of(schema)
    return pa.schema([(one.name, _named_type(one.type, features.get(one.name))) for one in schema])


def _naming(feature: object) -> Naming | None:
    """Returns the naming of a feature, or None where it has no classes."""
    if isinstance(feature, list) and len(feature) == 1:
        return _of_list(_naming(feature[0]))
    if not isinstance(feature, Mapping):
        return None
    names = feature.get("names")
    if feature.get("_type") == "ClassLabel":
        return partial(_name, names) if isinstance(names, list) else None
    if "_type" in feature and "feature" in feature:
        inner = feature["feature"]
        if isinstance(inner, Mapping) and "_type" not in inner:
            # A sequence of structs may be kept as a struct of lists.
            return _of_structs(_of_struct(inner), _of_struct({k: [v] for k, v in inner.items()}))
        return _of_list(_naming(inner))
    return None if isinstance(feature.get("_type"), str) else _of_struct(feature)


def _name(names: Sequence[str], value: object) -> object:
    if not isinstance(value, int) or value == _NO_LABEL:
        return None if value == _NO_LABEL else value
    if not 0 <= value < len(names):
        raise ValueError(f"it has the class number {value}, but there are {len(names)} classes")
    return names[value]


def _of_list(inner: Naming | None) -> Naming | None:
    if inner is None:
        return None
    return lambda value: list(map(inner, value)) if isinstance(value, list) else value


def _of_struct(features: Mapping[str, object]) -> Naming | None:
    found = {name: _naming(one) for name, one in features.items()}
    inner = {name: one for name, one in found.items() if one is not None}
    if not inner:
        return None

    def naming(value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        return {**value, **{name: one(value[name]) for name, one in inner.items() if name in value}}

    return naming


def _of_structs(one: Naming | None, lists: Naming | None) -> Naming | None:
    if one is None or lists is None:
        return None
    return lambda value: list(map(one, value)) if isinstance(value, list) else lists(value)


def _named_type(kind: pa.DataType, feature: object) -> pa.DataType:
    """Returns the type of a column whose classes are named."""
    import pyarrow as pa

    if _naming(feature) is None:
        return kind
    if pa.types.is_integer(kind):
        return pa.string()
    if pa.types.is_struct(kind) and isinstance(feature, Mapping):
        inner = feature.get("feature", feature)
        lists = inner is not feature
        fields = [
            (one.name, _named_type(one.type, [inner.get(one.name)] if lists else inner[one.name]))
            for one in kind
        ]
        return pa.struct(fields)
    inner = feature[0] if isinstance(feature, list) else feature["feature"]  # type: ignore[index]
    return pa.list_(_named_type(kind.value_type, inner))
