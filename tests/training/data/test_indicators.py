"""Rows with one 0 or 1 per label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adapterhub.errors import DataError
from adapterhub.training.data.dataset import read_for_task, read_splits
from adapterhub.training.options import TrainingOptions, training_options
from tests.builders import task_spec
from tests.training.rows import Rows

DEFAULTS = TrainingOptions()
ROWS = [[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]] * 8
NAMED = [("a", "c"), ("b",), (), ("a", "b", "c")]
CARRIERS: dict[str, Callable[[list[int]], object]] = {
    "ints": lambda row: row,
    "floats": lambda row: [float(part) for part in row],
    "bools": lambda row: [bool(part) for part in row],
    "tuple": tuple,
    "array": np.array,
    "float array": lambda row: np.array(row, np.float32),
    "bool array": lambda row: np.array(row, np.bool_),
    "texts": lambda row: [str(part) for part in row],
    "words": lambda row: [str(bool(part)) for part in row],
    "cell": lambda row: "|".join(map(str, row)),
}


def _rows(values: list[Any]) -> Rows:
    return [{"text": f"text {i}", "labels": value} for i, value in enumerate(values)]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_zeros_and_ones_are_no_labels(carrier: str) -> None:
    rows = _rows([CARRIERS[carrier](row) for row in ROWS])
    with pytest.raises(DataError, match=r"one value per label, such as .*; write the names"):
        read_splits(rows, DEFAULTS)
    spec = task_spec("multi_label", labels=("a", "b", "c"))
    dataset = read_for_task(rows, spec, DEFAULTS)
    assert list(dataset.targets[:4]) == NAMED
    assert dataset.truth()[:4].tolist() == ROWS[:4]


@pytest.mark.parametrize(
    "values",
    [
        [[1, 0], [0, 1]] * 8,
        [[0.0, 1.0], [1.0, 0.0]] * 8,
        [[0, 0], [1, 1]] * 8,
        [[1], [0]] * 8,
        [[1, -1, -1], [-1, 1, 1]] * 8,
        [["yes", "no", "yes"], ["no", "no", "yes"]] * 8,
        [[0, 2, 0], [1, 0, 3]] * 8,
        [[1, 0, 1], ["a"]] * 8,
        [[1, 0, 1], [1, 0], [0, 1, 1, 0]] * 8,
        [[1, 0, 1], []] * 8,
    ],
)
def test_other_values_per_label_are_refused(values: list[Any]) -> None:
    with pytest.raises(DataError, match="one value per label"):
        read_splits(_rows(values), training_options(kind="multi_label"))


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([[3, 17], [17], [], [0, 3]] * 8, ("0", "3", "17")),
        ([[0, 1], [1], [0]] * 8, ("0", "1")),
        ([[0, 1], [1, 2]] * 8, ("0", "1", "2")),
        ([["a", "a", "b"], ["c", "a", "b"]] * 8, ("a", "b", "c")),
        ([["a", "a"], ["b"]] * 8, ("a", "b")),
        ([["a", "b"], ["b", "a"], ["a", "b"]] * 8, ("a", "b")),
        ([{"a": 1, "b": 0}, {"a": False, "b": True}, {"a": 0, "b": 0}] * 8, ("a", "b")),
    ],
)
def test_labels_and_their_numbers_stay(values: list[Any], labels: tuple[str, ...]) -> None:
    train = read_splits(_rows(values), training_options(kind="multi_label")).train
    assert train.labels == labels


def test_a_mapping_names_its_zeros_and_ones() -> None:
    values = [{"a": 1, "b": 0}, {"a": 0.0, "b": True}, {"a": 0, "b": "0"}] * 8
    assert read_splits(_rows(values), DEFAULTS).train.targets[:3] == (("a",), ("b",), ())


def test_a_frame_and_a_file_are_refused_alike(tmp_path: Path) -> None:
    frame = pd.DataFrame(_rows(ROWS))
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    for source in (frame, tmp_path / "a.parquet", tmp_path / "a.jsonl"):
        with pytest.raises(DataError, match="one value per label"):
            read_splits(source, DEFAULTS)


def test_a_task_whose_labels_are_numbers_is_measured_on_both(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spec = task_spec("multi_label", labels=("0", "1"))
    assert read_for_task(_rows([[0, 1], [1]]), spec, DEFAULTS).targets == (("0", "1"), ("1",))
    assert read_for_task(_rows([[0], [0, 1]]), spec, DEFAULTS).targets == (("0",), ("0", "1"))
    assert not caplog.messages
    assert read_for_task(_rows([[0, 0], [0, 1]]), spec, DEFAULTS).targets == ((), ("1",))
    assert "in the order of the task's labels: 0, 1." in caplog.text
    spec = task_spec("multi_label", labels=("a", "b", "c", "d"))
    with pytest.raises(DataError, match="one value per label"):
        read_for_task(_rows(ROWS), spec, DEFAULTS)
