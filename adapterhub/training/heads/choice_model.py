"""A conditional logistic regression of the right one of the choices of each row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize

Weights = npt.NDArray[np.float64]


def fit_choices(
    features: sparse.csr_matrix, truth: npt.NDArray[np.int64], *, strength: float, steps: int
) -> Weights:
    """Returns the weights of the features, (F,).

    Source: McFadden, "Conditional Logit Analysis of Qualitative Choice Behavior", 1974.

    Args:
        features: (M, F) of choices; those of a row are adjacent.
        truth: (M, 2) the row of each choice, ascending, and 1 if it is the right one.
        strength: Inverse of the L2 penalty.
        steps: Solver iterations at most.
    """
    starts = np.flatnonzero(np.diff(truth[:, 0], prepend=-1))
    rows = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(truth)))
    right = truth[:, 1].astype(np.float64)

    def loss(weight: Weights) -> tuple[float, Weights]:
        logits = features @ weight
        logits -= np.maximum.reduceat(logits, starts)[rows]
        shares = np.exp(logits)
        sums = np.add.reduceat(shares, starts)
        surprise = np.log(sums).sum() - right @ logits
        gradient = strength * (features.T @ (shares / sums[rows] - right)) + weight
        return float(strength * surprise + weight @ weight / 2), gradient

    start = np.zeros(features.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": steps})
    weights: Weights = found.x
    return weights
