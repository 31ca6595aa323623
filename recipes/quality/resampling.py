"""Metrics of predictions, and how far they may be off by the draw of the measured rows.

Predictions become counts per row, so that a metric on any draw of the rows is a sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from adapterhub.specs import Kind, Spec
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.data.labels import Target, names_of
from adapterhub.training.data.tagging import Span
from adapterhub.training.evaluation.metrics import significant

Counts = npt.NDArray[Any]
"""Per row (N, 3, K) of true positives, false positives and false negatives of each of K labels (of
spans K is 1); or for regression (N, 2) of prediction and truth."""
Draws = npt.NDArray[np.float64]
"""(B, N), how often each row is in each draw."""

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
    kind, draws = dataset.kind, _draw_rows(len(dataset))
    counts = {name: count_hits(found, dataset) for name, found in predicted.items()}
    values = {name: metric_of(kind, found) for name, found in counts.items()}
    drawn = {name: _metrics_of_draws(kind, found, draws) for name, found in counts.items()}
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
    truth = dataset.targets
    if dataset.kind == "regression":
        return np.column_stack([np.array(predicted, np.float64), np.array(truth, np.float64)])
    if dataset.kind == "tagging":
        pairs = zip(predicted, truth, strict=True)
        return np.array([_span_hits(found, true) for found, true in pairs], np.float64)[..., None]
    index = {label: place for place, label in enumerate(dataset.labels)}
    found, true = (_one_hot(targets, index) for targets in (predicted, truth))
    return np.stack([found & true, found & ~true, ~found & true], 1).astype(np.float64)


def metric_of(kind: Kind, counts: Counts) -> float:
    """Returns macro-F1 of labels, F1 of spans or Spearman's correlation, as the page compares."""
    return float(_metrics_of_draws(kind, counts, np.ones((1, len(counts))))[0])


def _metrics_of_draws(kind: Kind, counts: Counts, draws: Draws) -> npt.NDArray[np.float64]:
    """Returns the metric on each draw of rows: (B,)."""
    if kind == "regression":
        return np.array([_spearman(np.repeat(counts, draw.astype(int), 0)) for draw in draws])
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


def _span_hits(found: Target, true: Target) -> tuple[int, int, int]:
    spans, known = (set(cast("Sequence[Span]", one)) for one in (found, true))
    right = len(spans & known)
    return right, len(spans) - right, len(known) - right


def _one_hot(targets: Sequence[Target], index: dict[str, int]) -> npt.NDArray[np.bool_]:
    matrix = np.zeros((len(targets), len(index)), np.bool_)
    for row, target in enumerate(targets):
        matrix[row, [index[name] for name in names_of(target)]] = True
    return matrix
