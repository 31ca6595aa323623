"""Metrics from counts, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from adapterhub.model.heads.heads import Array
from adapterhub.specs import Kind
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.data.labels import Target
from adapterhub.training.data.tagging import Span
from adapterhub.training.evaluation.metrics import (
    label_figures,
    number_figures,
    set_figures,
    span_figures,
)
from recipes.quality.resampling import Figures, compare, count_hits, metric_of

_LABELS = ("a", "b", "c", "never")
_DRAW = np.random.default_rng(3)


def _dataset(kind: Kind, targets: tuple[Target, ...]) -> Dataset:
    inputs = tuple((f"some text {row}",) for row in range(len(targets)))
    return Dataset("new", kind, ("text",), inputs, targets, _LABELS)


def _metric(kind: Kind, predicted: tuple[Target, ...], truth: tuple[Target, ...]) -> float:
    return metric_of(kind, count_hits(predicted, _dataset(kind, truth)))


def test_macro_f1_of_labels_is_scikit_learns() -> None:
    truth, found = _DRAW.integers(0, 3, (2, 50))
    scores: Array = np.eye(4, dtype=np.float32)[found]
    names = [tuple(_LABELS[place] for place in row) for row in (found, truth)]
    expected = label_figures(scores, truth)["macro_f1"]
    assert _metric("single_label", *names) == pytest.approx(expected)


def test_macro_f1_of_label_sets_is_scikit_learns() -> None:
    truth, found = _DRAW.random((2, 50, 4)) < [0.5, 0.3, 0.1, 0]
    sets = [
        tuple(tuple(_LABELS[place] for place in np.flatnonzero(row)) for row in rows)
        for rows in (found, truth)
    ]
    expected = set_figures(found, found.astype(np.float32), truth.astype(np.float32))["macro_f1"]
    assert _metric("multi_label", *sets) == pytest.approx(expected)


def test_f1_of_spans_is_seqevals() -> None:
    def spans() -> tuple[Target, ...]:
        def row() -> tuple[Span, ...]:
            starts = np.flatnonzero(_DRAW.random(5) < 0.5) * 2
            return tuple(Span(int(at), int(at) + 2, _DRAW.choice(["x", "y"])) for at in starts)

        return tuple(row() for _ in range(40))

    found, truth = spans(), spans()
    expected = span_figures(found, _dataset("tagging", truth))["span_f1"]  # type: ignore[arg-type]
    assert 0 < expected < 1
    assert _metric("tagging", found, truth) == pytest.approx(expected)


def test_correlation_of_numbers_is_scipys() -> None:
    found, truth = _DRAW.integers(0, 5, (2, 40)).astype(np.float32)
    expected = number_figures(found, truth)["spearman"]
    numbers = (tuple(map(float, found)), tuple(map(float, truth)))
    assert _metric("regression", *numbers) == pytest.approx(expected)
    assert _metric("regression", (1.0,) * 40, numbers[1]) == 0.0


def test_intervals_follow_the_number_of_rows() -> None:
    few, many = (_compared(rows) for rows in (100, 400))
    widths = [one.of["good"].high - one.of["good"].low for one in (few, many)]
    # Two standard errors of 0.9 on 100 rows are 0.06 on each side, on 400 rows half of it.
    assert widths[0] == pytest.approx(0.12, abs=0.02)
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.15)
    assert many.of["good"].low < many.of["good"].value < many.of["good"].high


def test_differences_are_paired() -> None:
    found = _compared(100)
    assert found.of["good"].value > found.of["bad"].value
    ahead = found.minus("good", "bad")
    assert ahead is not None
    assert ahead.sign == 1
    assert found.minus("bad", "good") == ahead.negated()
    # Two systems with the same predictions differ by nothing on every draw.
    same = found.minus("equal", "good")
    assert same is not None
    assert (same.value, same.low, same.high, same.sign) == (0, 0, 0, 0)
    assert found.minus("good", "missing") is None
    best = [name for name in found.of if found.among_best(name)]
    assert best == ["good", "equal"]


def _compared(rows: int) -> Figures:
    """Returns figures of a system that is right in nine of ten rows, and of one in six of ten."""
    truth = tuple(_LABELS[row % 2] for row in range(rows))

    def right(share: int) -> tuple[Target, ...]:
        return tuple(
            label if row // 2 % 10 < share else _LABELS[1 - row % 2]
            for row, label in enumerate(truth)
        )

    predicted = {"bad": right(6), "good": right(9), "equal": right(9)}
    return compare(predicted, _dataset("single_label", truth))
