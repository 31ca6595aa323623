"""One reading of values: whatever type or file carries a text, a label or a number."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from adapterhub.errors import DataError
from adapterhub.inputs import read_fields
from adapterhub.specs import TaskSpec
from adapterhub.training.data.dataset import read_for_task, read_splits
from adapterhub.training.options import TrainingOptions, training_options
from tests.builders import task_spec
from tests.training.rows import write_rows

DEFAULTS = TrainingOptions()


class Queue(str, Enum):
    BILL = "bill"
    SHIP = "ship"


class Stars(IntEnum):
    ONE = 1
    TWO = 2


class Plain(Enum):
    A = "a"


class Named(str):
    def __str__(self) -> str:
        return "another text"


CARRIERS: dict[str, Callable[[str], object]] = {
    "enum": Queue,
    "subclass": Named,
    "numpy": np.str_,
    "pandas": lambda text: pd.array([text], dtype="string")[0],
    "spaces": lambda text: f" {text}\u3000",
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_text_is_what_it_holds(carrier: str) -> None:
    carry = CARRIERS[carrier]
    words = ["bill", "ship"] * 10
    texts = [{"text": carry(word), "label": f"{i % 2}"} for i, word in enumerate(words)]
    labels = [{"text": f"text {i}", "label": carry(word)} for i, word in enumerate(words)]
    sets = [{"text": f"text {i}", "labels": [carry(word)]} for i, word in enumerate(words)]
    pairs = [
        {"text": f"{i}", "text_pair": carry(w), "label": f"{i % 2}"} for i, w in enumerate(words)
    ]
    train = read_splits(texts, training_options(kind="single_label")).train
    assert {text.strip() for (text,) in train.inputs} == {"bill", "ship"}
    assert read_splits(labels, DEFAULTS).train.labels == ("bill", "ship")
    assert read_splits(sets, DEFAULTS).train.labels == ("bill", "ship")
    assert read_splits(pairs, DEFAULTS).train.inputs[0][1].strip() == "bill"
    spec = task_spec("single_label", labels=("bill", "ship"))
    assert set(read_for_task(labels, spec, DEFAULTS).targets) == {"bill", "ship"}
    scored = read_fields(texts, ("text",)).inputs
    measured = read_for_task([{**row, "label": "bill"} for row in texts], spec, DEFAULTS)
    assert scored == measured.inputs


def test_a_column_is_named_by_what_its_name_holds() -> None:
    class Column(str, Enum):
        TEXT = "text"
        LABEL = "label"

    rows: list[Any] = [{Column.TEXT: f"text {i}", Column.LABEL: "ab"[i % 2]} for i in range(20)]
    splits = read_splits(rows, DEFAULTS)
    assert splits.train.labels == ("a", "b")
    assert splits.train.columns is not None
    assert splits.train.columns.unread == ()


def test_words_and_tags_are_what_they_hold() -> None:
    class Tag(str, Enum):
        OUTSIDE = "O"
        BEGIN = "B-x"

    rows = [
        {"tokens": [Named("ab"), np.str_(f"c{i}")], "tags": [Tag.BEGIN, Tag.OUTSIDE]}
        for i in range(20)
    ]
    train = read_splits(rows, DEFAULTS).train
    assert train.labels == ("O", "B-x", "I-x", "E-x", "S-x")
    assert train.inputs[0] == ("ab c0",)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ((Stars.ONE, Stars.TWO), ("1", "2")),
        ((np.int8(1), np.int64(2)), ("1", "2")),
        ((1.0, 2.0), ("1", "2")),
        ((np.float32(1), np.float64(2)), ("1", "2")),
        (("1.0", "2.0"), ("1", "2")),
        (("1.0", "2"), ("1", "2")),
        ((Decimal("1"), Decimal("2.00")), ("1", "2")),
        ((Fraction(1), Fraction(4, 2)), ("1", "2")),
        ((torch.tensor(1), torch.tensor(2)), ("1", "2")),
        ((np.array(1), np.array(2.0)), ("1", "2")),
        ((True, False), ("false", "true")),
        ((np.True_, np.False_), ("false", "true")),
        # Names, of which not all are whole numbers, stay as they are.
        (("1.0", "1.1"), ("1.0", "1.1")),
        (("1.0", "a"), ("1.0", "a")),
        (("01", "2"), ("01", "2")),
    ],
)
def test_a_whole_number_is_one_label_whatever_its_type(
    values: tuple[object, ...], labels: tuple[str, ...]
) -> None:
    rows = [{"text": f"text {i}", "label": values[i % 2]} for i in range(20)]
    options = training_options(kind="single_label")
    assert read_splits(rows, options).train.labels == labels
    if "true" not in labels:  # which says whether there is a label
        sets = [{"text": row["text"], "labels": [row["label"]]} for row in rows]
        assert read_splits(sets, DEFAULTS).train.labels == labels


@pytest.mark.parametrize("number", [Decimal("1.5"), np.float32(1.5), Fraction(3, 2), "1.5"])
def test_a_number_is_one_whatever_its_type(number: Any) -> None:
    rows = [{"text": f"text {i}", "score": number if i % 2 else 2} for i in range(20)]
    assert set(read_splits(rows, DEFAULTS).train.targets) == {1.5, 2.0}


def test_all_files_and_tables_give_the_same_labels(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"text": [f"text {i}" for i in range(30)], "label": [i % 3 for i in range(29)] + [None]}
    ).dropna()
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "a.parquet")
    write_rows(tmp_path / "a.jsonl", frame.to_dict("records"))
    sources = [frame, *(tmp_path / f"a.{end}" for end in ("csv", "tsv", "parquet", "jsonl"))]
    for source in sources:
        train = read_splits(source, training_options(kind="single_label")).train
        assert train.labels == ("0", "1", "2")


@pytest.mark.parametrize(
    ("own", "given"),
    [
        ("Yes", " Yes"),
        (" Yes", "Yes"),
        (normalize("NFD", "caf\u00e9"), "caf\u00e9"),
        ("caf\u00e9", normalize("NFD", "caf\u00e9")),
        ("1.0", 1),
        ("1", 1.0),
        ("True", True),
        ("true", "True"),
    ],
)
@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_a_task_takes_its_own_labels_in_any_spelling(own: str, given: object, kind: Any) -> None:
    spec = _spec(kind, own)
    target = {"label": given} if kind == "single_label" else {"labels": [given]}
    dataset = read_for_task([{"text": "a", **target}] * 3, spec, DEFAULTS)
    assert dataset.targets[0] in (own, (own,))
    assert dataset.truth().sum() > 0 or dataset.labels[0] == own


def _spec(kind: Any, own: str) -> TaskSpec:
    return task_spec(kind, labels=("other", own))


def test_an_entity_type_is_its_own_in_any_spelling() -> None:
    nfd = normalize("NFD", "lieu-\u00e9")
    tags = ("O", *(f"{mark}-{nfd}" for mark in "BIES"))
    rows = [{"tokens": ["a", "b"], "tags": [normalize("NFC", "B-lieu-\u00e9"), "O"]}] * 3
    dataset = read_for_task(rows, task_spec("tagging", labels=tags), DEFAULTS)
    assert dataset.spans()[0][0].entity == nfd


def test_a_spelling_that_two_labels_have_is_refused() -> None:
    spec = task_spec("single_label", labels=("1.0", "1.00", "x"))
    with pytest.raises(DataError, match="the label '1', unknown"):
        read_for_task([{"text": "a", "label": 1}] * 3, spec, DEFAULTS)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"text": "a", "label": Plain.A}, "a member of an Enum that is no text"),
        ({"text": Plain.A, "label": "a"}, "a member of an Enum that is no text"),
        ({"text": Stars.ONE, "label": "a"}, "of type int"),
        ({"text": b"a", "label": "a"}, "of type bytes"),
        ({"text": "a", "label": float("nan")}, "a missing value"),
        ({"text": "a", "label": pd.NA}, "of type NAType"),
        ({"text": "a", "label": 10**300}, "301 characters long"),
        ({"text": "a", "label": 1e300}, "301 characters long"),
        ({"text": "a", "label": "b" * 300}, "300 characters long"),
    ],
)
def test_what_is_no_value_is_refused(row: dict[str, object], problem: str) -> None:
    rows = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(20)]
    with pytest.raises(DataError, match=problem):
        read_splits([*rows, row], training_options(kind="single_label"))
    if "label" in row and row["text"] == "a":
        sets = [{"text": r["text"], "labels": [r["label"]]} for r in (*rows, row)]
        with pytest.raises(DataError, match=problem):
            read_splits(sets, DEFAULTS)


@pytest.mark.slow
def test_labels_that_no_head_file_holds_are_refused_at_reading() -> None:
    rows = [{"text": f"text {i}", "label": f"{i:05}" + "x" * 245} for i in range(5_000)]
    with pytest.raises(DataError, match="bytes long together"):
        read_splits([*rows, *rows[:9]], training_options(kind="single_label", skip_unseen=True))
