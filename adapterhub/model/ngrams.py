"""N-grams of pieces with weights of their own: the wide part of a head.

A frozen encoder makes H numbers of a text, and which words were in it is partly lost on the way. A
head may so also add up a weight per n-gram that it knows. That costs no pass.

Source: Cheng et al., "Wide & Deep Learning for Recommender Systems", arXiv:1606.07792; n-grams as
in Joulin et al., "Bag of Tricks for Efficient Text Classification", arXiv:1607.01759.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

Ints = npt.NDArray[np.int64]

LONGEST = 3
"""Pieces of the longest n-gram."""
_BITS = 20
"""A key holds three ids, each plus one, in so many bits; no vocabulary is that large."""


@dataclass(frozen=True, slots=True, eq=False)
class RowGrams:
    """The n-grams of N rows, up to `LONGEST` pieces, special tokens left out.

    Attributes:
        keys: (U,) every distinct n-gram once, ascending.
        places: (G,) which of `keys` each occurrence is.
        rows: (G,) in which row it is, ascending.
        count: Number N of rows.
    """

    keys: Ints
    places: Ints
    rows: Ints
    count: int


def grams_of(ids: Sequence[Sequence[int]]) -> RowGrams:
    """Returns the n-grams of rows of token ids."""
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    flat = np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum())) + 1
    row_of = np.repeat(np.arange(len(ids)), lengths)
    keys, rows = [flat], [row_of]
    for size in range(2, LONGEST + 1):
        inside = row_of[size - 1 :] == row_of[: len(row_of) - size + 1]
        parts = [flat[start : len(flat) - size + 1 + start] for start in range(size)]
        joined = sum(part << (_BITS * place) for place, part in enumerate(parts))
        keys.append(np.asarray(joined)[inside])
        rows.append(row_of[size - 1 :][inside])
    all_rows = np.concatenate(rows)
    order = np.argsort(all_rows, kind="stable")
    distinct, places = np.unique(np.concatenate(keys)[order], return_inverse=True)
    return RowGrams(distinct, places, all_rows[order], len(ids))


@dataclass(frozen=True, slots=True, eq=False)
class KnownGrams:
    """The occurrences of known n-grams in N rows.

    Attributes:
        places: (G',) which of M known n-grams each is.
        starts: (N + 1,) row n has occurrences `starts[n]` to `starts[n + 1]`.
        scale: (N,) fp32, what a row's sum is multiplied with: 1 / sqrt(occurrences), so that a long
            text is not surer than a short one by its length alone.
    """

    places: Ints
    starts: Ints
    scale: npt.NDArray[np.float32]


def known_grams(grams: RowGrams, keys: Ints) -> KnownGrams:
    """Returns the occurrences of the n-grams in `keys`, (M,) ascending."""
    found = np.searchsorted(keys, grams.keys)
    is_known = keys[np.minimum(found, len(keys) - 1)] == grams.keys
    kept = is_known[grams.places]
    starts = np.searchsorted(grams.rows[kept], np.arange(grams.count + 1))
    scale = np.maximum(np.diff(starts), 1).astype(np.float32) ** -0.5
    return KnownGrams(found[grams.places[kept]], starts, scale.astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class GramWeights:
    """What the n-grams of one head weigh.

    Attributes:
        keys: (M,) ascending; an n-gram of ids a, b, c is (a + 1) + (b + 1) 2^20 + (c + 1) 2^40.
        weight: (M, K) fp32 on the device of the head.
    """

    keys: Ints
    weight: torch.Tensor

    def logits(self, grams: RowGrams) -> npt.NDArray[np.float32]:
        """Returns what they add to the logits of each row, (N, K); 0 where none is known."""
        known = known_grams(grams, self.keys)
        device = self.weight.device
        sums = functional.embedding_bag(
            torch.from_numpy(known.places).to(device),
            self.weight,
            torch.from_numpy(known.starts[:-1]).to(device),
            mode="sum",
        )
        added: npt.NDArray[np.float32] = sums.cpu().numpy() * known.scale[:, None]
        return added
