"""Where a task is wrong: counts of confusions and reliability, small enough for a head file."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_LABELS = 50
"""Up to so many labels the whole confusion matrix is kept, above only the worst pairs."""
MOST_PAIRS = 20
MOST_BINS = 20

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    # As specs.Spec, which is made with the types of this module.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class ReliabilityBin(_Frozen):
    """Answers with about the same score.

    Attributes:
        score: Their mean score.
        hits: Share of them that is right.
        answers: How many they are.
    """

    score: Share
    hits: Share
    answers: int = Field(ge=1)


class ConfusedPair(_Frozen):
    """A label that was given where another is true.

    Attributes:
        true: Index of the true label.
        given: Index of the label that was given.
        rows: How often.
    """

    true: Count
    given: Count
    rows: int = Field(ge=1)


class Diagnostics(_Frozen):
    """What a task does on the rows of one split.

    Attributes:
        split: The rows, for instance `validation`.
        rows: How many they are.
        reliability: Bins by ascending score; empty where scores are no probabilities.
        confusion: Rows by true label and given label, (K, K); only up to MOST_LABELS labels.
        confused: The worst pairs, most frequent first, where there are more labels.
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
            raise ValueError("confusion and confused say the same twice")
        return self

    def fits(self, labels: int) -> bool:
        """Returns whether every label that is named is one of the first `labels`."""
        pairs = max((max(pair.true, pair.given) for pair in self.confused), default=-1)
        return len(self.confusion) in (0, labels) and pairs < labels
