"""The schema of abstention: under which confidence a task does not answer, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from adapterhub.decoding import AnswerOptions
from adapterhub.diagnostics import Metric, Share, Use, figure_text, rows_text
from adapterhub.errors import UsageError
from adapterhub.kinds import KindRow
from adapterhub.schema import Spec
from adapterhub.specs.names import Label

ABSTENTION_SCHEMA = 4
"""The oldest schema of head files that can hold it."""
MOST_POINTS = 25

_Error = Annotated[float, Field(ge=0, le=1)]


class RiskPoint(Spec):
    """What a minimum of confidence costs and gains.

    What is counted are the answers that the task would give without one: the rows that have one of
    its labels, or the labels, spans or answers that it predicts; see `KindRow.withheld`.

    Attributes:
        min_confidence: The probability from which on an answer is given.
        coverage: The share of the answers that are given.
        coverage_error: Its standard error.
        accuracy: The share of those given that are right; 1 where none is given.
        accuracy_error: Its standard error.
        rejected: The share of the rows out of scope without an answer; None where there are none.
        rejected_error: Its standard error.
    """

    min_confidence: Share
    coverage: Share
    coverage_error: _Error
    accuracy: Share
    accuracy_error: _Error
    rejected: Share | None = None
    rejected_error: _Error | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> RiskPoint:
        if (self.rejected is None) != (self.rejected_error is None):
            raise ValueError("rejected and its error belong together")
        return self


class Abstention(Spec):
    """When a task does not answer, chosen on labelled rows, with figures of rows behind the choice.

    Attributes:
        chosen: The minimum of confidence, with what was measured there.
        min_accuracy: The share of right answers that was asked for; None for none.
        none_label: The label of rows that belong to none of the task's labels, in labelled rows;
            None where there were none.
        split: The split that was measured on.
        rows: Number of its rows, without those out of scope.
        outside: Number of rows out of scope that were measured.
        used_for: What the rows had done before. Where they are those that chose the minimum, each
            was measured with the choice of other rows.
        auroc: The probability that a row in scope has more confidence than one out of scope; None
            where there are none.
        table: Other minimums, ascending, which nothing was chosen by.
    """

    chosen: RiskPoint
    min_accuracy: Share | None = None
    none_label: Label | None = None
    split: str = Field(min_length=1, max_length=64)
    rows: int = Field(ge=1)
    outside: int = Field(default=0, ge=0)
    used_for: tuple[Use, ...] = ()
    auroc: Share | None = None
    table: tuple[RiskPoint, ...] = Field(default=(), max_length=MOST_POINTS)

    @property
    def min_confidence(self) -> float:
        """Returns the probability under which the task does not answer."""
        return self.chosen.min_confidence

    @model_validator(mode="after")
    def _is_consistent(self) -> Abstention:
        least = [point.min_confidence for point in self.table]
        if least != sorted(least):
            raise ValueError("the minimums of the table are not ascending")
        if self.none_label is None and self.outside:
            raise ValueError("rows out of scope have a label, none_label")
        if any((one.rejected is None) != (not self.outside) for one in (self.chosen, *self.table)):
            raise ValueError(f"rejected rows do not belong to {self.outside} rows out of scope")
        if (self.auroc is None) != (not self.outside):
            raise ValueError(f"auroc does not belong to {self.outside} rows out of scope")
        return self


RISK_COLUMNS = ("min_confidence", "coverage", "accuracy_given", "rejected")
"""What `risk_cells` has; the last one only where rows out of scope were measured."""


def risk_cells(point: RiskPoint) -> tuple[str, ...]:
    """Returns a point of a risk-coverage table for people, each share with its standard error."""
    shares = [
        _share(point.coverage, point.coverage_error),
        _share(point.accuracy, point.accuracy_error),
    ]
    if point.rejected is not None and point.rejected_error is not None:
        shares.append(_share(point.rejected, point.rejected_error))
    return (figure_text(point.min_confidence), *shares)


def _share(value: float, error: float) -> str:
    return f"{100 * value:.1f} % ± {100 * error:.1f}"


def abstention_lines(found: Abstention, withheld: str) -> tuple[str, ...]:
    """Returns when a task does not answer and what was measured of that, in words.

    Args:
        found: Of the task.
        withheld: What it withholds; see `KindRow`.
    """
    least, given, right, *rejected = risk_cells(found.chosen)
    wanted = f", chosen for {found.min_accuracy:g} right" if found.min_accuracy else ""
    when = f"Does not answer under a confidence of {least}"
    if not found.min_confidence:
        when = "Always answers: the minimum of confidence is 0"
    # Also with 0 some may be left out: each row was measured at the minimum that others chose.
    lines = [f"{when}{wanted}: {given} of the {withheld} remain, and {right} of these are right."]
    if rejected:
        lines.append(
            f"No answer for {rejected[0]} of {found.outside:,} rows out of scope "
            f"('{found.none_label}'); AUROC {figure_text(found.auroc or 0.0)}."
        )
    as_metric = Metric(
        name="coverage", value=found.chosen.coverage, split=found.split, rows=found.rows
    )
    crossed = ", each at the minimum that other rows chose" if found.used_for else ""
    lines.append(f"Measured on {rows_text(as_metric, found.used_for)}{crossed}.")
    return tuple(lines)


def check_confidence(answers: AnswerOptions, rows: Mapping[str, KindRow]) -> None:
    """Checks that a minimum of confidence has a task that it is for.

    Args:
        answers: What is wanted of the predictions.
        rows: The facts of each task's kind, by its name.

    Raises:
        UsageError: None of the tasks ever abstains.
    """
    if answers.min_confidence and rows and not any(row.withheld for row in rows.values()):
        kinds = ", ".join(f"'{name}' is {row.a_task}" for name, row in rows.items())
        raise UsageError(
            f"min_confidence is {answers.min_confidence:g}, but no task of this call has a "
            f"confidence that decides whether it answers: {kinds}. Leave it out."
        )
