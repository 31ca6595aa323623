"""The answers of a task with their probabilities and which are right, and what a minimum costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from adapterhub.specs import RiskPoint
from adapterhub.training.evaluation.extra import load_package
from adapterhub.training.evaluation.metrics import significant

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The M answers that a task gives for N rows where it never abstains.

    Attributes:
        scores: (M,) their probabilities.
        right: (M,) which are right.
        rows: (M,) int64, the row of each.
        count: The number N of rows.
        outside: (R,) probabilities of the answers for rows out of scope.
    """

    scores: Numbers
    right: Flags
    rows: npt.NDArray[np.int64]
    count: int
    outside: Numbers

    @classmethod
    def of(
        cls, rows: Sequence[Sequence[tuple[float, bool]]], outside: Sequence[float] = ()
    ) -> Judged:
        """Returns the answers of rows, each with its probability and whether it is right."""
        parts = [(score, right, row) for row, own in enumerate(rows) for score, right in own]
        scores, right, places = zip(*parts, strict=True) if parts else ((), (), ())
        return cls(
            np.array(scores, np.float64),
            np.array(right, np.bool_),
            np.array(places, np.int64),
            len(rows),
            np.array(outside, np.float64),
        )

    def take(self, rows: Flags, outside: Flags) -> Judged:
        """Returns the answers of some rows, (N,) and (R,); `count` stays."""
        own = rows[self.rows]
        return replace(
            self,
            scores=self.scores[own],
            right=self.right[own],
            rows=self.rows[own],
            outside=self.outside[outside],
        )

    @property
    def auroc(self) -> float | None:
        """Returns how probable it is that a row in scope has more confidence than one outside."""
        if not len(self.outside) or not len(self.scores):
            return None
        truth = np.repeat([1, 0], [len(self.scores), len(self.outside)])
        scores = np.concatenate([self.scores, self.outside])
        return significant(load_package("scikit-learn").roc_auc_score(truth, scores))


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Which answers are given, and for which rows out of scope there is none.

    Attributes:
        answers: (M,) whether each answer is given.
        rejected: (R,) whether there is no answer for each row out of scope.
    """

    answers: Flags
    rejected: Flags

    @classmethod
    def over(cls, judged: Judged, least: float) -> Given:
        """Returns those at or over a minimum of confidence."""
        return cls(judged.scores >= least, judged.outside < least)


def risk_point(judged: Judged, given: Given, least: float) -> RiskPoint:
    """Returns what a minimum of confidence costs and gains, with standard errors.

    Args:
        judged: All answers.
        given: Which of them are given.
        least: The minimum, to be named.
    """
    every = np.ones(len(judged.rows), np.bool_)
    # Without a minimum everything is answered, which is no estimate.
    is_bare = least == 0 and bool(given.answers.all()) and not given.rejected.any()
    coverage = (1.0, 0.0) if is_bare else _ratio(judged, given.answers, every)
    accuracy = _ratio(judged, given.answers & judged.right, given.answers)
    rejected = None
    if len(judged.outside):
        share = float(given.rejected.mean())
        error = _smoothed(int(given.rejected.sum()), len(given.rejected))
        rejected = share, 0.0 if is_bare else error
    return RiskPoint(
        min_confidence=least,
        coverage=significant(coverage[0]),
        coverage_error=significant(coverage[1]),
        accuracy=significant(accuracy[0]),
        accuracy_error=significant(accuracy[1]),
        rejected=None if rejected is None else significant(rejected[0]),
        rejected_error=None if rejected is None else significant(rejected[1]),
    )


def _ratio(judged: Judged, part: Flags, whole: Flags) -> tuple[float, float]:
    """Returns the share of answers in `whole` that are in `part`, and its standard error.

    The answers of one row are no independent draws: the error is that of a ratio of sums over rows
    (Cochran, "Sampling Techniques", 1977, section 2.11), and at least the binomial one.
    """
    total, hits = int(whole.sum()), int(part.sum())
    if not total:
        return 1.0, 1.0
    share = hits / total
    own = np.bincount(judged.rows, part, minlength=judged.count)
    of = np.bincount(judged.rows, whole, minlength=judged.count)
    rows = max(2, int((of > 0).sum()))
    spread = float(((own - share * of) ** 2).sum()) * rows / (rows - 1)
    return share, min(1.0, max(spread**0.5 / total, _smoothed(hits, total)))


def _smoothed(hits: int, total: int) -> float:
    """Returns the standard error of a share, not 0 where all or none are in it.

    With two more hits and two more misses, as in Agresti and Coull, "Approximate Is Better than
    'Exact' for Interval Estimation of Binomial Proportions", 1998.
    """
    share = (hits + 2) / (total + 4)
    return float((share * (1 - share) / (total + 4)) ** 0.5)
