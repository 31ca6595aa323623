"""Tables as training data: labels keep their names, parts are the sets they are called."""

from __future__ import annotations

import json
import logging
from collections import namedtuple
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapterhub.errors import DataError
from adapterhub.training.data.dataset import Splits, read_splits
from adapterhub.training.data.records import read_records
from adapterhub.training.options import training_options
from tests.training.rows import pair_rows, sentiment_rows, tagged_rows, topic_rows

ROWS = sentiment_rows(24)
MORE = sentiment_rows(12, seed=1)


def _splits(data: object, **options: Any) -> Splits:
    return read_splits(data, training_options(**options))


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


CARRIERS: dict[str, Any] = {
    "columns": _columns,
    "arrays": lambda rows: {name: np.array(v) for name, v in _columns(rows).items()},
    "frame": pd.DataFrame,
    "categories": lambda rows: pd.DataFrame(rows).astype({"label": "category"}),
    "arrow": pa.Table.from_pylist,
    "tuples": lambda rows: [(row["text"], row["label"]) for row in rows],
    "lists": lambda rows: [[row["text"], row["label"]] for row in rows],
    "named tuples": lambda rows: [
        namedtuple("R", "label text")(r["label"], r["text"]) for r in rows
    ],
    "generator": lambda rows: (row for row in rows),
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_carriers_agree_as_data_and_as_validation(carrier: str) -> None:
    make = CARRIERS[carrier]
    found, expected = (_splits(data, validation=MORE) for data in (make(ROWS), ROWS))
    held_out = _splits(ROWS, validation=make(MORE))
    for splits in (found, held_out):
        assert splits.train.digest() == expected.train.digest()
        assert splits.validation.digest() == expected.validation.digest()
        assert splits.train.labels == ("negative", "positive")


def test_tuples_of_other_tasks() -> None:
    pairs = [(row["text"], row["text_pair"], row["label"]) for row in pair_rows(24)]
    assert _splits(pairs).train.digest() == _splits(pair_rows(24)).train.digest()
    topics = [(row["text"], row["labels"]) for row in topic_rows(24)]
    assert _splits(topics).train.digest() == _splits(topic_rows(24)).train.digest()
    tagged = [(row["tokens"], row["tags"]) for row in tagged_rows(24)]
    assert _splits(tagged).train.digest() == _splits(tagged_rows(24)).train.digest()
    for row in (("a",), ("a", "b", "c", "d"), "ab"):
        with pytest.raises(DataError, match=r"row 1: .*not a mapping, \(text, label\)"):
            read_records([row])


@pytest.mark.parametrize(
    ("rows", "column", "names", "kind"),
    [
        (ROWS, "label", ["negative", "positive"], "single_label"),
        (topic_rows(24), "labels", ["has-film", "has-food"], "multi_label"),
        (tagged_rows(24), "tags", ["O", "B-place", "I-place"], "tagging"),
    ],
)
def test_names_of_classes_are_the_labels(
    rows: list[dict[str, Any]], column: str, names: list[str], kind: str, tmp_path: Path
) -> None:
    """As the datasets library writes Arrow and Parquet: numbers, and their names in the schema."""

    def number(value: Any) -> Any:
        return names.index(value) if isinstance(value, str) else list(map(names.index, value))

    one = {"names": names, "_type": "ClassLabel"}
    feature = one if kind == "single_label" else {"feature": one, "_type": "Sequence"}
    table = pa.Table.from_pylist([{**row, column: number(row[column])} for row in rows])
    info = json.dumps({"info": {"features": {column: feature}}})
    table = table.replace_schema_metadata({"huggingface": info})
    pq.write_table(table, tmp_path / "a.parquet")
    expected = _splits(rows).train
    for data in (table, tmp_path / "a.parquet"):
        found = _splits(data).train
        assert (found.kind, found.labels) == (kind, expected.labels)
        assert found.targets == expected.targets


def test_datasets() -> None:
    datasets = pytest.importorskip("datasets")
    names = ["negative", "positive"]
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    )
    made = [
        datasets.Dataset.from_list(
            [{**r, "label": names.index(r["label"])} for r in rows], features
        )
        for rows in (ROWS, MORE)
    ]
    expected = _splits(ROWS, validation=MORE)
    parts = datasets.DatasetDict(train=made[0], validation=made[1], test=made[1])
    lazy = datasets.IterableDatasetDict({n: d.to_iterable_dataset() for n, d in parts.items()})
    for data, options in (
        (made[0], {"validation": made[1]}),
        (made[0].with_format("numpy"), {"validation": made[1].select(range(12))}),
        (parts, {}),
        (lazy, {}),
    ):
        found = _splits(data, **options)
        assert found.train.digest() == expected.train.digest()
        assert found.validation.digest() == expected.validation.digest()


def test_parts_of_a_data_set_are_its_splits(caplog: pytest.LogCaptureFixture) -> None:
    expected = _splits(ROWS, validation=MORE)
    parts = {"train": pd.DataFrame(ROWS), "validation": MORE, "test": _columns(MORE)}
    with caplog.at_level(logging.WARNING, "adapterhub"):
        found = _splits(parts)
    assert found.train.digest() == expected.train.digest()
    assert found.validation.digest() == expected.validation.digest()
    assert "The parts of the data set are its splits: train, validation, test." in caplog.text
    assert found.test is not None
    assert len(found.test) == 12
    unknown = {**parts, "test": pd.DataFrame(MORE).assign(label=None)}
    assert _splits(unknown).test is None
    # Options that say how to split go before.
    assert len(_splits({"train": ROWS, "dev": MORE}, validation_fraction=0.5).validation) < 13
    assert _splits({"train": ROWS, "test": MORE}).folds
    with pytest.raises(DataError, match="it has the parts test, other; give one"):
        _splits({"test": ROWS, "other": MORE})
    with pytest.raises(DataError, match="it has the parts train; give one"):
        _splits(ROWS, validation={"train": MORE})


@pytest.mark.parametrize("missing", [None, pd.NA, np.nan, ""])
def test_a_missing_label_is_refused_with_its_row(missing: Any) -> None:
    frame = pd.DataFrame([*ROWS, {"text": "last", "label": missing}])
    for data in (frame, pa.Table.from_pylist([*ROWS, {"text": "last", "label": None}])):
        with pytest.raises(DataError, match="row 25: column 'label' is"):
            _splits(data)


def test_decimals_are_numbers() -> None:
    prices = [Decimal("1.50") + index for index in range(24)]
    expected = _splits([{"text": f"t {i}", "score": float(p)} for i, p in enumerate(prices)])
    table = pa.table({"text": [f"t {i}" for i in range(24)], "score": prices})
    for data in (table, table.to_pandas(), {n: table[n] for n in table.column_names}):
        found = _splits(data)
        assert (found.train.kind, found.train.targets) == ("regression", expected.train.targets)
    whole = pa.table({"text": table["text"], "label": [Decimal(i % 2) for i in range(24)]})
    assert _splits(whole).train.labels == ("0", "1")
