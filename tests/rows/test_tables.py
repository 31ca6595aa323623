"""Tables in memory: every carrier of the same columns gives the same rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from adapterhub.errors import DataError
from adapterhub.rows.class_names import named_schema
from adapterhub.rows.formats import FileFormat
from adapterhub.rows.reading import read_file
from adapterhub.rows.tables import is_table, parts_of_table, table_rows
from adapterhub.scoring.sources.open_source import open_source
from adapterhub.scoring.sources.schema import source_schema
from tests.rows.texts import values

COLUMNS: dict[str, list[Any]] = {
    "text": ["a", "b", "c"],
    "n": [1, 2, 3],
    "tags": [["x"], [], ["y"]],
}
ROWS = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]

# As the datasets library writes the features of a data set into a schema.
CLASSES = {"names": ["neg", "pos"], "_type": "ClassLabel"}
FEATURES = {
    "label": CLASSES,
    "list": {"feature": CLASSES, "_type": "List"},
    "old": {"feature": CLASSES, "length": -1, "_type": "Sequence"},
    "oldest": [CLASSES],
    "struct": {"x": CLASSES, "y": {"dtype": "string", "_type": "Value"}},
    "structs": {"feature": {"x": CLASSES}, "_type": "Sequence"},
    "text": {"dtype": "string", "_type": "Value"},
}
NUMBERED: dict[str, list[Any]] = {
    "label": [1, 0, -1],
    "list": [[0, 1], [], [1]],
    "old": [[0, 1], None, [1]],
    "oldest": [[1], [0], []],
    "struct": [{"x": 1, "y": "a"}, {"x": 0, "y": None}, None],
    "structs": [{"x": [0, 1]}, {"x": []}, None],
    "text": ["a", "b", "c"],
}
NAMED: dict[str, list[Any]] = {
    "label": ["pos", "neg", None],
    "list": [["neg", "pos"], [], ["pos"]],
    "old": [["neg", "pos"], None, ["pos"]],
    "oldest": [["pos"], ["neg"], []],
    "struct": [{"x": "pos", "y": "a"}, {"x": "neg", "y": None}, None],
    "structs": [{"x": ["neg", "pos"]}, {"x": []}, None],
    "text": ["a", "b", "c"],
}


def _featured(columns: dict[str, list[Any]]) -> pa.Table:
    table = pa.table({name: columns[name] for name in columns})
    info = json.dumps({"info": {"features": FEATURES}})
    return table.replace_schema_metadata({"huggingface": info})


@pytest.mark.parametrize(
    "carrier",
    [
        dict,
        pd.DataFrame,
        pa.table,
        lambda columns: pa.table(columns).to_reader(),
        lambda columns: pa.RecordBatch.from_pydict(columns),
        lambda columns: {name: pd.Series(values) for name, values in columns.items()},
        lambda columns: {name: pa.array(values) for name, values in columns.items()},
        lambda columns: {**columns, "n": np.array(columns["n"]), "text": tuple(columns["text"])},
        lambda columns: pd.DataFrame(columns).astype({"text": "category"}),
        lambda columns: pd.DataFrame(columns).astype({"text": "string"}).convert_dtypes(),
        lambda columns: pd.DataFrame(columns, index=[7, 7, 9]),
        pl.DataFrame,
        lambda columns: pl.DataFrame(columns).with_columns(pl.col("text").cast(pl.Categorical)),
        pl.LazyFrame,
        lambda columns: pl.LazyFrame(columns).filter(pl.col("n") > 0),
        lambda columns: ds.dataset(pa.table(columns)),
        lambda columns: ds.dataset(pa.table(columns)).scanner(filter=ds.field("n") > 0),
        lambda columns: _datasets().Dataset.from_dict(columns).with_format("torch"),
        lambda columns: _datasets().Dataset.from_dict(columns).select([0, 1, 2]),
        lambda columns: _datasets().Dataset.from_dict(columns).to_iterable_dataset(),
    ],
)
def test_carriers_agree(carrier: Any) -> None:
    table = carrier(COLUMNS)
    assert is_table(table)
    rows = table_rows(table, "data")
    assert rows.columns == tuple(COLUMNS)
    assert values(rows) == ROWS


def _datasets() -> Any:
    """Returns the datasets library, which takes a second to import."""
    import datasets

    return datasets


def test_types_of_tables_are_kept() -> None:
    schema = pa.schema([("text", pa.string()), ("n", pa.int8())])
    table = pa.table({"text": ["a"], "n": [1]}, schema)
    again = [table, pl.DataFrame(table), pl.LazyFrame(table), ds.dataset(table)]
    for one in [*again, table.to_reader(), ds.dataset(table).scanner()]:
        source = open_source(one)
        assert source_schema(source).field("n").type == pa.int8()
        is_read_once = not any(one is other for other in again)
        assert (source.again is None, source.declared) == (is_read_once, True)


def test_streamed_data_sets_are_read_as_they_arrive() -> None:
    read: list[int] = []

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(9):
            read.append(number)
            yield {"text": str(number)}

    features = _datasets().Features({"text": _datasets().Value("string")})
    for known in (features, None):
        read.clear()
        stream = _datasets().IterableDataset.from_generator(rows, features=known)
        source = open_source(stream)
        assert (source.declared, source.again, source.count()) == (known is not None, None, None)
        assert next(source.rows).values == {"text": "0"}
        assert len(read) <= 2


def test_an_old_lazy_frame_has_to_be_collected() -> None:
    class Lazy:
        def collect_schema(self) -> None: ...

    with pytest.raises(DataError, match=r"give frame\.collect\(\)"):
        open_source(Lazy())


@pytest.mark.parametrize("missing", [None, pd.NA, np.nan, pd.NaT])
def test_missing_values_of_pandas_are_none(missing: Any) -> None:
    for kind in (object, "category", "string"):
        frame = pd.DataFrame({"text": pd.Series(["a", missing], dtype=kind)})
        assert values(table_rows(frame, "data")) == [{"text": "a"}, {"text": None}]
    numbers = pd.DataFrame({"n": pd.Series([1, None], dtype="Int64"), "x": [0.5, float("nan")]})
    assert values(table_rows(numbers, "data")) == [{"n": 1, "x": 0.5}, {"n": None, "x": None}]


def test_rows_pass_in_batches() -> None:
    frame = pd.DataFrame({"n": range(5_000)})
    for table in (frame, pa.table(frame)):
        rows = list(table_rows(table, "data"))
        assert [row.values["n"] for row in rows] == list(range(5_000))
        assert rows[-1].place == 5_000


def test_numbers_of_classes_become_their_names(tmp_path: Path) -> None:
    table = _featured(NUMBERED)
    expected = [dict(zip(NAMED, row, strict=True)) for row in zip(*NAMED.values(), strict=True)]
    assert values(table_rows(table, "data")) == expected
    pq.write_table(table, tmp_path / "a.parquet")
    assert values(read_file(tmp_path / "a.parquet", FileFormat("parquet"))) == expected
    schema = named_schema(table.schema)
    assert pa.Table.from_pylist(expected, schema=schema).to_pylist() == expected
    assert schema.metadata is None


def test_a_class_without_a_name_costs_its_row() -> None:
    table = _featured({**NUMBERED, "label": [1, 2, 0]})
    found = values(table_rows(table, "data"))
    assert found[1] == "it has the class number 2, but there are 2 classes"
    assert found[2]["label"] == "neg"


@pytest.mark.parametrize(
    ("table", "part"),
    [
        ({"text": ["a"], "label": ["x", "y"]}, "differ in length: 'text' has 1, 'label' has 2"),
        ({"text": "a", "label": "x"}, "whose 'text' is a str; expected columns"),
        ({"text": {"a": 1}}, "expected columns|has the parts"),
        ({3: ["a"]}, "the name of column 3 is no text"),
        (pd.DataFrame([["a", "b"]]), "the name of column 0 is no text"),
        (pd.DataFrame([["a", "b"]], columns=["x", "x"]), "'x' occurs twice"),
        ({"train": pd.DataFrame({"text": ["a"]})}, r"it has the parts train; give one"),
    ],
)
def test_other_tables_are_refused(table: Any, part: str) -> None:
    with pytest.raises(DataError, match=part):
        list(table_rows(table, "data"))


def test_parts_are_told_from_columns() -> None:
    frame = pd.DataFrame(COLUMNS)
    for table in (frame, pa.table(COLUMNS), COLUMNS, ROWS):
        assert parts_of_table({"train": table, "test": table}) is not None
    for table in (frame, pa.table(COLUMNS), COLUMNS, {}, ROWS):
        assert parts_of_table(table) is None


def test_decimals_and_dates_are_values() -> None:
    day = pd.Timestamp("2024-02-01").date()
    table = pa.table({"n": [Decimal("1.50")], "day": [day]})
    for carrier in (table, pd.DataFrame({"n": [Decimal("1.50")], "day": [day]})):
        assert values(table_rows(carrier, "data")) == [{"n": Decimal("1.50"), "day": day}]
