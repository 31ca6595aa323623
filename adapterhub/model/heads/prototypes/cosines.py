"""Cosine similarities of texts and labels, each by itself: labels beside it change no bit of it.

A matrix product adds up the terms of a number in an order that depends on its shape and place, and
rounds every sum. Here no sum is rounded, so the order has no effect: both vectors have length 1 and
are rounded to multiples of 2^-26, a product of two numbers is then a multiple of 2^-52, and so is
every partial sum, none of which is over 2. Such numbers have 53 bits, and fp64 holds them exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.shapes import CENTER, PROTOTYPES

Doubles = npt.NDArray[np.float64]

_STEP = 2.0**-26
_ROWS_AT_ONCE = 4096
"""Texts whose features stand in memory as fp64 at once."""


@dataclass(frozen=True, slots=True, eq=False)
class PrototypeWeights:
    """What the similarities of texts to labels are computed from, on the CPU.

    Attributes:
        units: (K, H) fp64 direction of each label, rounded to multiples of 2^-26; zero where a
            label has none.
        center: (H,) fp64, subtracted from features.
    """

    units: Doubles
    center: Doubles

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the cosine similarity to each label, in [-1, 1]: (N, H) -> (N, K), fp32.

        It is computed on the CPU, since not every device has fp64, and the result is on the device
        of the features.
        """
        rows = torch.split(features.detach().cpu(), _ROWS_AT_ONCE)
        found = [_rounded(directions(part.numpy(), self.center)) @ self.units.T for part in rows]
        values = np.concatenate(found) if found else np.zeros((0, len(self.units)))
        return torch.from_numpy(values.astype(np.float32)).to(features.device)


def read_prototypes(tensors: Mapping[str, torch.Tensor]) -> PrototypeWeights | None:
    """Returns the prototypes of a head; None where it has none."""
    if PROTOTYPES not in tensors:
        return None
    means = tensors[PROTOTYPES].detach().cpu().double().numpy()
    # Row by row, so that the length of one is computed alike whatever stands beside it.
    units = np.stack([unit(row) for row in means])
    return PrototypeWeights(_rounded(units), tensors[CENTER].detach().cpu().double().numpy())


def directions(features: npt.NDArray[np.float32], center: Doubles) -> Doubles:
    """Returns features without the center, of length 1: (N, H) fp64; zero where none is left."""
    moved = features.astype(np.float64) - center
    lengths = np.sqrt(np.square(moved).sum(1, keepdims=True))
    found: Doubles = np.zeros_like(moved)
    with np.errstate(invalid="ignore"):  # infinity becomes NaN, which is refused later
        np.divide(moved, lengths, out=found, where=lengths != 0)
    return found


def unit(vector: Doubles) -> Doubles:
    """Returns a vector (H,) of length 1; zero where it is zero."""
    length = np.sqrt(np.square(vector).sum())
    return vector / length if length != 0 else np.zeros_like(vector)


def _rounded(vectors: Doubles) -> Doubles:
    """Returns vectors of length 1 with numbers that are multiples of 2^-26."""
    return np.rint(vectors / _STEP) * _STEP
