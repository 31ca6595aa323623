"""Pairs whose texts are encoded separately and then compared.

A text that occurs in many pairs of a call is encoded once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.model.backbone.caller_state import inference
from adapterhub.model.heads.heads import Array, HeadWeights

Places = npt.NDArray[np.int64]
Masks = Mapping[str, npt.NDArray[np.bool_]]

# Bounds the compared features, 4 H numbers per pair, to 50 MB at H 768.
_ROWS_AT_ONCE = 4096


def compare(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Returns the features of two texts (u, v, |u - v|, u * v): (…, H) -> (…, 4H).

    Source: Conneau et al., "Supervised Learning of Universal Sentence Representations from
    Natural Language Inference Data", 2017, arXiv:1705.02364, section 3.1.

    Args:
        first: u, the features of the first text.
        second: v, the features of the second; the order matters.
    """
    return torch.cat((first, second, (first - second).abs(), first * second), dim=-1)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """N pairs as their T distinct texts.

    Attributes:
        texts: Each text once, as a row with one field.
        sides: Indices of the first and of the second texts in `texts`, each (N,).
    """

    texts: tuple[tuple[str], ...]
    sides: tuple[Places, Places]

    @classmethod
    def of(cls, inputs: Sequence[tuple[str, ...]]) -> Pairs:
        """Returns pairs with their texts in order of first appearance."""
        place = {text: 0 for row in inputs for text in row}
        place = {text: index for index, text in enumerate(place)}
        first, second = (
            np.fromiter((place[row[side]] for row in inputs), np.int64, len(inputs))
            for side in (0, 1)
        )
        return cls(tuple((text,) for text in place), (first, second))

    def requested_texts(self, requested: Masks) -> dict[str, npt.NDArray[np.bool_]]:
        """Returns the texts of the pairs that request each task: masks (N,) -> masks (T,)."""
        found: dict[str, npt.NDArray[np.bool_]] = {}
        for name, rows in requested.items():
            found[name] = np.zeros(len(self.texts), np.bool_)
            for side in self.sides:
                found[name][side[rows]] = True
        return found


@inference
def compared_logits(features: Array, sides: tuple[Places, Places], weights: HeadWeights) -> Array:
    """Returns the logits of pairs: (N, K) fp32.

    Args:
        features: (T, H) fp32 of the distinct texts.
        sides: Indices of the first and of the second texts, each (N,).
        weights: The head's, on the device where it is computed.
    """
    device = weights.bias.device
    texts = torch.from_numpy(features).to(device)
    first, second = (
        torch.split(torch.from_numpy(side).to(device), _ROWS_AT_ONCE) for side in sides
    )
    parts = [
        weights.forward(compare(texts[one], texts[other]))
        for one, other in zip(first, second, strict=True)
    ]
    return torch.cat(parts).cpu().numpy()
