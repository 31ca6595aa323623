"""The tuned threshold of unanswerable questions is the best there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapterhub.training.evaluation.answers.threshold import best_threshold

ROWS = st.lists(
    st.tuples(st.integers(-3, 3), st.sampled_from([0.0, 0.4, 1.0]), st.booleans()), min_size=1
)


def mean(gaps: np.ndarray, overlaps: np.ndarray, has: np.ndarray, threshold: float) -> float:
    """Returns the mean overlap by the rule: no answer where the gap is above the threshold."""
    none = gaps > threshold
    return float(np.where(none, ~has, np.where(has, overlaps, 0.0)).mean())


@given(ROWS)
def test_no_threshold_is_better(rows: list[tuple[int, float, bool]]) -> None:
    gaps, overlaps, has = (np.array(column) for column in zip(*rows, strict=True))
    threshold, best = best_threshold(gaps, overlaps, has)
    assert mean(gaps, overlaps, has, threshold) == pytest.approx(best)
    others = [mean(gaps, overlaps, has, one) for one in np.arange(-4, 4.5, 0.5)]
    assert best == pytest.approx(max(others))


def test_it_stands_midway_between_the_rows_that_it_parts() -> None:
    gaps, overlaps = np.array([5.0, -2.0, 1.0]), np.array([0.0, 1.0, 0.5])
    assert best_threshold(gaps, overlaps, np.array([False, True, True])) == (3.0, 2.5 / 3)
    assert best_threshold(gaps, overlaps, np.array([False, False, False])) == (-3.0, 1.0)
    assert best_threshold(gaps, overlaps, np.array([True, True, True])) == (3.0, 0.5)
    assert best_threshold(gaps[:2], np.ones(2), np.array([True, True])) == (6.0, 1.0)
