"""Linear models on sparse features, by scikit-learn: one for each kind of whole-text answer."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from adapterhub.model.heads.heads import Array
from adapterhub.specs import Kind

_CERTAIN = 10.0
"""Logit of a label that every row has; less, of one that no row has."""
_MOST_STEPS = 500


@dataclass(frozen=True, slots=True, eq=False)
class LinearMap:
    """Features -> logits.

    Attributes:
        weight: (F, K).
        bias: (K,).
    """

    weight: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]

    def logits(self, features: sparse.csr_matrix) -> Array:
        """Returns (N, K) for features (N, F); for regression the values."""
        found: Array = np.asarray(features @ self.weight + self.bias, np.float32)
        return found

    def scaled(self, factor: float) -> LinearMap:
        """Returns the map to `factor` times the logits."""
        return LinearMap(self.weight * factor, self.bias * factor)


def fit_linear(
    features: sparse.csr_matrix,
    truth: npt.NDArray[np.float32] | npt.NDArray[np.int64],
    kind: Kind,
    *,
    outputs: int,
    strength: float,
    steps: int = 500,
) -> LinearMap:
    """Returns logistic regression, one per label for label sets, or ridge regression.

    Args:
        features: (N, F); for tagging of words.
        truth: As `Dataset.truth` gives it; for tagging the labels of words.
        kind: Of the task.
        outputs: Number K of logits.
        strength: Inverse strength of the L2 regularisation.
        steps: After how many the fit is good enough.
    """
    if kind == "regression":
        ridge = Ridge(alpha=1 / strength).fit(features, truth)
        return LinearMap(ridge.coef_.reshape(-1, 1), np.array([float(ridge.intercept_)]))
    made = LinearMap(np.zeros((features.shape[1], outputs)), np.full(outputs, -_CERTAIN))
    if kind == "multi_label":
        for label in range(outputs):
            _fit_label(made, label, features, truth[:, label] > 0, strength)
        return made
    classes = np.unique(truth)
    if len(classes) == 1:
        made.bias[classes] = _CERTAIN
        return made
    model = LogisticRegression(C=strength, max_iter=steps)
    with warnings.catch_warnings():
        # What comes out is judged on other rows, converged or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, truth)
    if len(classes) == 2:  # one column tells both
        made.bias[classes[0]] = 0.0
        classes = classes[1:]
    made.weight[:, classes], made.bias[classes] = model.coef_.T, model.intercept_
    return made


def _fit_label(
    made: LinearMap,
    label: int,
    features: sparse.csr_matrix,
    own: npt.NDArray[np.bool_],
    strength: float,
) -> None:
    if own.all() or not own.any():
        made.bias[label] = _CERTAIN if own.all() else -_CERTAIN
        return
    model = LogisticRegression(C=strength, max_iter=_MOST_STEPS, solver="liblinear")
    model.fit(features, own)
    made.weight[:, label], made.bias[label] = model.coef_[0], model.intercept_[0]
