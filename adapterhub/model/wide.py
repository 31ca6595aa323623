"""What n-grams, and the lexical overlap of two texts, add to the logits of a head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from adapterhub.model.lexical_overlap import Floats, lexical_overlap
from adapterhub.model.ngrams import Ints, RowGrams


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
class LexicalOverlap:
    """What the overlap of two texts weighs.

    Attributes:
        rarity: (V,) of pieces.
        weight: (`OVERLAPS`, K).
    """

    rarity: Floats
    weight: Floats


@dataclass(frozen=True, slots=True, eq=False)
class GramWeights:
    """What the n-grams of one head weigh.

    Attributes:
        keys: (M,) ascending; an n-gram of ids a, b, c is (a + 1) + (b + 1) 2^20 + (c + 1) 2^40.
            Of pairs s 2^60 is added: s is 1 in the first text only, 2 in the second, 3 in both.
        weight: (M, K) fp32 on the device of the head.
        overlap: Of pairs.
    """

    keys: Ints
    weight: torch.Tensor
    overlap: LexicalOverlap | None = None

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
        if self.overlap is not None:
            shared = lexical_overlap(grams, self.overlap.rarity) @ self.overlap.weight
            added = added + shared.astype(np.float32)
        return added
