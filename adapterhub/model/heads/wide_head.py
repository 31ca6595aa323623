"""Logits of n-grams and of the lexical overlap of two texts, added to those of a head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from adapterhub.model.heads.ngrams import LONGEST, SIDES, Ints, RowGrams, pieces_of, sides_of
from adapterhub.shapes import OVERLAPS

Floats = npt.NDArray[np.float64]


def lexical_overlap(grams: RowGrams, rarity: Floats) -> Floats:
    """Returns the lexical overlap of the two texts of each pair: (N, `OVERLAPS`) in [0, 1].

    For n-grams of one, two and three pieces, weighted by rarity: the fraction of the first text's
    that are in both texts, the same for the second text, and the Dice coefficient.

    Args:
        grams: The n-grams of pairs.
        rarity: (V,) rarity of each piece; an n-gram has the sum of its pieces.
    """
    parts = list(pieces_of(grams.keys))
    known = np.append(rarity, 0.0)  # index -1 is for places past the end of an n-gram
    weight = sum(known[np.minimum(part, len(rarity)) - 1] for part in parts)
    size = sum((part > 0).astype(np.int64) for part in parts)
    cell = (size - 1) * SIDES + sides_of(grams.keys) - 1
    cells = grams.rows * OVERLAPS + cell[grams.places]
    flat = np.bincount(cells, weight[grams.places], grams.count * OVERLAPS)
    sums = flat.astype(np.float64).reshape(grams.count, LONGEST, SIDES)  # int64 if there are none
    first, second, both = sums[..., 0], sums[..., 1], sums[..., 2]
    shares = [(both, first + both), (both, second + both), (2 * both, first + second + 2 * both)]
    found: Floats = np.stack(
        [np.divide(part, of, out=np.zeros_like(of), where=of > 0) for part, of in shares], axis=-1
    )
    return found.reshape(grams.count, OVERLAPS)


def piece_rarity(grams: RowGrams, vocab_size: int) -> Floats:
    """Returns the inverse document frequency log((1 + N) / (1 + rows with the piece)): (V,)."""
    found = np.full(vocab_size, np.log1p(grams.count))
    pieces, *others = pieces_of(grams.keys)
    places, rows = grams.once()
    is_piece = (others[0] == 0)[places]
    distinct = np.unique(rows[is_piece] * (vocab_size + 1) + pieces[places[is_piece]])
    in_rows = np.bincount(distinct % (vocab_size + 1), minlength=vocab_size + 1)[1:]
    return found - np.log1p(in_rows)


@dataclass(frozen=True, slots=True, eq=False)
class KnownGrams:
    """The occurrences of known n-grams in N rows.

    Attributes:
        places: (G',) which of M known n-grams each is.
        starts: (N + 1,) row n has occurrences `starts[n]` to `starts[n + 1]`.
        scale: (N,) fp32 factor of a row's sum, 1 / sqrt(occurrences), so that the logits of a long
            text are not larger by its length alone.
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
    """Weights of the lexical overlap of two texts.

    Attributes:
        rarity: (V,) rarity of each piece.
        weight: (`OVERLAPS`, K).
    """

    rarity: Floats
    weight: Floats


@dataclass(frozen=True, slots=True, eq=False)
class GramWeights:
    """The n-gram weights of one head.

    Attributes:
        keys: (M,) ascending; an n-gram of ids a, b, c is (a + 1) + (b + 1) 2^20 + (c + 1) 2^40.
            Pairs add s 2^60: s is 1 in the first text only, 2 in the second only, 3 in both.
        weight: (M, K) fp32 on the device of the head.
        overlap: Weights of the lexical overlap; pairs only.
    """

    keys: Ints
    weight: torch.Tensor
    overlap: LexicalOverlap | None = None

    def logits(self, grams: RowGrams) -> npt.NDArray[np.float32]:
        """Returns the logits of each row's known n-grams, to be added: (N, K) fp32."""
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
