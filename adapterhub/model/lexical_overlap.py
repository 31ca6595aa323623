"""How much two texts share: the n-grams of pieces that are in both, by their rarity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from adapterhub.model.ngrams import LONGEST, SIDES, RowGrams, pieces_of, sides_of
from adapterhub.shapes import OVERLAPS

Floats = npt.NDArray[np.float64]


def lexical_overlap(grams: RowGrams, rarity: Floats) -> Floats:
    """Returns how much the two texts of each pair share: (N, `OVERLAPS`), 0 to 1.

    For n-grams of one, two and three pieces: the share of those of the first text that are in
    both, the same of the second, and of both together (Dice). They count by their rarity.

    Args:
        grams: Of pairs.
        rarity: (V,) of each piece; that of an n-gram is the sum.
    """
    parts = list(pieces_of(grams.keys))
    known = np.append(rarity, 0.0)  # the last for where an n-gram is shorter: part - 1 is -1
    weight = sum(known[np.minimum(part, len(rarity)) - 1] for part in parts)
    size = sum((part > 0).astype(np.int64) for part in parts)
    cell = (size - 1) * SIDES + sides_of(grams.keys) - 1
    cells = grams.rows * OVERLAPS + cell[grams.places]
    flat = np.bincount(cells, weight[grams.places], grams.count * OVERLAPS)
    sums = flat.astype(np.float64).reshape(grams.count, LONGEST, SIDES)  # of no cells: integers
    first, second, both = sums[..., 0], sums[..., 1], sums[..., 2]
    shares = [(both, first + both), (both, second + both), (2 * both, first + second + 2 * both)]
    found: Floats = np.stack(
        [np.divide(part, of, out=np.zeros_like(of), where=of > 0) for part, of in shares], axis=-1
    )
    return found.reshape(grams.count, OVERLAPS)


def piece_rarity(grams: RowGrams, vocab_size: int) -> Floats:
    """Returns how rare each piece is in N rows: log((1 + N) / (1 + rows with it)), (V,)."""
    found = np.full(vocab_size, np.log1p(grams.count))
    pieces, *others = pieces_of(grams.keys)
    places, rows = grams.once()
    is_piece = (others[0] == 0)[places]
    distinct = np.unique(rows[is_piece] * (vocab_size + 1) + pieces[places[is_piece]])
    in_rows = np.bincount(distinct % (vocab_size + 1), minlength=vocab_size + 1)[1:]
    return found - np.log1p(in_rows)
