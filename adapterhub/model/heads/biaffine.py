"""Biaffine scores of dependency arcs and of their relations, between the words of one text.

Of each word the hidden layer makes four vectors: d as a dependent and h as a head, both of width A,
for arcs; r and s likewise, of width R, for relations. The root has an h and an s of its own.

Source: Dozat and Manning, "Deep Biaffine Attention for Neural Dependency Parsing", 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional

# Numbers of the products of r and s that stand in memory at once: 64 MB.
_PRODUCTS_AT_ONCE = 2**24


@dataclass(frozen=True, slots=True, eq=False)
class BiaffineWeights:
    """The tensors that score arcs and relations, in fp32.

    Attributes:
        root: (A + R,) h and s of the root.
        arcs: (A + 1, A); the score of head j for word i is [d_i; 1]^T arcs h_j.
        relations: (K, R + 1, R + 1); that of relation k is [r_i; 1]^T relations_k [s_j; 1].
    """

    root: torch.Tensor
    arcs: torch.Tensor
    relations: torch.Tensor

    @property
    def widths(self) -> list[int]:
        """Returns the widths of d, h, r and s, which lie in this order in a hidden layer."""
        arc, relation = self.arcs.shape[1], self.relations.shape[1] - 1
        return [arc, arc, relation, relation]


def read_biaffine(
    tensors: Mapping[str, torch.Tensor], device: torch.device
) -> BiaffineWeights | None:
    """Returns the biaffine tensors of a head on a device; None where it has none."""
    if "head.arcs" not in tensors:
        return None
    names = ("head.root", "head.arcs", "head.relations")
    return BiaffineWeights(*(tensors[name].detach().to(device, torch.float32) for name in names))


def arc_scores(words: torch.Tensor, weights: BiaffineWeights) -> torch.Tensor:
    """Returns the scores of all heads of each word: (..., words, words + 1), the root first.

    Args:
        words: (..., words, W) hidden layer of each word, after its activation.
        weights: The weights.
    """
    dependents, heads, _, _ = torch.split(words, weights.widths, dim=-1)
    heads = _with_root(weights.root[: heads.shape[-1]], heads)
    return _with_one(dependents) @ weights.arcs @ heads.transpose(-1, -2)


def relation_scores(
    words: torch.Tensor, heads: torch.Tensor, weights: BiaffineWeights
) -> torch.Tensor:
    """Returns the scores of all relations of each word to its head: (words, K).

    Args:
        words: (words, W) hidden layer of each word of one text, after its activation.
        heads: (words,) int64, from 1; 0 is the root.
        weights: The weights.
    """
    _, _, dependents, governors = torch.split(words, weights.widths, dim=-1)
    left = _with_one(dependents)
    right = _with_one(_with_root(weights.root[-governors.shape[-1] :], governors)[heads])
    width = left.shape[-1] * right.shape[-1]
    rows = max(1, _PRODUCTS_AT_ONCE // width)
    flat = weights.relations.flatten(1).t()
    parts = [
        torch.einsum("ia,ib->iab", one, other).flatten(1) @ flat
        for one, other in zip(torch.split(left, rows), torch.split(right, rows), strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _with_root(root: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """Returns the vector of the root before those of words: (..., words + 1, width)."""
    first = root.expand(*words.shape[:-2], 1, -1)
    return torch.cat((first, words), dim=-2)


def _with_one(vectors: torch.Tensor) -> torch.Tensor:
    """Returns vectors with a 1 behind: (..., width + 1)."""
    return functional.pad(vectors, (0, 1), value=1.0)
