"""Linear models on sparse features give what scikit-learn's own predictions are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge

from adapterhub.model.heads.heads import sigmoid, softmax
from adapterhub.training.heads.fit_ngrams import fit_linear


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return sparse.csr_matrix(rng.random((60, 12)) * (rng.random((60, 12)) > 0.6))


@pytest.mark.parametrize("present", [(0, 1), (0, 2), (0, 1, 2)])
def test_labels_have_the_chances_of_logistic_regression(features, present):
    truth = np.array([present[row % len(present)] for row in range(60)])
    found = fit_linear(features, truth, "labels", outputs=3, strength=2.0)
    model = LogisticRegression(C=2.0, max_iter=500).fit(features, truth)
    chances = softmax(found.logits(features))
    np.testing.assert_allclose(
        chances[:, present], model.predict_proba(features), atol=1e-3 if len(present) == 2 else 1e-5
    )
    absent = sorted({0, 1, 2} - set(present))
    assert (chances[:, absent] < 1e-3).all()


def test_one_label_only_is_answered_always(features):
    found = fit_linear(features, np.full(60, 1), "labels", outputs=2, strength=1.0)
    assert (softmax(found.logits(features))[:, 1] > 0.999).all()


def test_label_sets_are_a_model_per_label(features):
    rng = np.random.default_rng(1)
    truth = (rng.random((60, 4)) > 0.5).astype(np.float32)
    truth[:, 2], truth[:, 3] = 0, 1
    scores = sigmoid(fit_linear(features, truth, "sets", outputs=4, strength=1.0).logits(features))
    model = LogisticRegression(C=1.0, max_iter=500, solver="liblinear").fit(features, truth[:, 0])
    np.testing.assert_allclose(scores[:, 0], model.predict_proba(features)[:, 1], atol=1e-5)
    assert (scores[:, 2] < 1e-3).all()
    assert (scores[:, 3] > 0.999).all()


def test_numbers_are_ridge_regression(features):
    truth = np.arange(60, dtype=np.float32)
    found = fit_linear(features, truth, "numbers", outputs=1, strength=4.0).logits(features)
    expected = Ridge(alpha=0.25).fit(features, truth).predict(features)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4, atol=1e-3)
