"""Recall and rank correlation: on cases by hand, and as SciPy and scikit-learn compute them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics.pairwise import paired_cosine_distances

from adapterhub import cosine_spearman, recall_at_k
from adapterhub.errors import UsageError


def test_recall_on_cases_by_hand() -> None:
    found = [[3, 1, 2], [5, 4], []]
    relevant: list[Any] = [{1, 2}, [4, 4], (9,)]
    assert recall_at_k(found, relevant, k=1) == 0
    assert recall_at_k(found, relevant, k=2) == pytest.approx((0.5 + 1 + 0) / 3)
    assert recall_at_k(found, relevant, k=99) == pytest.approx((1 + 1 + 0) / 3)
    assert recall_at_k([["a", "b"]], [["b"]], k=2) == 1


def test_spearman_is_that_of_the_cosines() -> None:
    generator = np.random.default_rng(0)
    left, right = generator.standard_normal((2, 50, 8)).astype(np.float32)
    scores = generator.integers(0, 5, 50)  # with ties
    expected = spearmanr(1 - paired_cosine_distances(left, right), scores).statistic
    assert cosine_spearman(left, right, scores) == pytest.approx(expected, abs=1e-6)
    assert cosine_spearman(3 * left, right.tolist(), scores) == pytest.approx(expected, abs=1e-6)
    assert cosine_spearman(left, right, np.ones(50)) == 0
    # Four pairs by hand: the ranks of the cosines are 1, 2, 3, 4, those of the scores 1, 3, 2, 4.
    angles = np.array([3.0, 2.0, 1.0, 0.0])
    turned = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ahead = np.tile([1.0, 0.0], (4, 1))
    assert cosine_spearman(ahead, turned, [0, 2, 1, 3]) == pytest.approx(0.8)


WRONG: dict[str, Any] = {
    "k": lambda: recall_at_k([[1]], [[1]], k=0),
    "k as text": lambda: recall_at_k([[1]], [[1]], k="1"),  # type: ignore[arg-type]
    "other numbers": lambda: recall_at_k([[1]], [[1], [2]], k=1),
    "no queries": lambda: recall_at_k([], [], k=1),
    "nothing relevant": lambda: recall_at_k([[1]], [[]], k=1),
    "other shapes": lambda: cosine_spearman([[1.0]], [[1.0, 2.0]], [1]),
    "one pair": lambda: cosine_spearman([[1.0]], [[1.0]], [1]),
    "not finite": lambda: cosine_spearman([[1.0], [2.0]], [[1.0], [np.nan]], [1, 2]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_usage_errors(name: str) -> None:
    with pytest.raises(UsageError):
        WRONG[name]()
