"""Judged answers -> the minimum of confidence, and what is measured of it on rows behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adapterhub.specs import RiskPoint
from adapterhub.training.evaluation.abstention.judged import Given, Judged, Numbers, risk_point
from adapterhub.training.evaluation.metrics import significant

_FOLDS = 10
_POINTS = 20
FEWEST_ANSWERS = 20
"""A share of right answers among fewer is mostly chance."""


@dataclass(frozen=True, slots=True)
class Demands:
    """What a minimum of confidence is chosen for.

    Attributes:
        min_accuracy: The share of the answers given that is to be right; None for none.
        rejects_outside: Whether rows out of scope are to be rejected.
    """

    min_accuracy: float | None
    rejects_outside: bool

    def choose(self, judged: Judged) -> float:
        """Returns the lowest minimum that meets both, 0 for one that cannot be met."""
        least = 0.0
        if self.min_accuracy is not None:
            least = _accurate(judged, self.min_accuracy) or 0.0
        return max(least, _best_separation(judged)) if self.rejects_outside else least

    def is_met(self, judged: Judged) -> bool:
        """Returns whether any minimum has the accuracy that is demanded."""
        return self.min_accuracy is None or _accurate(judged, self.min_accuracy) is not None


def _minimums(scores: Numbers) -> Numbers:
    """Returns 0 and, ascending, a number between each two scores that differ."""
    distinct = np.unique(scores)
    middles = [significant(value) for value in (distinct[1:] + distinct[:-1]) / 2]
    return np.concatenate([[0.0], middles])


def _accurate(judged: Judged, wanted: float) -> float | None:
    """Returns the lowest minimum over which the share that is right is as wanted, or None."""
    order = np.argsort(judged.scores, kind="stable")
    scores, right = judged.scores[order], judged.right[order]
    least = _minimums(scores)
    places = np.searchsorted(scores, least)
    given = len(scores) - places
    hits = right.sum() - np.concatenate([[0], np.cumsum(right)])[places]
    enough = given >= min(FEWEST_ANSWERS, max(1, len(scores)))
    good = np.flatnonzero(enough & (hits >= wanted * given - 1e-9))
    return float(least[good[0]]) if len(good) else None


def _best_separation(judged: Judged) -> float:
    """Returns the lowest minimum with the largest mean of coverage and rejected rows."""
    scores, outside = np.sort(judged.scores), np.sort(judged.outside)
    if not len(scores) or not len(outside):
        return 0.0
    least = _minimums(np.concatenate([scores, outside]))
    coverage = 1 - np.searchsorted(scores, least) / len(scores)
    rejected = np.searchsorted(outside, least) / len(outside)
    return float(least[np.argmax(coverage + rejected)])


def crossed_point(judged: Judged, demands: Demands, *, seed: int) -> RiskPoint:
    """Returns the chosen minimum with what is expected of it, by cross-fitting on its own rows.

    Each row is measured at the minimum that the rows of the other folds chose. To the error of the
    measurement comes that of the choice: the variance of the jackknife over folds.
    """
    draw = np.random.default_rng(seed)
    of_rows = draw.permutation(judged.count) % _FOLDS
    of_outside = draw.permutation(len(judged.outside)) % _FOLDS
    answers = np.zeros(len(judged.rows), np.bool_)
    rejected = np.zeros(len(judged.outside), np.bool_)
    others: list[RiskPoint] = []
    for fold in range(_FOLDS):
        least = demands.choose(judged.take(of_rows != fold, of_outside != fold))
        given = Given.over(judged, least)
        own, own_outside = of_rows[judged.rows] == fold, of_outside == fold
        answers[own], rejected[own_outside] = given.answers[own], given.rejected[own_outside]
        others.append(risk_point(judged, given, least))
    point = risk_point(judged, Given(answers, rejected), demands.choose(judged))
    changes = {
        f"{name}_error": _with_choice(point, others, name)
        for name in ("coverage", "accuracy", "rejected")
    }
    return point.model_copy(update=changes)


def _with_choice(point: RiskPoint, others: list[RiskPoint], name: str) -> float | None:
    """Returns the error of a figure with that of the choice of the minimum."""
    error: float | None = getattr(point, f"{name}_error")
    if error is None:
        return None
    values = np.array([getattr(one, name) for one in others])
    spread = (len(values) - 1) * values.var()
    return significant(min(1.0, float((error**2 + spread) ** 0.5)))


def table_of(choosing: Judged, measuring: Judged) -> tuple[RiskPoint, ...]:
    """Returns what minimums cost that leave about equal shares of the answers.

    Args:
        choosing: Whose probabilities give the minimums; which are right has no part in that.
        measuring: The answers that are measured.
    """
    if not len(choosing.scores):
        return ()
    shares = np.arange(1, _POINTS) / _POINTS
    cuts = np.unique(np.quantile(choosing.scores, shares, method="lower"))
    kept = cuts[cuts > choosing.scores.min()]
    least = np.unique([0.0, *map(significant, kept)])
    return tuple(
        risk_point(measuring, Given.over(measuring, value), value) for value in least.tolist()
    )
