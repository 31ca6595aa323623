"""Figures keep what they say: small ones are not rounded to nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adapterhub.diagnostics import figure_text
from adapterhub.model.heads.heads import RowLogits
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.calibration import TunedHead, recalibrate
from adapterhub.training.evaluation.measure import reliability
from adapterhub.training.evaluation.metrics import to_metrics
from adapterhub.training.kinds.table import compute_metrics
from tests.builders import task_spec


@pytest.mark.parametrize("scale", [1e-9, 1e-4, 1.0, 1e6])
def test_an_error_is_measured_in_the_unit_of_the_values(scale: float) -> None:
    truth = np.linspace(1, 5, 40) * scale
    spec = task_spec("regression")
    data = Dataset("d", "regression", ("text",), (("a",),) * 40, tuple(truth.tolist()), ())
    logits = RowLogits((truth * 1.01).astype(np.float32)[:, None])
    found = {one.name: one.value for one in compute_metrics(spec, logits, data)}
    assert found["mean_absolute_error"] == pytest.approx(0.03 * scale, rel=1e-3)
    head = TunedHead(spec, {"head.weight": torch.ones(1, 2), "head.bias": torch.zeros(1)}, logits)
    tuned = recalibrate(head, truth.astype(np.float32))
    assert tuned is not None
    assert f"instead of {figure_text(0.03 * scale)[:4]}" in tuned.notes[-1]


@pytest.mark.parametrize("value", [1e-9, 4.2e-7, 0.1234567, 0.9999991, 12.345678, 1e7 + 1])
def test_a_metric_keeps_six_digits(value: float) -> None:
    (one,) = to_metrics({"x": value, }, "test", 3)  # fmt: skip
    assert one.value == pytest.approx(value, rel=5e-6)
    assert one.value != 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (1.0, "1.0000"),
        (0.81234, "0.8123"),
        (-0.25, "-0.2500"),
        (1e-9, "1e-09"),
        (0.00004, "4e-05"),
        (0.99997, "0.99997"),
        (17.5, "17.5000"),
    ],
)
def test_a_printed_figure_is_not_zero_or_one_unless_it_is(value: float, text: str) -> None:
    assert figure_text(value) == text


def test_rare_hits_do_not_vanish_from_the_reliability() -> None:
    scores = np.full(4_000_000, 1e-8, np.float32)
    hits = np.zeros(len(scores), np.bool_)
    hits[0] = True
    (one,) = reliability(scores, hits)
    assert one.score == pytest.approx(1e-8, rel=1e-3)
    assert one.hits == pytest.approx(2.5e-7)
