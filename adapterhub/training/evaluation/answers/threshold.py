"""The threshold above which a question counts as unanswerable, tuned on the validation set."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# How far the threshold stands from all rows where it parts none of them.
_MARGIN = 1.0


def best_threshold(
    gaps: npt.NDArray[np.floating],
    overlaps: npt.NDArray[np.floating],
    answerable: npt.NDArray[np.bool_],
) -> tuple[float, float]:
    """Returns the best threshold for the gap of the null score, and the mean overlap with it.

    A question has no answer where its gap is larger than the threshold. The mean is the largest
    possible one, as `find_best_thresh` of SQuAD 2.0's script finds it; the threshold stands midway
    between the rows that it parts, and rows of equal gap are on one side.

    Args:
        gaps: (N,) null score minus the score of the best answer.
        overlaps: (N,) overlap of the best answer with the true one, see `overlap`; what it is in
            rows without a true answer does not matter.
        answerable: (N,) whether there is a true answer.
    """
    order = np.argsort(gaps, kind="stable")
    ordered = np.asarray(gaps, np.float64)[order]
    # An answer that is given costs the point of a row that has none.
    gains = np.where(answerable, overlaps, -1.0)[order]
    totals = np.concatenate(([0.0], np.cumsum(gains))) + (~answerable).sum()
    # With the n rows of the smallest gaps answered; not in the middle of equal gaps.
    parts = np.concatenate(([True], ordered[1:] > ordered[:-1], [True]))
    answered = int(np.where(parts, totals, -np.inf).argmax())
    if answered == 0:
        threshold = ordered[0] - _MARGIN
    elif answered == len(ordered):
        threshold = ordered[-1] + _MARGIN
    else:
        threshold = (ordered[answered - 1] + ordered[answered]) / 2
    return float(threshold), float(totals[answered] / len(ordered))
