"""Metrics of predictions, and how far they may be off by the draw of the measured rows.

Predictions become counts per row, so that a metric on any draw of the rows is a sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from adapterhub.specs import Kind, Spec
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.data.labels import Target, names_of
from adapterhub.training.data.tagging import Span
from adapterhub.training.data.words.trees import Arc
from adapterhub.training.evaluation.answers.overlap import (
    are_chinese,
    best_overlaps,
    character_f1,
    word_f1,
)
from adapterhub.training.evaluation.attachment import attachment_figures
from adapterhub.training.evaluation.metrics import significant

Counts = npt.NDArray[Any]
"""Per row (N, 3, K) of true positives, false positives and false negatives of each of K labels (of
spans and of trees K is 1); for regression (N, 2) of prediction and truth; for choices and questions
(N, 1) of what the row adds to the mean."""
Draws = npt.NDArray[np.float64]
"""(B, N), how often each row is in each draw."""

Metric = Callable[[Counts, Draws], npt.NDArray[np.float64]]
"""Returns the metric on each of B draws of rows: (B,)."""

DRAWS = 2_000
"""Bootstrap draws of an interval."""

_WITHIN = (2.5, 97.5)  # percentiles of a 95 % interval


class Figure(Spec):
    """A metric, or the difference of two.

    Attributes:
        value: On all rows.
        low: Lower end of its 95 % interval over draws of the rows.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """Returns 1 or -1 where the whole interval has this sign, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    def negated(self) -> Figure:
        """Returns the difference the other way round."""
        return Figure(value=-self.value, low=-self.high, high=-self.low)


class Figures(Spec):
    """The metrics of several systems on the same rows.

    Attributes:
        of: The metric of each system.
        differences: The metric of a system minus that of each one before it.
    """

    of: Mapping[str, Figure]
    differences: Mapping[str, Mapping[str, Figure]]

    def minus(self, one: str, other: str) -> Figure | None:
        """Returns the metric of a system minus that of another; None where one is missing."""
        if not self.of.keys() >= {one, other}:
            return None
        found = self.differences[one].get(other)
        return self.differences[other][one].negated() if found is None else found

    def among_best(self, name: str) -> bool:
        """Returns whether a system is the best, or not clearly worse than the best."""
        best = max(self.of, key=lambda one: self.of[one].value)
        behind = None if best == name else self.minus(best, name)
        return behind is None or behind.sign <= 0


def compare(predicted: Mapping[str, Sequence[Target]], dataset: Dataset) -> Figures:
    """Returns the metrics of the predictions of systems, one per row of a data set.

    Args:
        predicted: The predictions by system.
        dataset: The rows.
    """
    counts = {name: count_hits(found, dataset) for name, found in predicted.items()}
    return compare_counts(counts, _METRICS.get(dataset.kind, _f1_of))


def compare_counts(counts: Mapping[str, Counts], metric: Metric) -> Figures:
    """Returns the metrics of systems with intervals, from counts per row.

    Args:
        counts: By system, of the same rows.
        metric: Returns the metric of counts on each draw of the rows.
    """
    rows = len(next(iter(counts.values())))
    draws, all_rows = _draw_rows(rows), np.ones((1, rows))
    values = {name: float(metric(found, all_rows)[0]) for name, found in counts.items()}
    drawn = {name: metric(found, draws) for name, found in counts.items()}
    names = list(values)
    # The draws are the same, so what is hard for all systems does not widen the intervals.
    differences = {
        one: {
            other: _figure(values[one] - values[other], drawn[one] - drawn[other])
            for other in names[:place]
        }
        for place, one in enumerate(names)
    }
    of = {name: _figure(value, drawn[name]) for name, value in values.items()}
    return Figures(of=of, differences=differences)


def count_hits(predicted: Sequence[Target], dataset: Dataset) -> Counts:
    """Returns the counts of predictions, one per row of a data set, see `Counts`."""
    return _COUNTED[dataset.kind](predicted, dataset)


def metric_of(kind: Kind, counts: Counts) -> float:
    """Returns what the page compares: macro-F1 of labels, F1 of spans, LAS of trees, and so on."""
    return float(_METRICS.get(kind, _f1_of)(counts, np.ones((1, len(counts))))[0])


def mean_of(counts: Counts, draws: Draws) -> npt.NDArray[np.float64]:
    """Returns the mean of (N, 1) over each draw of rows: (B,)."""
    return np.asarray(draws @ counts[:, 0] / draws.sum(1), np.float64)


def _correlation_of(counts: Counts, draws: Draws) -> npt.NDArray[np.float64]:
    return np.array([_spearman(np.repeat(counts, draw.astype(int), 0)) for draw in draws])


def _f1_of(counts: Counts, draws: Draws) -> npt.NDArray[np.float64]:
    sums = (draws @ counts.reshape(len(counts), -1)).reshape(len(draws), 3, -1)
    right, false, missed = sums[:, 0], sums[:, 1], sums[:, 2]
    # As in scikit-learn, labels that are neither true nor predicted do not count.
    seen = right + false + missed > 0
    f1 = 2 * right / np.where(seen, 2 * right + false + missed, 1)
    return np.asarray(f1.sum(1) / np.maximum(seen.sum(1), 1), np.float64)


def _draw_rows(rows: int) -> Draws:
    """Returns bootstrap draws of so many rows, the same in every run."""
    found = np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), size=DRAWS)
    return np.asarray(found, np.float64)


def _figure(value: float, drawn: npt.NDArray[np.float64]) -> Figure:
    low, high = np.percentile(drawn, _WITHIN)
    return Figure(value=significant(value), low=significant(low), high=significant(high))


def _spearman(pairs: Counts) -> float:
    flat = np.ptp(pairs, axis=0).min() == 0  # a constant has no correlation
    return 0.0 if flat else float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)


def _label_counts(predicted: Sequence[Target], dataset: Dataset) -> Counts:
    index = {label: place for place, label in enumerate(dataset.labels)}
    found, true = (_one_hot(targets, index) for targets in (predicted, dataset.targets))
    return np.stack([found & true, found & ~true, ~found & true], 1).astype(np.float64)


def _one_hot(targets: Sequence[Target], index: dict[str, int]) -> npt.NDArray[np.bool_]:
    matrix = np.zeros((len(targets), len(index)), np.bool_)
    for row, target in enumerate(targets):
        matrix[row, [index[name] for name in names_of(target)]] = True
    return matrix


def _number_counts(predicted: Sequence[Target], dataset: Dataset) -> Counts:
    return np.column_stack([np.array(predicted, np.float64), np.array(dataset.targets, np.float64)])


def _span_counts(predicted: Sequence[Target], dataset: Dataset) -> Counts:
    rows = []
    for found, true in zip(predicted, dataset.spans(), strict=True):
        spans, known = set(cast("Sequence[Span]", found)), set(true)
        right = len(spans & known)
        rows.append((right, len(spans) - right, len(known) - right))
    return np.array(rows, np.float64)[..., None]


def _tree_counts(predicted: Sequence[Target], dataset: Dataset) -> Counts:
    rows = []
    for found, true in zip(predicted, dataset.trees(), strict=True):
        words = cast("Sequence[Arc]", found)
        # LAS is the F1 of words, so that it says how many are right.
        las = attachment_figures([words], [true])["las"]
        right = round(las * (len(words) + len(true)) / 2)
        rows.append((right, len(words) - right, len(true) - right))
    return np.array(rows, np.float64)[..., None]


def _choice_counts(predicted: Sequence[Target], dataset: Dataset) -> Counts:
    pairs = zip(predicted, dataset.targets, strict=True)
    return np.array([[found == true] for found, true in pairs], np.float64)


def _answer_counts(predicted: Sequence[Target], dataset: Dataset) -> Counts:
    truth = dataset.answer_texts()
    given = replace(dataset, targets=tuple(predicted)).answer_texts()
    overlap = character_f1 if are_chinese(truth) else word_f1
    return best_overlaps([row[0] if row else "" for row in given], truth, overlap)[:, None]


_COUNTED: Mapping[Kind, Callable[[Sequence[Target], Dataset], Counts]] = {
    "single_label": _label_counts,
    "multi_label": _label_counts,
    "regression": _number_counts,
    "tagging": _span_counts,
    "parsing": _tree_counts,
    "multiple_choice": _choice_counts,
    "question_answering": _answer_counts,
}
_METRICS: Mapping[Kind, Metric] = {
    "regression": _correlation_of,
    "multiple_choice": mean_of,
    "question_answering": mean_of,
}
"""Of the other kinds it is an F1."""
