"""Regression: the line from what a head says to what it should have said.

A head is fitted by least squares and kept small, so what it says is drawn to the mean; and values
are clipped to the range of the task, which the fit does not know. A slope and an offset, folded
into its tensors, cost nothing when a task is scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.specs import TaskSpec

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
