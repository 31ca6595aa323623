"""Biases of tags: fewer entities begin, or they continue longer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adapterhub.model.heads.heads import RowLogits
from adapterhub.model.heads.spans import TaggedText
from adapterhub.specs import TaskSpec
from adapterhub.training.data.dataset import Dataset, read_for_task
from adapterhub.training.evaluation.calibration import (
    TagBias,
    TunedHead,
    best_tag_bias,
    tune_tag_bias,
)
from adapterhub.training.options import TrainingOptions
from tests.builders import task_spec

LABELS = ("O", "B-place", "I-place")
WORDS = ["from", "new", "york", "to", "york"]
TAGS = ["O", "B-place", "I-place", "O", "B-place"]


@pytest.fixture
def spec() -> TaskSpec:
    return task_spec("tagging", labels=LABELS)


@pytest.fixture
def rows(spec: TaskSpec) -> Dataset:
    records = [{"tokens": WORDS, "tags": TAGS}] * 20
    return read_for_task(records, spec, TrainingOptions())


def logits_for(rows: Dataset, likely: float) -> RowLogits:
    """Returns logits by which the second word of an entity is `likely` to go on."""
    text = rows.inputs[0][0]
    starts = [text.index(word, sum(map(len, WORDS[:i])) + i) for i, word in enumerate(WORDS)]
    offsets = [(start, start + len(w)) for start, w in zip(starts, WORDS, strict=True)]
    values = np.array([[4, 0, 0], [0, 4, 0], [4, 0, likely], [4, 0, 0], [0, 4, 0]], np.float32)
    return RowLogits((values,) * len(rows), (TaggedText(text, offsets),) * len(rows))


def test_entities_that_end_too_early_go_on(spec: TaskSpec, rows: Dataset) -> None:
    logits = logits_for(rows, 3.2)
    tensors = {"head.bias": torch.zeros(3), "head.weight": torch.ones(3, 2)}
    found = tune_tag_bias(TunedHead(spec, tensors, logits), rows, tolerance=0.5)
    assert found is not None
    bias = found.tensors["head.bias"]
    assert bias[0] == 0
    assert bias[2] - bias[0] > 0.8
    assert found.tensors["head.weight"] is tensors["head.weight"]
    for before, after in zip(logits.values, found.logits.values, strict=True):
        assert np.allclose(after - before, bias.numpy())
    assert found.logits.texts == logits.texts
    assert "span_f1 1.0000 instead of 0.5000" in found.notes[-1]
    assert torch.equal(tensors["head.bias"], torch.zeros(3))


def test_what_is_right_stays_as_it_is(spec: TaskSpec, rows: Dataset) -> None:
    tensors = {"head.bias": torch.zeros(3)}
    correct = TunedHead(spec, tensors, logits_for(rows, 6.0))
    assert tune_tag_bias(correct, rows, tolerance=0.5) is None
    # What is gained has to be more than the tolerance.
    too_short = TunedHead(spec, tensors, logits_for(rows, 3.2))
    assert tune_tag_bias(too_short, rows, tolerance=60) is None


def test_the_best_balance_is_found_one_number_after_the_other() -> None:
    def value(way: TagBias) -> float:
        return -((way.inside - 1.0) ** 2) - (way.begin + 0.5) ** 2

    assert best_tag_bias(value) == TagBias(begin=-0.5, inside=1.0)
    assert best_tag_bias(lambda way: 1.0) == TagBias()
    assert TagBias(-0.5, 1.0).per_label(LABELS).tolist() == [0.0, -0.5, 1.0]
