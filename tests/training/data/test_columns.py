"""The kind of task that columns and their values make."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from adapterhub.errors import AdapterHubError, DataError, UsageError
from adapterhub.specs import Kind
from adapterhub.training.data.dataset import read_for_task, read_splits
from adapterhub.training.options import TrainingOptions, training_options
from tests.builders import task_spec
from tests.training.rows import Rows

DEFAULTS = TrainingOptions()
STS = [round(index * 0.044, 2) for index in range(114)]
MIXES = ("anger", "joy", "anger|joy", "fear", "fear|joy", "love", "fear|love", "love|anger")
EMOTIONS = ("anger", "joy", "anger|joy", "fear|joy", "love", "joy", "anger", "fear|love")


def _rows(values: Sequence[object], column: str, count: int = 240) -> Rows:
    return [{"text": f"text {i}", column: values[i % len(values)]} for i in range(count)]


def _as_csv(rows: Rows, path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("column", ["gold", "similarity", "score"])
def test_numbers_are_values_by_whatever_column_or_file(column: str, tmp_path: Path) -> None:
    rows = _rows(STS, column)
    frame = pd.DataFrame(rows)
    frame.to_parquet(tmp_path / "a.parquet")
    for source in (rows, frame, tmp_path / "a.parquet", _as_csv(rows, tmp_path / "a.csv")):
        train = read_splits(source, training_options(target=column)).train
        assert (train.kind, train.labels) == ("regression", ())


def test_whole_numbers_are_labels_by_whatever_column_or_file(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"text": [f"text {i}" for i in range(31)], "label": [0, 1, 2] * 10 + [None]}
    )
    frame = frame.dropna()
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for source in (frame, tmp_path / "a.csv", tmp_path / "a.parquet"):
        train = read_splits(source, DEFAULTS).train
        assert (train.kind, train.labels) == ("single_label", ("0", "1", "2"))


@pytest.mark.parametrize(
    ("values", "column", "problem"),
    [
        (
            [f"{value}" for value in STS],
            "label",
            "114 different numbers, such as '0.04'.*--kind reg",
        ),
        (list(range(101)), "label", "101 different numbers, such as '?0"),
        (list(range(101)), "age", "101 different numbers"),
        ([str(year) for year in range(1950, 2000)], "year", "50 different numbers"),
        ([1000.0 * step for step in range(40)], "price", "40 different numbers"),
        (["3.9", "3.10", "3.11"], "version", "3 different numbers, such as '3.9'"),
        ([f"{value}".replace(".", ",") for value in STS[1:]], "gold", "is not written as one"),
        ([f"{value}%" for value in range(50)], "share", "'0%' is not written as one"),
        ([*map(str, STS), "N/A"], "gold", "114 different numbers.*'N/A' is not written as one"),
        ([f"\u0663{value}" for value in range(30)], "gold", "is not written as one"),
        (EMOTIONS, "gold", r"'anger\|joy', which look like several.*--kind multi_label"),
        (EMOTIONS, "label", r"'anger\|joy', which look like several"),
        ([label.replace("|", "; ") for label in EMOTIONS], "label", "with ';' between them.*write"),
        ([label.replace("|", ", ") for label in EMOTIONS], "label", "with ',' between them"),
        ([label.replace("|", "\u3001") for label in EMOTIONS], "label", "between them"),
        ([label.replace("|", "/") for label in EMOTIONS], "label", "with '/' between them"),
        (["1,0,1", "0,0,1", "1,1,1"], "label", "with ',' between them"),
        (EMOTIONS[:2], "labels", "holds one label per row, such as 'anger'; choose --kind single"),
        ([1, 2, 3], "labels", "holds one label per row, such as '?1"),
        ([label.replace("|", ";") for label in EMOTIONS], "labels", "have ';' between them"),
        ([f"The answer {i}." for i in range(240)], "answer", "240 different texts in 240 rows"),
        ([*map(str, range(28)), "3,14", "0,27"], "emotion", "with ',' between.*--kind multi_label"),
        ([*map(str, range(28)), "3|14", "0|27"], "emotion", r"with '\|' between.*--kind multi"),
        (["3,5", "4,0", "4,5", "5,0"], "stars", "'3,5' is not written as one.*--kind regression"),
        ([label.replace("|", " and ") for label in MIXES], "gold", "with ' and ' between them"),
        ([label.replace("|", "-") for label in MIXES], "gold", "with '-' between them"),
        ([label.replace("|", "_") for label in MIXES], "gold", "with '_' between them"),
        ([label.replace("|", ":") for label in MIXES], "gold", "with ':' between them"),
        ([label.replace("|", " ") for label in MIXES], "tags", "with ' ' between them"),
        (
            [0.25, 0.5, 1.0],
            "labels",
            "one label per row, such as .*0.25'?; choose --kind regression",
        ),
        (
            ["high", "low"],
            "score",
            "'score' holds 'high', which is no number; .*--kind single_label",
        ),
    ],
)
def test_a_target_that_may_be_two_things_is_asked_about(
    values: Sequence[object], column: str, problem: str, tmp_path: Path
) -> None:
    rows = _rows(values, column)
    for source in (rows, _as_csv(rows, tmp_path / "a.csv")):
        with pytest.raises(UsageError, match=problem):
            read_splits(source, training_options(target=column))


@pytest.mark.parametrize("kind", ["single_label", "regression"])
def test_a_kind_that_is_given_is_not_guessed(kind: Any, tmp_path: Path) -> None:
    rows = _rows(list(range(101)), "label", 300)
    for source in (rows, _as_csv(rows, tmp_path / "a.csv")):
        assert read_splits(source, training_options(kind=kind)).train.kind == kind
    joined = _rows(EMOTIONS, "gold")
    options = training_options(kind="multi_label", target="gold")
    assert read_splits(joined, options).train.labels == ("anger", "fear", "joy", "love")
    options = training_options(kind="single_label", target="gold")
    assert "anger|joy" in read_splits(joined, options).train.labels
    with pytest.raises(AdapterHubError, match="expected a number"):
        read_splits(joined, training_options(kind="regression", target="gold"))
    other = _rows([label.replace("|", ";") for label in EMOTIONS], "gold")
    with pytest.raises(UsageError, match=r"have ';' between them; write '\|' instead"):
        read_splits(other, training_options(kind="multi_label", target="gold"))


@pytest.mark.parametrize(
    "values",
    [
        [0, 1, 2],
        ["0", "1", "2"],
        [1, 2, 3, 4, 5],
        [0.0, 1.0],
        ["1.0", "2.0"],
        list(range(20)),
        [True, False],
        [-1, 0, 1],
        [f"intent {number}" for number in range(77)],
        ["world", "sports", "business", "sci/tech"],
        [*["often", "seldom"] * 20, "this|that"],
        [*["often", "seldom"] * 20, "this|that", "here|there"],
        ["Paris, France", "Lyon, France", "Nice, France", "London, UK"],
        ["Arts, Crafts & Sewing", "Movies & TV", "Health & Household", "Toys, Games"],
        ["comp.graphics", "comp.os", "sci.med", "sci.space"],
        ["A", "A+", "B", "B+"],
        ["C", "C++", "C#"],
        ["1 star", "2 stars", "3 stars"],
        ["yes", "no", "yes/no"],
        ["\u6b63\u9762", "\u8d1f\u9762"],
        ["1", "2", "3", "unknown"],
        ["01/02", "02/02", "01/01"],
        ["good", "very good", "bad", "very bad"],
        ["non-toxic", "toxic", "toxic-threat"],
        ["hotel", "flight", "hotel_booking", "flight_booking", "car_booking"],
        ["10-20", "20-30", "30-40"],
        ["25-34", "35-44", "under 25", "45 and over"],
    ],
)
@pytest.mark.parametrize("column", ["label", "gold"])
@pytest.mark.slow
def test_ordinary_labels_stay(values: Sequence[object], column: str, tmp_path: Path) -> None:
    rows = _rows(values, column, 400)
    random.Random(0).shuffle(rows)
    for source in (rows, _as_csv(rows, tmp_path / "a.csv")):
        train = read_splits(source, training_options(target=column)).train
        assert train.kind == "single_label"
        assert len(train.labels) == len(set(values))


@pytest.mark.parametrize(
    ("kind", "column", "values"),
    [
        ("multi_label", "label", EMOTIONS),
        ("multi_label", "tags", EMOTIONS),
        ("single_label", "label", EMOTIONS),
        ("single_label", "labels", ["a", "b"]),
        ("multi_label", "labels", ["a", "b"]),
        ("single_label", "labels", [0, 1]),
        ("single_label", "tags", ["a", "b"]),
        ("single_label", "score", ["high", "low"]),
        ("regression", "labels", [0.25, 0.5]),
        ("regression", "label", [0.25, 0.5]),
    ],
)
def test_the_kind_that_a_message_names_is_enough(
    kind: Kind, column: str, values: Sequence[object], tmp_path: Path
) -> None:
    rows = _rows(values, column)
    for source in (rows, _as_csv(rows, tmp_path / "a.csv")):
        columns = read_splits(source, training_options(kind=kind)).train.columns
        assert columns is not None
        assert (columns.kind, columns.target) == (kind, column)


def test_the_kind_decides_between_a_label_and_a_score() -> None:
    rows = [{**row, "score": 0.5 * (i % 7)} for i, row in enumerate(_rows(["a", "b"], "label"))]
    for kind, target in (("regression", "score"), ("single_label", "label"), (None, "label")):
        columns = read_splits(rows, training_options(kind=kind)).train.columns
        assert columns is not None
        assert columns.target == target


def test_an_existing_task_needs_no_guess(tmp_path: Path) -> None:
    rows = _rows(["3.5", "4"], "gold")
    options = training_options(target="gold")
    assert read_for_task(rows, task_spec("regression"), options).targets[:2] == (3.5, 4.0)
    labels = tuple(map(str, range(50)))
    rows = _rows([float(label) for label in labels], "label")
    spec = task_spec("single_label", labels=labels)
    assert read_for_task(_as_csv(rows, tmp_path / "a.csv"), spec, DEFAULTS).targets[2] == "2"
    with pytest.raises(AdapterHubError, match="expected a number"):
        read_for_task(_rows(EMOTIONS, "gold"), task_spec("regression"), options)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({}, r"are given by name \(--kind\)"),
        ({"kind": "numbers"}, r"a column for each number \(--target a,b\)"),
        ({"kind": "regression"}, r"\(--target COLUMN\)\.$"),
    ],
)
def test_where_no_target_is_found_the_message_says_what_may_be_missing(
    options: dict[str, Any], hint: str
) -> None:
    with pytest.raises(DataError, match=hint):
        read_splits(_rows([1.5, 2.5], "valence"), training_options(**options))


def test_a_label_that_is_not_in_the_tree_names_the_option() -> None:
    options = training_options(parents={"a": "root", "b": "root"})
    with pytest.raises(DataError, match=r"'c', which the option parents \(--parents FILE\)"):
        read_splits(_rows(["a", "b", "c"], "label"), options)
