"""Cuts shards into windows without padding and makes masked, sentence-ordered batches of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from adapterhub.errors import DataError
from recipes.backbone.corpus import LANGUAGES, Split
from recipes.backbone.shards import Shard, read_shard

CLS, SEP, MASK = 2, 3, 4
FIRST_PIECE = 5
MASK_SHARE = 0.15
NGRAM_SHARES = (6 / 11, 3 / 11, 2 / 11)
"""Shares of masked n-grams of 1, 2 and 3 tokens, p(n) ~ 1/n.

Source: ALBERT, arXiv:1909.11942, section 4.1.
"""
SINGLE_SHARE = 0.3
"""Share of windows that are one segment, as most texts of tasks are; they have no order."""
CUT = 8
"""Tokens, at most, that the first segment of a pair loses at its end.

So both segments end within a sentence, as the window's end makes the second one do, and a full
stop does not give away the order.
"""
NO_ORDER = -100

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """N windows of S tokens without padding, with M masked tokens in each.

    Attributes:
        input_ids: (N, S), masked.
        token_type_ids: (N, S), 0 or 1.
        positions: (N * M,), where the masked tokens are in the flattened `input_ids`.
        labels: (N * M,), the ids that were there.
        orders: (N,), 0 for segments in order, 1 for swapped ones, `NO_ORDER` for a single segment.
    """

    input_ids: Ints
    token_type_ids: Ints
    positions: Ints
    labels: Ints
    orders: Ints


class Windows:
    """The windows of all languages at any length; the n-th batch of a length is always the same.

    Args:
        folder: Shard folder.
        split: Which split to read.
        vocab_size: Ids below this replace masked tokens at random.
        seed: Changes order and masks.
        languages: A batch holds about the same number of windows of each.
    """

    def __init__(
        self,
        folder: Path,
        split: Split,
        *,
        vocab_size: int,
        seed: int = 0,
        languages: tuple[str, ...] = LANGUAGES,
    ) -> None:
        self.shards = {language: read_shard(folder, language, split) for language in languages}
        self._vocab_size = vocab_size
        self._seed = seed
        self._starts: dict[tuple[str, int], Ints] = {}
        self._orders: dict[tuple[str, int, int], Ints] = {}

    def count(self, language: str, length: int) -> int:
        """Returns the number of windows of S = `length` tokens in one pass over a language."""
        return len(self._window_starts(language, length))

    def batch(self, index: int, *, size: int, length: int) -> Batch:
        """Returns batch number `index` of N = `size` windows of S = `length` tokens.

        Raises:
            DataError: A language has no document that is long enough.
        """
        rng = np.random.default_rng((self._seed, length, index))
        rows = np.empty((size, length), dtype=np.int64)
        types = np.zeros((size, length), dtype=np.int64)
        orders = np.full(size, NO_ORDER, dtype=np.int64)
        borders = np.linspace(0, size, len(self.shards) + 1).astype(int)
        for number, (language, shard) in enumerate(self.shards.items()):
            for row in range(borders[number], borders[number + 1]):
                share = borders[number + 1] - borders[number]
                start = self._pick(language, length, int(index * share + row - borders[number]))
                orders[row] = fill_row(rows[row], types[row], shard, start, rng)
        positions, labels = mask_ngrams(rows, rng, vocab_size=self._vocab_size)
        return Batch(rows, types, positions, labels, orders)

    def _pick(self, language: str, length: int, number: int) -> int:
        starts = self._window_starts(language, length)
        if not len(starts):
            problem = f"no document has {length} tokens; add text or use shorter windows."
            raise DataError(f"{language} shard", problem)
        epoch, place = divmod(number, len(starts))
        key = (language, length, epoch)
        if key not in self._orders:
            self._orders[key] = np.random.default_rng((self._seed, length, epoch)).permutation(
                len(starts)
            )
        return int(starts[self._orders[key][place]])

    def _window_starts(self, language: str, length: int) -> Ints:
        key = (language, length)
        if key not in self._starts:
            self._starts[key] = window_starts(self.shards[language], length - 2 + CUT)
        return self._starts[key]


def window_starts(shard: Shard, size: int) -> Ints:
    """Returns where windows of `size` tokens start, shape (windows,).

    They start at sentences, lie within one document and overlap by less than a sentence.
    """
    starts: list[int] = []
    sentences = shard.sentences
    firsts = np.searchsorted(sentences, shard.documents)
    for number, end in enumerate(shard.documents[1:].tolist()):
        own = sentences[firsts[number] : firsts[number + 1]]
        own = own[own <= end - size]
        # The next window starts at the last sentence start in this one: no sentence is lost.
        following = np.searchsorted(own, own + size, side="right") - 1
        place = 0
        while place < len(own):
            starts.append(int(own[place]))
            place = max(place + 1, int(following[place]))
    return np.asarray(starts, dtype=np.int64)


def fill_row(row: Ints, types: Ints, shard: Shard, start: int, rng: np.random.Generator) -> int:
    """Writes one window into `row` and `types`, both (S,), and returns its order label.

    A pair is split at the start of a random sentence; without such a place, or by chance, the
    window is one segment.
    """
    row[0], row[-1] = CLS, SEP
    types[:] = 0
    size = len(row) - 3
    low, high = np.searchsorted(shard.sentences, (start + CUT + 1, start + size - CUT))
    if low >= high or rng.random() < SINGLE_SHARE:
        row[1:-1] = shard.ids[start : start + len(row) - 2]
        return NO_ORDER
    middle, cut = int(shard.sentences[rng.integers(low, high)]), int(rng.integers(1, CUT + 1))
    first, second = shard.ids[start : middle - cut], shard.ids[middle : start + size + cut]
    order = int(rng.integers(2))
    if order:
        first, second = second, first
    row[1 : 1 + len(first)] = first
    row[1 + len(first)] = SEP
    row[2 + len(first) : -1] = second
    types[2 + len(first) :] = 1
    return order


def mask_ngrams(rows: Ints, rng: np.random.Generator, *, vocab_size: int) -> tuple[Ints, Ints]:
    """Masks the same number M of tokens in each row, in n-grams, in place.

    Of the chosen tokens 80 % become `[MASK]`, 10 % a random piece, 10 % stay.

    Args:
        rows: (N, S) ids, changed in place.
        rng: FeatureSource of chance.
        vocab_size: Random pieces have ids below this.

    Returns:
        Places in the flattened rows, and the ids that were there; both (N * M,).
    """
    count, length = rows.shape
    # Each token starts an n-gram with a random rank; its own rank is the least of those over it.
    rank = rng.random((count, length))
    size = rng.choice(len(NGRAM_SHARES), (count, length), p=NGRAM_SHARES)
    best = rank.copy()
    for shift in range(1, len(NGRAM_SHARES)):
        reach = np.where(size[:, :-shift] >= shift, rank[:, :-shift], 1.0)
        np.minimum(best[:, shift:], reach, out=best[:, shift:])
    best[rows < FIRST_PIECE] = 2.0
    chosen = max(1, round(MASK_SHARE * length))
    columns = np.sort(np.argpartition(best, chosen, axis=1)[:, :chosen], axis=1)
    positions = (columns + np.arange(count)[:, None] * length).reshape(-1)  # (N, M) -> (N * M,)
    flat = rows.reshape(-1)
    labels = flat[positions].copy()
    chance = rng.random(len(positions))
    random_ids = rng.integers(FIRST_PIECE, vocab_size, len(positions))
    flat[positions] = np.where(chance < 0.8, MASK, np.where(chance < 0.9, random_ids, labels))
    return positions, labels
