"""Linear recalibration of regression heads: the least mean absolute error after clipping."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adapterhub.model.heads.heads import RowLogits
from adapterhub.training.evaluation.calibration import Affine, TunedHead, best_affine, recalibrate
from tests.builders import task_spec

RANGE = (0.0, 5.0)


def drawn_to_the_mean(truth: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.2, len(truth))
    return (0.6 * truth + 1.2 + noise).astype(np.float32)


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 5, 400).astype(np.float32)


def test_the_best_line_undoes_what_was_done(truth: np.ndarray) -> None:
    line = best_affine(drawn_to_the_mean(truth), truth, RANGE)
    assert line.slope == pytest.approx(1 / 0.6, rel=0.1)
    assert line.of(np.array([1.2 + 0.6 * 2.5], np.float32))[0] == pytest.approx(2.5, abs=0.1)


def test_no_other_line_errs_less(truth: np.ndarray) -> None:
    values = drawn_to_the_mean(truth)

    def error(line: Affine) -> float:
        return float(np.abs(line.of(values).clip(*RANGE) - truth).mean())

    best = best_affine(values, truth, RANGE)
    for slope in np.linspace(0.5, 2.5, 21):
        for offset in np.linspace(-4, 2, 25):
            assert error(best) <= error(Affine(slope, offset)) + 1e-4


def test_tensors_give_the_values_along_the_line(truth: np.ndarray) -> None:
    values = drawn_to_the_mean(truth)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "head.weight": torch.randn(1, 8, generator=generator),
        "head.bias": torch.randn(1, generator=generator),
        "hidden.weight": torch.randn(8, 8, generator=generator),
        "ngrams.weight": torch.randn(5, 1, generator=generator).half(),
    }
    spec = task_spec("regression", value_range=RANGE)
    found = recalibrate(TunedHead(spec, tensors, RowLogits(values[:, None])), truth)
    assert found is not None
    assert found.tensors["hidden.weight"] is tensors["hidden.weight"]
    assert found.tensors["ngrams.weight"].dtype == torch.float16
    line = best_affine(values, truth, RANGE)
    features, grams = torch.randn(3, 8), torch.randn(3, 5)

    def value(own: dict[str, torch.Tensor]) -> torch.Tensor:
        wide = grams @ own["ngrams.weight"].float()
        return features @ own["head.weight"].T + own["head.bias"] + wide

    expected = value(tensors) * line.slope + line.offset
    assert torch.allclose(value(dict(found.tensors)), expected, atol=5e-3)
    assert np.allclose(found.logits.values, line.of(values)[:, None])
    assert "mean_absolute_error" in found.notes[-1]


@pytest.mark.parametrize("values", [np.linspace(5, 0, 50), np.linspace(0, 5, 50)])
def test_what_says_the_contrary_or_is_right_stays(values: np.ndarray) -> None:
    truth = np.linspace(0, 5, 50).astype(np.float32)
    spec = task_spec("regression", value_range=RANGE)
    logits = RowLogits(values.astype(np.float32)[:, None])
    assert recalibrate(TunedHead(spec, {"head.bias": torch.zeros(1)}, logits), truth) is None
