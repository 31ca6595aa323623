"""The targets of pairs, as tensors: how alike the two texts are, and which texts are equal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from adapterhub.training.data.kinds.embedding import SAME
from adapterhub.training.data.kinds.reader import Numbers

SCORE, FIRST, SECOND = range(3)
"""Columns of the targets: the score of a pair, and the numbers of its two texts."""


def pair_targets(inputs: Sequence[tuple[str, ...]], scores: Numbers) -> torch.Tensor:
    """Returns the targets of pairs: (N, 3) fp32, by the columns above; equal texts have one number.

    Args:
        inputs: The two texts of each pair.
        scores: (N,) how alike they are.
    """
    numbers: dict[str, int] = {}
    texts = [[numbers.setdefault(text, len(numbers)) for text in row] for row in inputs]
    of_texts = torch.tensor(texts, dtype=torch.float32).view(-1, 2)
    return torch.cat([torch.as_tensor(scores, dtype=torch.float32)[:, None], of_texts], dim=1)


def sides(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the unit vectors of first and second texts: (…, B, 2 K) -> twice (…, B, K)."""
    first, second = logits.chunk(2, dim=-1)
    return functional.normalize(first, dim=-1), functional.normalize(second, dim=-1)


def known_pairs(targets: torch.Tensor) -> torch.Tensor:
    """Returns for which rows i and j the second text of j is no negative for the first of i.

    That is where both texts are equal, or where they mean the same by some row.

    Args:
        targets: (B, 3), see `pair_targets`.

    Returns:
        (B, B) bool.
    """
    score, first, second = targets.unbind(1)
    same_first = (first[:, None] == first).float()
    same_second = (second[:, None] == second).float()
    known = (same_first * (score == SAME)) @ same_second > 0
    return known | (first[:, None] == second)
