"""What was measured of a task, in its head file: metrics, confusion matrix, reliability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from adapterhub.schema import Spec

MOST_LABELS = 50
"""Up to this many labels the whole confusion matrix is stored, above only the worst pairs."""
MOST_PAIRS = 20
MOST_BINS = 20

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


Use = Literal["selection", "calibration"]
_USES: Mapping[Use, str] = {
    "selection": "chose the head",
    "calibration": "set its calibration",
}
_PLACES = 4


def figure_text(value: float, places: int = _PLACES) -> str:
    """Returns a figure for people; what is not 0 or 1 does not become that by rounding."""
    text = f"{value:.{places}f}"
    is_small = 0 < abs(value) < 10 ** (1 - places)
    return f"{value:.6g}" if is_small or (float(text) == 1 and value != 1) else text


class Metric(Spec):
    """A measured metric.

    Attributes:
        name: For instance `accuracy`, `macro_f1`, `mcc`, `spearman`, `span_f1`, `ece`.
        value: Its value; rates are in [0, 1].
        split: The split that it was measured on, for instance `test`.
        rows: Number of rows of the split.
        used_for: What the rows had done before they were measured on; None where it is not
            recorded.
        seen: Number of the rows that are also training rows, of the test set also validation rows,
            ignoring case, spaces and the order of pairs.
    """

    later = ("used_for", "seen")
    name: str = Field(min_length=1)
    value: float
    split: str = Field(min_length=1)
    rows: int = Field(ge=1)
    used_for: tuple[Use, ...] | None = None
    seen: int = Field(default=0, ge=0)


def rows_text(metric: Metric, used_for: tuple[Use, ...] | None) -> str:
    """Returns which rows a metric is of, and what these rows had done before.

    Args:
        metric: The metric.
        used_for: As in `Metric`, or as `TaskSpec.used_for` knows it.
    """
    rows = f"{metric.rows:,} {metric.split} row{'' if metric.rows == 1 else 's'}"
    if used_for is None:
        return f"{rows}, not recorded whether they had a part in training"
    if used_for:
        also = f", {metric.seen:,} of them training rows too" if metric.seen else ""
        return f"{rows} that also {' and '.join(_USES[use] for use in used_for)}{also}"
    if metric.seen:
        return f"{rows}, of which {metric.seen:,} are also training or validation rows"
    return f"{rows} that had no part in training, selection or calibration"


class ReliabilityBin(Spec):
    """Predictions with similar probability.

    Attributes:
        score: Their mean probability.
        hits: Their accuracy.
        answers: Their number.
    """

    score: Share
    hits: Share
    answers: int = Field(ge=1)


class ConfusedPair(Spec):
    """A label that was predicted instead of the true one.

    Attributes:
        true: Index of the true label.
        given: Index of the predicted label.
        rows: Number of such rows.
    """

    true: Count
    given: Count
    rows: int = Field(ge=1)


class Diagnostics(Spec):
    """The predictions of a task on one split, compared with the true labels.

    Attributes:
        split: The split, for instance `validation`.
        rows: Number of its rows.
        reliability: Bins by ascending probability; empty if scores are not probabilities.
        confusion: (K, K) row counts by true label and predicted label; up to MOST_LABELS labels.
        confused: With more labels, the most frequent confusions in descending order.
    """

    split: str = Field(min_length=1, max_length=64)
    rows: int = Field(ge=1)
    reliability: tuple[ReliabilityBin, ...] = Field(default=(), max_length=MOST_BINS)
    confusion: tuple[tuple[Count, ...], ...] = Field(default=(), max_length=MOST_LABELS)
    confused: tuple[ConfusedPair, ...] = Field(default=(), max_length=MOST_PAIRS)

    @model_validator(mode="after")
    def _is_square(self) -> Diagnostics:
        if any(len(row) != len(self.confusion) for row in self.confusion):
            raise ValueError("confusion is not square")
        if self.confusion and sum(map(sum, self.confusion)) != self.rows:
            raise ValueError(f"confusion does not count {self.rows} rows")
        if self.confusion and self.confused:
            raise ValueError("confusion and confused are both there; expected one of them")
        return self

    def fits(self, labels: int) -> bool:
        """Returns whether all label indices are valid for a task with `labels` labels."""
        pairs = max((max(pair.true, pair.given) for pair in self.confused), default=-1)
        return len(self.confusion) in (0, labels) and pairs < labels
