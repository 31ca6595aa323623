from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from adapterhub.model.heads.heads import sigmoid, softmax
from adapterhub.training.evaluation.calibration import find_temperature, find_thresholds
from adapterhub.training.evaluation.metrics import calibration_error
from adapterhub.training.kinds.table import TRAINED

DRAW = np.random.default_rng(0)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_of_the_data_is_found(temperature: float) -> None:
    logits = DRAW.normal(size=(20_000, 3)).astype(np.float32)
    chances = softmax(logits).cumsum(1)
    truth = (DRAW.random((len(logits), 1)) > chances).sum(1).clip(max=2)
    given = logits * temperature
    found = TRAINED["single_label"].calibrate(given, truth)
    assert found.temperature == pytest.approx(temperature, rel=0.1)
    hits = given.argmax(1) == truth
    before = calibration_error(softmax(given).max(1), hits)
    after = calibration_error(softmax(given / np.float32(found.temperature)).max(1), hits)
    assert after < 0.02
    assert after <= before + 1e-3


def test_label_sets_get_a_temperature_and_thresholds() -> None:
    logits = DRAW.normal(size=(5_000, 3)).astype(np.float32) - 1
    truth = (DRAW.random(logits.shape) < sigmoid(logits)).astype(np.float32)
    truth[5:, 2] = 0
    found = TRAINED["multi_label"].calibrate(logits * 3, truth)
    assert found.temperature > 1
    assert found.thresholds is not None
    scores = sigmoid(logits * np.float32(3 / found.temperature))
    for label in (0, 1):
        best = max(f1_score(truth[:, label], scores[:, label] >= t / 50) for t in range(50))
        own = f1_score(truth[:, label], scores[:, label] >= found.thresholds[label])
        assert own >= best - 1e-3


def test_thresholds_stay_in_bounds() -> None:
    scores = np.linspace(0, 1, 200, dtype=np.float32)[:, None]
    assert find_thresholds(scores, np.ones((200, 1), np.bool_)) == (0.05,)
    assert find_thresholds(scores, scores > 0.99) == (0.95,)
    assert find_thresholds(scores, scores > 0.5) == (pytest.approx(0.5, abs=0.01),)
    # Too few positives to say: the threshold of all labels together.
    both = np.concatenate([scores, scores], 1)
    truth = np.concatenate([scores > 0.5, scores > 0.98], 1)
    first, second = find_thresholds(both, truth)
    assert (first, second) == (pytest.approx(0.5, abs=0.01),) * 2


def test_equal_scores_are_not_cut_apart() -> None:
    scores = np.full((100, 1), 0.4, np.float32)
    (threshold,) = find_thresholds(scores, np.arange(100)[:, None] % 2 == 0)
    assert threshold <= 0.4


def test_regression_needs_none() -> None:
    assert (
        TRAINED["regression"].calibrate(np.zeros((3, 1), np.float32), np.zeros(3)).temperature == 1
    )


def test_the_search_finds_the_minimum() -> None:
    assert find_temperature(lambda t: (np.log(t) - 1) ** 2) == pytest.approx(np.e, rel=1e-3)


def test_calibration_error_is_zero_for_honest_scores() -> None:
    scores = DRAW.random(100_000).astype(np.float32)
    assert calibration_error(scores, DRAW.random(100_000) < scores) < 0.01
    assert calibration_error(np.ones(10, np.float32), np.zeros(10, np.bool_)) == 1
