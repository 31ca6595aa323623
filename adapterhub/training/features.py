"""Texts -> features, encoded once and kept on disk.

Features are a pure function of backbone, window, depth, pooling and text, so each text is
encoded once, whatever task, split or order it comes in. One run through the depths gives the
features of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from adapterhub.plan import Reading
from adapterhub.specs import Pooling
from adapterhub.training.encoding import Layout, Source, encode
from adapterhub.training.shards import (
    Shard,
    drop_oldest,
    mark_used,
    open_shards,
    text_key,
    write_shard,
)

# Long enough that batches of like lengths are full, short enough that a stopped run loses little.
_SHARD_BYTES = 64 * 2**20
_SHARD_ROWS = 4096
# An average text is shorter; this only bounds a shard's size before its texts are tokenised.
_GUESSED_ITEMS = 48


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The features of N rows, read from the cache tap by tap.

    Attributes:
        layout: What is kept.
        counts: (N,) int64, items of each row.
        places: Per row its shard and its place in it.
        shards: The open shards.
        hidden_size: Width H.
    """

    layout: Layout
    counts: npt.NDArray[np.int64]
    places: tuple[tuple[int, int], ...]
    shards: tuple[Shard, ...]
    hidden_size: int

    @property
    def reading(self) -> Reading:
        """Returns the fields and the window."""
        return self.layout.reading

    def tap(self, depth: int, pooling: Pooling) -> torch.Tensor:
        """Returns the features of one tap for all rows in order: (items, H) fp16."""
        ends = np.cumsum(self.counts)
        values = np.empty((int(ends[-1]) if len(ends) else 0, self.hidden_size), np.float16)
        by_shard: dict[int, list[int]] = {}
        for row, (shard, _) in enumerate(self.places):
            by_shard.setdefault(shard, []).append(row)
        index = self.layout.index(depth, pooling)
        for number, rows in by_shard.items():
            block = self.shards[number].tap(index)
            starts = self.shards[number].starts[[self.places[row][1] for row in rows]]
            counts = self.counts[rows]
            values[_ranges(ends[rows] - counts, counts)] = block[_ranges(starts, counts)]
        return torch.from_numpy(values)


def read_features(inputs: Sequence[tuple[str, ...]], *, layout: Layout, source: Source) -> Features:
    """Returns the features of all rows; texts that the cache lacks are encoded and added.

    Raises:
        UsageError: The cache cannot be written.
    """
    folder = source.folder / layout.folder
    keys = [text_key(row) for row in inputs]
    shards = open_shards(folder)
    place_of = {
        key: (number, row)
        for number, shard in enumerate(shards)
        for row, key in enumerate(shard.keys)
    }
    missing = {key: row for key, row in zip(keys, inputs, strict=True) if key not in place_of}
    if missing:
        for shard in _encode_missing(missing, layout, source, folder):
            place_of.update({key: (len(shards), row) for row, key in enumerate(shard.keys)})
            shards.append(shard)
    places = tuple(place_of[key] for key in keys)
    mark_used([shards[number] for number in {number for number, _ in places}])
    drop_oldest(source.cache, source.max_bytes)
    counts = [int(np.diff(shards[number].starts[row : row + 2])[0]) for number, row in places]
    hidden_size = source.encoder.hidden_size
    return Features(layout, np.array(counts, np.int64), places, tuple(shards), hidden_size)


def _encode_missing(
    missing: dict[bytes, tuple[str, ...]], layout: Layout, source: Source, folder: Path
) -> Iterator[Shard]:
    """Yields new shards with the texts that the cache lacks."""
    # Texts of like lengths go together: full batches, and an even bar.
    items = sorted(missing.items(), key=lambda item: sum(map(len, item[1])))
    item_bytes = layout.taps * source.encoder.hidden_size * 2
    item_bytes *= 1 if layout.content == "pooled" else _GUESSED_ITEMS
    rows = max(1, min(_SHARD_ROWS, _SHARD_BYTES // item_bytes))
    # `disable=None` is off where stderr is no terminal.
    with tqdm(total=len(items), desc="encoding", unit="text", disable=None) as bar:
        for start in range(0, len(items), rows):
            chunk = items[start : start + rows]
            counts, values = encode([inputs for _, inputs in chunk], layout, source)
            yield write_shard(folder, [key for key, _ in chunk], counts=counts, values=values)
            bar.update(len(chunk))


def _ranges(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns `start, start + 1, …, start + count - 1` for each pair, in one array."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    places: npt.NDArray[np.int64] = np.arange(total) + np.repeat(starts - (ends - counts), counts)
    return places
