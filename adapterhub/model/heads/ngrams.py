"""N-grams of subword pieces: the wide part of a head.

A frozen encoder maps a text to H numbers and loses part of which words it had. A head may
therefore also sum one weight per known n-gram, without an additional pass. In a pair, an n-gram is
in the first text only, in the second only, or in both.

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
from adapterhub.model.tokenizers.tokenizer_checks import ID_BITS

Ints = npt.NDArray[np.int64]
Ids = Sequence[Sequence[int]]
"""Token ids of N rows."""

LONGEST = 3
"""Pieces of the longest n-gram."""
_BITS = ID_BITS
"""Bits per id, plus one, in a key: three ids and the side fit 64 bits."""
_SIDE_BIT = LONGEST * _BITS
_FIRST, _SECOND = 1, 2
AROUND = 2
"""Tagging: tokens on each side of a token whose n-grams are its features."""
SIDES = 3
"""Number of sides that an n-gram of a pair can be on: first text, second text, both."""


@dataclass(frozen=True, slots=True, eq=False)
class RowGrams:
    """The n-grams of N rows, up to `LONGEST` pieces, without special tokens.

    Attributes:
        keys: (U,) the distinct n-grams, ascending; see `wide_head.GramWeights`.
        places: (G,) index in `keys` of each occurrence; a pair has an n-gram once.
        rows: (G,) row of each occurrence, ascending.
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
    """Returns the n-grams of rows with one or two fields, given the token ids of each field."""
    grams = [_grams_of(ids) for ids in fields]
    return grams[0] if len(grams) == 1 else _join(*grams)


def token_grams(ids: Ids) -> RowGrams:
    """Returns the n-grams within `AROUND` tokens of each token; each token is one row of them."""
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
    """The tokens of all rows: ids plus one, and rows, both (P,)."""

    ids: Ints
    rows: Ints

    @classmethod
    def of(cls, ids: Ids) -> _Flat:
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        flat = np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum())) + 1
        return cls(flat, np.repeat(np.arange(len(ids)), lengths))

    def grams(self, size: int) -> tuple[Ints, Ints]:
        """Returns the n-grams of `size` pieces and the index of the first token of each."""
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
    """Returns the n-grams of pairs, each with the side that it is on."""
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
    """Yields the first, second and third ids plus one of n-grams; 0 past the end of an n-gram."""
    for place in range(LONGEST):
        yield (keys >> (_BITS * place)) & ((1 << _BITS) - 1)


def sides_of(keys: Ints) -> Ints:
    """Returns the side of each n-gram: 1 first text, 2 second, 3 both; 0 for single texts."""
    return keys >> _SIDE_BIT
