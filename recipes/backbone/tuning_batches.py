"""Draws batches of rows of like length; a batch depends on nothing but its number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recipes.backbone.batches import Ints, mask_ngrams
from recipes.backbone.tuning_sets import NO_TAG, TuningKind, TuningSet

EDGES = (16, 24, 32, 48, 64, 96, 128, 192, 256, 512)
"""Tokens of the longest row in a bucket: rows of a batch come from one."""
HELD_SHARE = 0.02
MOST_HELD = 128
"""Rows that are kept back for steering: the last ones, at most so many."""
_OWN_STREAM = 1
APART_SHARE = 0.85
"""Share of the batches of pairs in which each text is read alone."""


@dataclass(frozen=True)
class TuningBatch:
    """N rows of one set, padded to the longest, S tokens.

    Attributes:
        name: Of the set.
        kind: What is learned.
        head: Name of its head.
        input_ids: (N, S).
        token_type_ids: (N, S), 0 or 1.
        attention_mask: (N, S), 0 for padding.
        targets: As in `TuningSet`, tags (N, S); for text the ids that were masked, (N * M,).
        positions: (N * M,), where the masked tokens of text are in the flattened `input_ids`.
        apart: Whether the two texts of a pair are rows of their own: the first texts of all
            pairs, (N / 2, S), and then the second ones; one target per pair.
        seed: Of whatever else is drawn for the batch.
    """

    name: str
    kind: TuningKind
    head: str
    input_ids: Ints
    token_type_ids: Ints
    attention_mask: Ints
    targets: npt.NDArray[Any]
    positions: Ints
    apart: bool = False
    seed: int = 0


def held_rows(rows: TuningSet) -> range:
    """Returns the rows that are kept back."""
    return range(len(rows) - min(MOST_HELD, int(HELD_SHARE * len(rows))), len(rows))


class RowBuckets:
    """The training rows of a set by length.

    Args:
        rows: The set; the rows that are kept back are left out.
        seed: Changes what is drawn.
    """

    def __init__(self, rows: TuningSet, *, seed: int) -> None:
        self.rows = rows
        self._seed = seed
        self._paired = rows.paired
        free = np.arange(held_rows(rows).start)
        edges = np.searchsorted(EDGES, np.diff(rows.starts)[free])
        self._buckets = [found for edge in range(len(EDGES)) if len(found := free[edges == edge])]
        self._widths = [EDGES[edges[found[0]]] for found in self._buckets]
        sizes = np.array([len(found) for found in self._buckets], dtype=float)
        self._shares = sizes / sizes.sum()

    def batch(self, number: int, *, tokens: int, vocab_size: int) -> TuningBatch:
        """Returns batch `number`: rows from one bucket, about `tokens` tokens."""
        # Not the stream that chose the set: its first draw would then choose the bucket as well.
        rng = np.random.default_rng((self._seed, number, _OWN_STREAM))
        place = int(rng.choice(len(self._buckets), p=self._shares))
        bucket = self._buckets[place]
        count = min(len(bucket), max(2, tokens // self._widths[place]))
        chosen = rng.choice(bucket, count, replace=False)
        if self._paired and rng.random() < APART_SHARE:
            return replace(take_apart(self.rows, chosen), seed=number)
        return replace(take_rows(self.rows, chosen, rng, vocab_size=vocab_size), seed=number)


def take_rows(
    rows: TuningSet, chosen: npt.NDArray[np.int64], rng: np.random.Generator, *, vocab_size: int
) -> TuningBatch:
    """Returns the batch of the chosen rows; rows of text are masked."""
    spans = list(zip(rows.starts[chosen], rows.starts[chosen + 1], strict=True))
    ids, mask = _pad([rows.ids[start:end] for start, end in spans])
    types = np.zeros_like(ids)
    tags = np.full(ids.shape, NO_TAG, dtype=np.int64)
    for row, (start, end) in enumerate(spans):
        types[row, rows.seconds[chosen[row]] : end - start] = 1
        if rows.kind == "tags":
            tags[row, : end - start] = rows.targets[start:end]
    positions = np.zeros(0, dtype=np.int64)
    targets = tags if rows.kind == "tags" else rows.targets[chosen] if len(rows.targets) else tags
    if rows.kind == "text":
        positions, targets = mask_ngrams(ids, rng, vocab_size=vocab_size)
    return TuningBatch(rows.name, rows.kind, rows.head, ids, types, mask, targets, positions)


def take_apart(rows: TuningSet, chosen: npt.NDArray[np.int64]) -> TuningBatch:
    """Returns the batch of the chosen pairs in which each text is read alone."""
    firsts, seconds = [], []
    for row in chosen:
        both = rows.ids[rows.starts[row] : rows.starts[row + 1]]
        place = rows.seconds[row]
        firsts.append(both[:place])
        seconds.append(np.concatenate([both[:1], both[place:]]))  # [CLS] opens both
    ids, mask = _pad([*firsts, *seconds])
    return TuningBatch(
        name=f"{rows.name} apart",
        kind=rows.kind,
        head=apart_head(rows.head),
        input_ids=ids,
        token_type_ids=np.zeros_like(ids),
        attention_mask=mask,
        targets=rows.targets[chosen],
        positions=np.zeros(0, dtype=np.int64),
        apart=True,
    )


def apart_head(head: str) -> str:
    """Returns the name of the head that compares two texts read alone."""
    return f"{head}_apart"


def _pad(parts: Sequence[npt.NDArray[np.uint16]]) -> tuple[Ints, Ints]:
    """Returns ids and mask, (N, S), of rows of ids."""
    shape = (len(parts), max(map(len, parts)))
    ids, mask = (np.zeros(shape, dtype=np.int64) for _ in range(2))
    for row, part in enumerate(parts):
        ids[row, : len(part)] = part
        mask[row, : len(part)] = 1
    return ids, mask
