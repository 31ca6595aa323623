"""Predictions of a task beside the true targets: more than a metric says, and what plots draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapterhub.diagnostics import Diagnostics
from adapterhub.model.heads.heads import Array
from adapterhub.plots.panels import Bars, Panel, Scatter, panels_of
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.data.kinds.reader import Numbers
from adapterhub.training.data.tagging import Span
from adapterhub.training.evaluation.metrics import significant

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """How one label, or one type of entities, is found.

    Attributes:
        label: The label.
        precision: Fraction of its predictions that are right; 0 where there are none.
        recall: Fraction of the true ones that are predicted; 0 where there are none.
        f1: Their harmonic mean.
        count: How often it is true.
        predicted: How often it is predicted.
    """

    label: str
    precision: float
    recall: float
    f1: float
    count: int
    predicted: int


@dataclass(frozen=True, slots=True)
class NumberFigures:
    """How well one of several numbers is predicted.

    Attributes:
        label: Its name.
        spearman: Correlation of ranks; 0 where all values are equal.
        pearson: Correlation; 0 likewise.
        mean_absolute_error: In the unit of the number.
        count: Rows that have it.
    """

    label: str
    spearman: float
    pearson: float
    mean_absolute_error: float
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Predictions compared with the true targets of the same rows.

    Attributes:
        split: Name of the rows.
        rows: Their number.
        diagnostics: Confusion matrix and reliability; None for a kind without either.
        labels: Figures of each label in the order of the task, or of each type of entities or
            relation by name; empty for regression.
        numbers: Figures of each of several numbers in the order of the task; else empty.
        true: (N,) true values of a regression task, else None.
        predicted: (N,) its predicted values, else None.
    """

    split: str
    rows: int
    diagnostics: Diagnostics | None = None
    labels: tuple[LabelFigures, ...] = ()
    numbers: tuple[NumberFigures, ...] = ()
    true: Array | None = None
    predicted: Array | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the labels, or types, that have figures."""
        return tuple(one.label for one in self.labels)

    def panels(self, labels: tuple[str, ...]) -> list[Panel]:
        """Returns what can be drawn.

        Args:
            labels: All labels of the task.
        """
        panels, title = panels_of(self.diagnostics, labels), f"{self.rows} {self.split} rows"
        if self.true is not None and self.predicted is not None:
            panels.insert(0, Scatter(self.true, self.predicted, title))
        if self.numbers:
            # Bars begin at 0: what goes the wrong way has none.
            correlations: dict[str, list[float | None]] = {
                "Spearman": [max(one.spearman, 0.0) for one in self.numbers],
                "Pearson": [max(one.pearson, 0.0) for one in self.numbers],
            }
            names = tuple(one.label for one in self.numbers)
            panels.insert(0, Bars(correlations, names, title))
        # A confusion matrix shows the same, and more.
        if self.labels and not (self.diagnostics and self.diagnostics.confusion):
            # Of a label in neither the rows nor the predictions nothing is known.
            seen = [one if one.count or one.predicted else None for one in self.labels]
            values = {
                "F1": [None if one is None else one.f1 for one in seen],
                "precision": [None if one is None else one.precision for one in seen],
                "recall": [None if one is None else one.recall for one in seen],
            }
            if any(seen):
                panels.insert(0, Bars(values, self.names, title))
        return panels


def compare_spans(
    found: Sequence[Sequence[Span]], dataset: Dataset, *, split: str = "validation"
) -> Comparison:
    """Returns the comparison of predicted spans with the true ones; only whole spans are right."""
    true, predicted, right = Counter[str](), Counter[str](), Counter[str]()
    for spans, truth in zip(found, dataset.spans(), strict=True):
        true.update(span.entity for span in truth)
        predicted.update(span.entity for span in spans)
        right.update(span.entity for span in set(spans) & set(truth))
    return Comparison(split, len(dataset), labels=counted_figures(true, predicted, right))


def compare_sets(
    labels: Sequence[str], true: Flags, predicted: Flags, diagnostics: Diagnostics
) -> Comparison:
    """Returns the comparison of the labels of whole texts.

    Args:
        labels: The K labels of the task.
        true: (N, K) which labels each row has.
        predicted: (N, K) which are predicted.
        diagnostics: Of the same rows.
    """
    counts = [part.sum(0).tolist() for part in (true, predicted, true & predicted)]
    figures = tuple(_figures(label, *own) for label, *own in zip(labels, *counts, strict=True))
    return Comparison(diagnostics.split, len(true), diagnostics, figures)


def compare_labels(
    labels: Sequence[str], true: Numbers, predicted: Numbers, diagnostics: Diagnostics
) -> Comparison:
    """Returns the comparison of one label per row; see `compare_sets`.

    Args:
        labels: The K labels of the task.
        true: (N,) label indices.
        predicted: The same of the predictions.
        diagnostics: Of the same rows.
    """
    places = np.arange(len(labels))
    return compare_sets(labels, true[:, None] == places, predicted[:, None] == places, diagnostics)


def counted_figures(
    true: Counter[str], predicted: Counter[str], right: Counter[str]
) -> tuple[LabelFigures, ...]:
    """Returns the figures of names that are true or predicted, by how often they are and both."""
    names = dict.fromkeys([*sorted(true), *sorted(predicted)])
    return tuple(_figures(name, true[name], predicted[name], right[name]) for name in names)


def _figures(label: str, true: int, predicted: int, right: int) -> LabelFigures:
    return LabelFigures(
        label=label,
        precision=significant(right / predicted if predicted else 0),
        recall=significant(right / true if true else 0),
        f1=significant(2 * right / (true + predicted) if true + predicted else 0),
        count=true,
        predicted=predicted,
    )
