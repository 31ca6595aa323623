"""Rows of choices as items, and the logits of items as those of rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from adapterhub.training.features.choice_items import ChoiceItems
from adapterhub.training.heads.choice_model import fit_choices

ITEMS = ChoiceItems.of([2, 3, 2], most=4)


def test_items_of_rows_are_adjacent_and_come_back_by_row() -> None:
    rows = torch.tensor([2, 1])
    items = ITEMS.of_rows(rows)
    assert items.tolist() == [5, 6, 2, 3, 4]
    logits = items[None, :, None].float().requires_grad_()
    found = ITEMS.by_row(logits, rows)
    none = float("-inf")
    assert found.tolist() == [[[5, 6, none, none], [2, 3, 4, none]]]
    found.softmax(-1)[..., 0].sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert ITEMS.repeat(torch.tensor([[1.0, 0.0, 2.0]])).tolist() == [[1, 1, 0, 0, 0, 2, 2]]
    assert ITEMS.by_row(torch.zeros(2, 0, 1), rows[:0]).shape == (2, 0, 4)


def test_two_choices_are_logistic_regression_on_their_difference() -> None:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(60, 5))
    right = draw.integers(2, size=30)
    truth = np.stack([np.repeat(np.arange(30), 2), np.eye(2)[right].ravel()], 1).astype(np.int64)
    found = fit_choices(sparse.csr_matrix(features), truth, strength=2.0, steps=500)
    difference = features[0::2] - features[1::2]
    model = LogisticRegression(C=2.0, fit_intercept=False, tol=1e-8)
    model.fit(difference, right == 0)
    assert found == pytest.approx(model.coef_[0], abs=1e-3)
