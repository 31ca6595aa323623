"""The columns of the training, as `eval` finds them again without options."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from adapterhub.errors import DataError
from adapterhub.specs import Kind, Role, TaskSpec, TrainingRecord
from adapterhub.training.data.dataset import read_for_task
from adapterhub.training.options import TrainingOptions
from tests.builders import task_spec

RECORD: dict[str, Any] = {
    "dataset": "d",
    "data_digest": "0" * 64,
    "rows": 9,
    "seed": 0,
    "candidates": 1,
    "epochs": 1,
    "learning_rate": 0.1,
    "weight_decay": 0.1,
}
Rows = Sequence[Mapping[str, Any]]


def _spec(kind: Kind, columns: Mapping[Role, str], **changes: Any) -> TaskSpec:
    return task_spec(kind, training=TrainingRecord(**RECORD, columns=columns), **changes)


def _write(path: Path, rows: Rows) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(f"{json.dumps(row)}\n" for row in rows)
            return path
        writer = csv.DictWriter(file, rows[0], delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        cells = [
            {k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows
        ]
        writer.writerows(cells)
    return path


TEXTS = _spec("single_label", {"text": "review", "target": "mood"}, labels=("bad", "good"))
PAIRS = _spec(
    "single_label",
    {"text": "premise", "pair": "guess", "target": "gold"},
    labels=("no", "yes"),
    fields=("text", "text_pair"),
)
SETS = _spec("multi_label", {"text": "text", "target": "topics"}, labels=("a", "b"))
WORDS = _spec(
    "tagging",
    {"tokens": "words", "target": "ner"},
    labels=("O", "B-LOC", "I-LOC", "E-LOC", "S-LOC"),
)
STARS = _spec("regression", {"text": "text", "target": "stars"}, value_range=(1, 5))

CASES = [
    (TEXTS, {"review": "fine", "mood": "good"}, ("fine",), "good"),
    (PAIRS, {"premise": "p", "guess": "g", "gold": "yes"}, ("p", "g"), "yes"),
    (SETS, {"text": "x", "topics": ["b", "a"]}, ("x",), ("b", "a")),
    (WORDS, {"words": ["in", "Oslo"], "ner": ["O", "B-LOC"]}, ("in Oslo",), None),
    (STARS, {"text": "x", "stars": 3.5}, ("x",), 3.5),
]
USUAL = {
    "text": "another text",
    "text_pair": "another pair",
    "label": "another label",
    "labels": ["another"],
    "score": 1.0,
    "tokens": ["another"],
    "tags": ["O"],
}
"""Columns of the usual names, of something else."""


@pytest.mark.parametrize("form", ["jsonl", "csv", "tsv", "rows"])
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(("spec", "row", "texts", "target"), CASES)
def test_the_columns_of_the_training_are_read(
    tmp_path: Path, spec: TaskSpec, row: Any, texts: Any, target: Any, beside: bool, form: str
) -> None:
    rows = [{**USUAL, **row} if beside else row] * 2
    data = rows if form == "rows" else _write(tmp_path / f"data.{form}", rows)
    found = read_for_task(data, spec, TrainingOptions())
    assert spec.training is not None
    assert found.roles == spec.training.columns
    assert found.inputs == (texts, texts)
    if target is not None:
        assert found.targets == (target, target)
    else:
        assert [(span.start, span.end) for span in found.spans()[0]] == [(3, 7)]


@pytest.mark.parametrize(("spec", "row", "texts", "target"), CASES[:2])
def test_usual_names_serve_where_the_others_are_not_there(
    spec: TaskSpec, row: Any, texts: Any, target: Any
) -> None:
    usual = {"text": texts[0], "label": target}
    usual |= {"text_pair": texts[1]} if texts[1:] else {}
    found = read_for_task([usual] * 2, spec, TrainingOptions())
    assert (found.inputs[0], found.targets[0]) == (texts, target)


def test_options_come_before_the_training() -> None:
    rows = [{"review": "a", "title": "b", "mood": "good", "verdict": "bad"}] * 2
    found = read_for_task(rows, TEXTS, TrainingOptions(text="title", target="verdict"))
    assert (found.inputs[0], found.targets[0]) == (("b",), "bad")
    found = read_for_task(rows, TEXTS, TrainingOptions(target="verdict"))
    assert (found.inputs[0], found.targets[0]) == (("a",), "bad")


def test_a_row_without_the_column_is_named_although_it_is_the_first(tmp_path: Path) -> None:
    rows = [{"text": "x", "mood": "bad"}, {"review": "a", "text": "y", "mood": "good"}]
    with pytest.raises(DataError, match="there is no column 'review'") as refused:
        read_for_task(_write(tmp_path / "rows.jsonl", rows), TEXTS, TrainingOptions())
    assert refused.value.line == 1
