"""Where a task is wrong, counted from its logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adapterhub.diagnostics import MOST_BINS, MOST_LABELS, MOST_PAIRS
from adapterhub.model.heads.heads import RowLogits
from adapterhub.specs import Calibration
from adapterhub.training.data.dataset import Dataset, read_for_task
from adapterhub.training.evaluation.measure import reliability, worst_pairs
from adapterhub.training.evaluation.metrics import calibration_error
from adapterhub.training.kinds.table import compare
from adapterhub.training.options import TrainingOptions
from tests.builders import task_spec


def dataset(labels: list[Any], known: tuple[str, ...], kind: Any = "single_label") -> Dataset:
    target = "labels" if kind == "multi_label" else "label"
    rows = [{"text": f"text {n}", target: label} for n, label in enumerate(labels)]
    return read_for_task(rows, task_spec(kind, labels=known), TrainingOptions())


def test_confusions_are_counted_by_true_and_given_label() -> None:
    spec = task_spec(labels=("a", "b"), calibration=Calibration(temperature=2.0))
    logits = np.array([[2, 0], [0, 2], [0, 4], [6, 0]], np.float32)
    found = compare(spec, RowLogits(logits), dataset(["a", "a", "b", "b"], ("a", "b"))).diagnostics
    assert found is not None
    assert found.confusion == ((1, 1), (1, 1))
    assert (found.rows, found.split, found.confused) == (4, "validation", ())
    assert sum(part.answers for part in found.reliability) == 4
    scores = [part.score for part in found.reliability]
    assert scores == sorted(scores)
    assert scores[0] == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-5)


def test_many_labels_keep_their_worst_pairs_alone() -> None:
    known = tuple(f"l{number}" for number in range(MOST_LABELS + 1))
    truth = ["l0"] * 5 + ["l1"] * 3 + ["l2"]
    logits = np.zeros((9, len(known)), np.float32)
    logits[np.arange(9), [7] * 5 + [8] * 3 + [2]] = 9
    found = compare(task_spec(labels=known), RowLogits(logits), dataset(truth, known)).diagnostics
    assert found is not None
    assert found.confusion == ()
    assert [(pair.true, pair.given, pair.rows) for pair in found.confused] == [(0, 7, 5), (1, 8, 3)]


def test_label_sets_have_reliability_alone() -> None:
    spec = task_spec("multi_label")
    rows = dataset([["science"], ["sport", "science"]], spec.labels, "multi_label")
    found = compare(spec, RowLogits(np.zeros((2, 3), np.float32)), rows).diagnostics
    assert found is not None
    assert [(part.score, part.hits, part.answers) for part in found.reliability] == [(0.5, 0.5, 6)]
    assert (found.confusion, found.confused) == ((), ())


def test_numbers_and_spans_have_none() -> None:
    rows = dataset([1.0, 2.0], (), "regression")
    logits = RowLogits(np.zeros((2, 1), np.float32))
    assert compare(task_spec("regression"), logits, rows).diagnostics is None
    tagged = Dataset("none", "tagging", ("text",), (), (), ("O", "B-PER", "I-PER"))
    assert compare(task_spec("tagging"), RowLogits(()), tagged).diagnostics is None


def test_reliability_adds_up_to_the_calibration_error() -> None:
    random = np.random.default_rng(0)
    scores = random.random(500).astype(np.float32)
    hits = random.random(500) < scores**2
    bins = reliability(scores, hits)
    assert len(bins) <= MOST_BINS
    error = sum(abs(part.score - part.hits) * part.answers for part in bins) / 500
    assert error == pytest.approx(calibration_error(scores, hits), abs=1e-5)


def test_worst_pairs_are_few_and_stable() -> None:
    counts = np.ones((60, 60), np.int64)
    counts[5, 6] = 9
    pairs = worst_pairs(counts)
    assert len(pairs) == MOST_PAIRS
    assert (pairs[0].true, pairs[0].given, pairs[1].true, pairs[1].given) == (5, 6, 0, 1)
