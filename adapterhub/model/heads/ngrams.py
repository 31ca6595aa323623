"""N-grams of pieces with weights of their own: the wide part of a head.

A frozen encoder makes H numbers of a text, and which words were in it is partly lost on the way. A
head may so also add up a weight per n-gram that it knows. That costs no pass. Of two texts, an
n-gram is in the first only, in the second only or in both.

Source: Cheng et al., "Wide & Deep Learning for Recommender Systems", arXiv:1606.07792; n-grams as
in Joulin et al., "Bag of Tricks for Efficient Text Classification", arXiv:1607.01759.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from adapterhub.model.encoder.tokens import Row

Ints = npt.NDArray[np.int64]
Ids = Sequence[Sequence[int]]
"""Token ids of N rows."""

LONGEST = 3
"""Pieces of the longest n-gram."""
_BITS = 20
"""A key holds three ids, each plus one, in so many bits; no vocabulary is that large."""
_SIDE_BIT = LONGEST * _BITS
_FIRST, _SECOND = 1, 2
AROUND = 2
"""Tokens on each side of a token whose n-grams count for it."""
SIDES = 3
"""Where a pair has an n-gram, above the ids in its key: the first text, the second, both."""


@dataclass(frozen=True, slots=True, eq=False)
class RowGrams:
    """The n-grams of N rows, up to `LONGEST` pieces, special tokens left out.

    Attributes:
        keys: (U,) every distinct n-gram once, ascending; see `wide.GramWeights`.
        places: (G,) which of `keys` each occurrence is; a pair has an n-gram once.
        rows: (G,) in which row it is, ascending.
        count: Number N of rows.
    """

    keys: Ints
    places: Ints
    rows: Ints
    count: int

    def once(self) -> tuple[Ints, Ints]:
        """Returns `places` and `rows` with each n-gram of a row once."""
        width = max(1, len(self.keys))
        found = np.unique(self.rows * width + self.places)
        return found % width, found // width


def ids_by_field(rows: Sequence[Row]) -> list[list[list[int]]]:
    """Returns the token ids of all rows, field by field, without special tokens."""
    fields = [[row.ids for row in rows]]
    if rows and rows[0].pair_ids is not None:
        fields.append([row.pair_ids or [] for row in rows])
    return fields


def row_grams(fields: Sequence[Ids]) -> RowGrams:
    """Returns the n-grams of rows of one text, or of two: `fields` has the ids of each."""
    grams = [_grams_of(ids) for ids in fields]
    return grams[0] if len(grams) == 1 else _join(*grams)


def token_grams(ids: Ids) -> RowGrams:
    """Returns the n-grams around each token of rows; each token is a row of what comes back.

    They lie within `AROUND` tokens before it and behind it.
    """
    flat = _Flat.of(ids)
    keys, tokens = [], []
    for size in range(1, LONGEST + 1):
        grams, at = flat.grams(size)
        for start in range(-AROUND, AROUND + 2 - size):
            token = at - start
            inside = (token >= 0) & (token < len(flat.rows))
            inside[inside] = flat.rows[token[inside]] == flat.rows[at[inside]]
            keys.append(grams[inside] | ((start + AROUND + 1) << _SIDE_BIT))
            tokens.append(token[inside])
    return _sorted(keys, tokens, len(flat.rows))


@dataclass(frozen=True, slots=True, eq=False)
class _Flat:
    """The tokens of all rows: ids, each plus one, and rows, both (P,)."""

    ids: Ints
    rows: Ints

    @classmethod
    def of(cls, ids: Ids) -> _Flat:
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        flat = np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum())) + 1
        return cls(flat, np.repeat(np.arange(len(ids)), lengths))

    def grams(self, size: int) -> tuple[Ints, Ints]:
        """Returns the n-grams of `size` pieces, and at which token each starts."""
        count = max(0, len(self.ids) - size + 1)
        at = np.flatnonzero(self.rows[size - 1 :] == self.rows[:count])
        keys = sum(self.ids[at + place] << (_BITS * place) for place in range(size))
        return np.asarray(keys, np.int64), at


def _sorted(keys: Sequence[Ints], rows: Sequence[Ints], count: int) -> RowGrams:
    all_rows = np.concatenate(rows)
    order = np.argsort(all_rows, kind="stable")
    distinct, places = np.unique(np.concatenate(keys)[order], return_inverse=True)
    return RowGrams(distinct, places, all_rows[order], count)


def _grams_of(ids: Ids) -> RowGrams:
    flat = _Flat.of(ids)
    found = [flat.grams(size) for size in range(1, LONGEST + 1)]
    return _sorted([keys for keys, _ in found], [flat.rows[at] for _, at in found], len(ids))


def _join(first: RowGrams, second: RowGrams) -> RowGrams:
    """Returns the n-grams of pairs: each with the side it is on."""
    keys, numbers = np.unique(np.concatenate([first.keys, second.keys]), return_inverse=True)
    width = max(1, len(keys))
    split = len(first.keys)
    found = []
    for grams, own in ((first, numbers[:split]), (second, numbers[split:])):
        places, rows = grams.once()
        found.append(rows * width + own[places])
    sides = np.repeat([_FIRST, _SECOND], [len(one) for one in found])
    distinct, places = np.unique(np.concatenate(found), return_inverse=True)
    side = np.bincount(places, sides, len(distinct)).astype(np.int64)  # both: 1 + 2
    sided = keys[distinct % width] | (side << _SIDE_BIT) if len(distinct) else distinct
    own_keys, own_places = np.unique(sided, return_inverse=True)
    return RowGrams(own_keys, own_places, distinct // width, first.count)


def pieces_of(keys: Ints) -> Iterator[Ints]:
    """Yields the ids, each plus one, of n-grams by place; 0 where an n-gram is shorter."""
    for place in range(LONGEST):
        yield (keys >> (_BITS * place)) & ((1 << _BITS) - 1)


def sides_of(keys: Ints) -> Ints:
    """Returns where pairs have n-grams: 1, 2 or 3; 0 for those of single texts."""
    return keys >> _SIDE_BIT
