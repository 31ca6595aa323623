"""The losses of vectors, against the same computed pair by pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from adapterhub.training.kinds.vectors.losses import SHARPNESS, order_loss, partner_loss
from adapterhub.training.kinds.vectors.pairs import known_pairs, pair_targets

PAIRS = (("a", "b"), ("a", "c"), ("d", "b"), ("e", "f"), ("g", "a"), ("h", "h"), ("a", "k"))
SAME = np.array([1, 1, 1, 1, 1, 1, 0], np.float32)


def units(logits: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.split(logits.numpy().astype(np.float64), 2, axis=-1)
    return tuple(one / np.linalg.norm(one, axis=-1, keepdims=True) for one in (first, second))  # type: ignore[return-value]


def test_a_text_is_never_told_from_its_equal_or_its_partners() -> None:
    found = known_pairs(pair_targets(PAIRS, SAME)).tolist()
    partners = {("a", "b"), ("a", "c"), ("d", "b"), ("e", "f"), ("g", "a"), ("h", "h")}
    for i, (first, _) in enumerate(PAIRS):
        for j, (_, second) in enumerate(PAIRS):
            assert found[i][j] == (first == second or (first, second) in partners), (i, j)
    # Of the pair that does not mean the same, the second text is one to be told apart.
    assert not found[0][6]


def test_partners_are_found_among_the_other_texts_of_a_batch() -> None:
    logits = torch.randn(2, 3, len(PAIRS), 8, generator=torch.Generator().manual_seed(0))
    targets = pair_targets(PAIRS, SAME)
    left_out = known_pairs(targets).numpy()
    found = partner_loss(logits, targets)
    for group, setting in np.ndindex(2, 3):
        first, second = units(logits[group, setting])
        similar = np.exp(SHARPNESS * first @ second.T)
        losses = []
        for row in range(6):  # those that mean the same
            for matrix, out in ((similar, left_out), (similar.T, left_out.T)):
                rivals = sum(
                    matrix[row, j] for j in range(len(PAIRS)) if j != row and not out[row, j]
                )
                losses.append(-math.log(matrix[row, row] / (matrix[row, row] + rivals)))
        assert float(found[group, setting]) == pytest.approx(np.mean(losses), rel=1e-4)


def test_a_batch_without_a_pair_teaches_nothing() -> None:
    logits = torch.randn(1, 1, 2, 8).requires_grad_()
    loss = partner_loss(logits, pair_targets(PAIRS[:2], np.zeros(2, np.float32))).sum()
    torch.autograd.backward([loss])
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_cosines_are_to_have_the_order_of_the_scores() -> None:
    scores = np.array([3, 1, 1, 0.5, 2, 2, 3], np.float32)
    logits = torch.randn(1, 2, len(PAIRS), 8, generator=torch.Generator().manual_seed(1))
    found = order_loss(logits, pair_targets(PAIRS, scores))
    for setting in range(2):
        first, second = units(logits[0, setting])
        cosines = (first * second).sum(1)
        total = 1 + sum(
            math.exp(SHARPNESS * (cosines[j] - cosines[i]))
            for i in range(len(PAIRS))
            for j in range(len(PAIRS))
            if scores[i] > scores[j]
        )
        assert float(found[0, setting]) == pytest.approx(math.log(total), rel=1e-4)
    equal = pair_targets(PAIRS, np.ones(len(PAIRS), np.float32))
    assert order_loss(logits, equal).tolist() == [[0, 0]]
