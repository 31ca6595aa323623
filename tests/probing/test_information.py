from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss, mutual_info_score

from adapterhub.probing.information import constant_predictor, v_information


def test_bits_are_the_difference_of_two_entropies() -> None:
    # Four labels, each equally probable: 2 bits. The probe gives 1, 1/2, 1/2 and 1/4.
    constant, probe = np.full(4, 2.0), np.array([0.0, 1.0, 1.0, 2.0])
    found = v_information(constant, probe, np.array([0, 0, 1, 1]))
    assert (found.items, found.entropy, found.cross_entropy) == (4, 2.0, 1.0)
    assert (found.bits, found.coefficient) == (1.0, 0.5)
    # Gains of the texts: 2 + 1 and 1 + 0, 1 from their mean: sqrt(2 / 1 * (1 + 1)) / 4.
    assert found.standard_error == pytest.approx(0.5)


def test_information_of_the_best_predictor_is_the_mutual_information() -> None:
    counts = np.array([[8, 1, 1], [2, 12, 0], [3, 3, 10]])
    states, labels = np.repeat(np.indices((3, 3)).reshape(2, -1), counts.ravel(), axis=1)
    by_state = counts / counts.sum(1, keepdims=True)
    frequencies = counts.sum(0) / counts.sum()
    constant = -np.log2(frequencies[labels])
    probe = -np.log2(by_state[states, labels])
    found = v_information(constant, probe, np.arange(len(labels)))
    rows = np.tile(frequencies, (len(labels), 1))
    assert found.entropy == pytest.approx(log_loss(labels, rows) / math.log(2))
    assert found.cross_entropy == pytest.approx(log_loss(labels, by_state[states]) / math.log(2))
    assert found.bits == pytest.approx(mutual_info_score(states, labels) / math.log(2))


def test_the_standard_error_is_that_of_repeated_drawing_of_texts() -> None:
    rng = np.random.default_rng(0)
    texts = np.repeat(np.arange(150), rng.integers(1, 8, 150))
    gains = rng.normal(size=150)[texts] + rng.normal(size=len(texts))
    found = v_information(gains, np.zeros(len(texts)), texts)
    sums, sizes = np.bincount(texts, weights=gains), np.bincount(texts)
    drawn = rng.integers(0, 150, (4_000, 150))
    repeated = sums[drawn].sum(1) / sizes[drawn].sum(1)
    assert found.standard_error == pytest.approx(repeated.std(), rel=0.1)
    plain = gains.std() / math.sqrt(len(gains))
    assert found.standard_error > 1.5 * plain  # words of one text are not independent


def test_one_label_has_no_entropy_to_share_out() -> None:
    found = v_information(np.zeros(3), np.zeros(3), np.zeros(3, np.int64))
    assert (found.bits, found.coefficient, found.standard_error) == (0.0, None, None)


def test_a_label_that_no_training_row_has_costs_finitely_many_bits() -> None:
    logs = constant_predictor(np.array([0, 0, 1]), 3)
    assert 2**logs == pytest.approx(np.array([2.5, 1.5, 0.5]) / 4.5)
