"""Logits -> calibrated outputs: a temperature, thresholds, a regression's slope and offset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.model.heads.heads import Array, RowLogits, log_softmax, sigmoid
from adapterhub.specs import Calibration, Kind, TaskSpec

_LOG_TEMPERATURES = (np.log(0.2), np.log(20.0))
_GOLDEN = (np.sqrt(5) - 1) / 2
_SEARCH_STEPS = 40

_LOWEST_THRESHOLD = 0.05
_HIGHEST_THRESHOLD = 0.95
# Below this number of positive rows a label's own best threshold is mostly chance.
_FEWEST_POSITIVES = 10

Truth = npt.NDArray[np.float32] | npt.NDArray[np.int64]


def calibrate(kind: Kind, logits: Array, truth: Truth) -> Calibration:
    """Returns the calibration of a head, by its logits for the validation rows.

    One imagined row for and one against each answer keep the scores below one: five rows that
    are all right make 6/7, and ten thousand make no difference.

    Source: Platt, "Probabilistic Outputs for Support Vector Machines", 1999, section 2.2.

    Args:
        kind: Kind of task; tagging is calibrated on words.
        logits: (M, K).
        truth: (M,) label indices, or (M, K) zeros and ones; of no use for regression.
    """
    if kind == "regression":
        return Calibration()
    loss = _set_loss if kind == "multi_label" else _label_loss
    temperature = find_temperature(lambda value: loss(logits / value, truth))
    if kind != "multi_label":
        return Calibration(temperature=temperature)
    scores = sigmoid(logits / np.float32(temperature))
    return Calibration(temperature=temperature, thresholds=find_thresholds(scores, truth > 0))


def find_temperature(loss: Callable[[float], float]) -> float:
    """Returns the temperature with the least loss, by golden-section search on its logarithm.

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, section 4.2; the loss
    has one minimum, so no gradient is needed.
    """
    low, high = _LOG_TEMPERATURES
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(float(np.exp(left))), loss(float(np.exp(right)))
    for _ in range(_SEARCH_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(float(np.exp(left)))
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(float(np.exp(right)))
    return float(f"{np.exp((low + high) / 2):.4g}")


def find_thresholds(scores: Array, truth: npt.NDArray[np.bool_]) -> tuple[float, ...]:
    """Returns per label the score from which giving it makes the best F1, in [0.05, 0.95].

    Rare labels take the threshold that is best for all labels together.

    Args:
        scores: (M, K).
        truth: (M, K).
    """
    shared = _best_threshold(scores.ravel(), truth.ravel())
    enough = truth.sum(0) >= _FEWEST_POSITIVES
    return tuple(
        _best_threshold(scores[:, label], truth[:, label]) if enough[label] else shared
        for label in range(truth.shape[1])
    )


def _best_threshold(scores: Array, truth: npt.NDArray[np.bool_]) -> float:
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    hits = np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + max(int(truth.sum()), 1))
    # A cut is possible only between different scores.
    f1[:-1][ranked[:-1] == ranked[1:]] = -1
    best = int(f1.argmax())
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    middle = float((ranked[best] + below) / 2)
    return float(f"{min(max(middle, _LOWEST_THRESHOLD), _HIGHEST_THRESHOLD):.4g}")


def _label_loss(logits: Array, truth: Truth) -> float:
    surprise = -log_softmax(logits)
    right = surprise[np.arange(len(truth)), truth.astype(np.int64)]
    wrong = (surprise.sum(1) - right) / (surprise.shape[1] - 1)
    doubt = _doubt(len(truth))
    return float(((1 - doubt) * right + doubt * wrong).mean())


def _set_loss(logits: Array, truth: Truth) -> float:
    doubt = _doubt(len(truth))
    targets = truth * (1 - 2 * doubt) + doubt
    # log(1 + exp(x)) - x y, without overflow
    return float((np.logaddexp(0, logits) - logits * targets).mean())


def _doubt(rows: int) -> float:
    """Returns how often an answer that was right in all rows may still be wrong."""
    return 1 / (rows + 2)


_BIAS = "head.bias"
_SCALED = ("head.weight", _BIAS, "ngrams.weight", "ngrams.overlap")
"""What adds to the output of a head."""


@dataclass(frozen=True, slots=True)
class Line:
    """What becomes of a value.

    Attributes:
        slope: What it is multiplied with.
        offset: What is added then.
    """

    slope: float = 1.0
    offset: float = 0.0

    def of(self, values: Array) -> Array:
        """Returns the values along the line, in fp32."""
        return (values * self.slope + self.offset).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Straightened:
    """A regression head along a line.

    Attributes:
        tensors: All its tensors.
        logits: Its raw outputs for the validation rows.
        note: What was won, for people.
    """

    tensors: Mapping[str, torch.Tensor]
    logits: RowLogits
    note: str


def straighten(
    spec: TaskSpec, tensors: Mapping[str, torch.Tensor], logits: RowLogits, truth: Array
) -> Straightened | None:
    """Returns a regression head along its best line, or None where that wins nothing.

    Args:
        spec: The task.
        tensors: Its tensors.
        logits: Its raw outputs for the validation rows, (M, 1).
        truth: What they should be, (M,).
    """
    values = np.asarray(logits.values)
    line = best_line(values[:, 0], truth, spec.value_range)
    before, after = (
        _error(one.of(values[:, 0]), truth, spec.value_range) for one in (Line(), line)
    )
    if line.slope <= 0 or after >= before:
        # A head that says the contrary is not made to say it louder.
        return None
    changed = {
        name: (tensors[name].float() * line.slope).to(tensors[name].dtype)
        for name in _SCALED
        if name in tensors
    }
    changed[_BIAS] = changed[_BIAS] + line.offset
    note = (
        f"Values along the line {line.slope:.3f} v {line.offset:+.3f}: mean error {after:.4f} "
        f"instead of {before:.4f}."
    )
    return Straightened({**tensors, **changed}, RowLogits(line.of(values)), note)


def best_line(values: Array, truth: Array, value_range: tuple[float, float] | None) -> Line:
    """Returns the line to the truth with the least mean absolute error after clipping.

    Args:
        values: (M,).
        truth: (M,).
        value_range: To which values are clipped; None for not at all.
    """
    # SciPy comes with the extra `train`; that it is missing has been said before this.
    from scipy.optimize import minimize

    centred = values - values.mean()
    spread = float(centred @ centred)
    # The search starts at the least squares; without a spread there is no slope to be found.
    slope = float(centred @ truth) / spread if spread > 0 else 1.0
    start = (slope, float(truth.mean() - slope * values.mean()))
    found = minimize(
        lambda line: _error(line[0] * values + line[1], truth, value_range),
        start,
        method="Nelder-Mead",
    )
    return Line(float(found.x[0]), float(found.x[1]))


def _error(values: Array, truth: Array, value_range: tuple[float, float] | None) -> float:
    clipped = values if value_range is None else values.clip(*value_range)
    return float(np.abs(clipped - truth).mean())
