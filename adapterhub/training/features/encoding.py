"""Texts -> features, encoded once and cached on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from adapterhub.model.encoder.changes import Adapter
from adapterhub.model.encoder.depth_loop import States, each_depth
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.pooling import POOLINGS
from adapterhub.model.encoder.tokens import Row, TextTokenizer, Window, batches
from adapterhub.model.heads.spans import TaggedText, words_of
from adapterhub.plan import Reading
from adapterhub.specs import Pooling
from adapterhub.training.features.shards import (
    Halves,
    Shard,
    drop_oldest,
    mark_used,
    open_shards,
    text_key,
    write_shard,
)

Content = Literal["pooled", "words", "tokens", "context"]

POOLED: tuple[Pooling, ...] = ("cls", "mean", "max")
"""Poolings without parameters, in the order of the cache."""

_VERSION = 4
"""Increased when the items of a text change, so that caches of older code are not read."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What is cached of each text.

    Attributes:
        content: `pooled`: one item per text, taps are depths times POOLED. `words`: the first
            token of each word. `tokens`: all tokens of the first window, special ones
            included. `context`: of each window the first token, then those of the text that
            slides. For all but the first, taps are depths.
        reading: Fields and window.
        max_windows: Windows per text at most.
        depths: Ascending.
    """

    content: Content
    reading: Reading
    max_windows: int
    depths: tuple[int, ...]

    @property
    def taps(self) -> int:
        """Returns the number T of features per item."""
        return len(self.depths) * (len(POOLED) if self.content == "pooled" else 1)

    @property
    def folder(self) -> str:
        """Returns the name of the cache folder."""
        reading = self.reading
        window = f"{len(reading.fields)}x{reading.max_length}-{reading.overlap}-{self.max_windows}"
        depths = ".".join(map(str, self.depths))
        return f"{self.content}{_VERSION}-{window}-d{depths}"

    def index(self, depth: int, pooling: Pooling) -> int:
        """Returns the index of one tap."""
        place = self.depths.index(depth)
        return place * len(POOLED) + POOLED.index(pooling) if self.content == "pooled" else place


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSource:
    """Where features come from.

    Attributes:
        encoder: The frozen backbone on its device.
        tokenizer: Of the same backbone.
        cache: Root folder of the cache.
        max_bytes: Size above which the oldest shards are deleted.
        adapter: Features are from its branch; None for the trunk.
    """

    encoder: Encoder
    tokenizer: TextTokenizer
    cache: Path
    max_bytes: int
    adapter: Adapter | None = None

    @property
    def folder(self) -> Path:
        """Returns the cache folder of this backbone and adapter."""
        fingerprint = self.encoder.spec.fingerprint.removeprefix("sha256:")
        dtype = str(self.encoder.dtype).removeprefix("torch.")
        adapter = "" if self.adapter is None else f"-{self.adapter.digest[:16]}"
        return self.cache / f"{fingerprint[:16]}-{dtype}{adapter}"


def encode(
    inputs: Sequence[tuple[str, ...]], layouts: Sequence[Layout], source: FeatureSource
) -> list[tuple[list[int], Halves]]:
    """Returns, for each layout, the number of items of each row and all features.

    The features are (T, items, H) fp16. The encoder runs once for all layouts.

    Args:
        inputs: One string per field and row.
        layouts: Of one reading and number of windows, all of tokens or none.
        source: Encoder and tokenizer.
    """
    reading, is_tokens = layouts[0].reading, layouts[0].content == "tokens"
    windows_kept = 1 if is_tokens else layouts[0].max_windows
    rows = source.tokenizer.rows(inputs, reading=reading, max_windows=windows_kept)
    windows = source.tokenizer.windows(rows, reading=reading)
    if is_tokens:
        # A pair is cut to a budget of tokens, which may be more than one window.
        windows = [window for window in windows if window.first == 0]
    encoder = source.encoder
    sums = [
        _Sums(layout, _Picks(inputs, rows, windows, layout.content), encoder) for layout in layouts
    ]
    depths = tuple(sorted({depth for layout in layouts for depth in layout.depths}))
    packed = batches(windows, max_tokens=encoder.batch_tokens, device=encoder.device)
    for states in each_depth(packed, depths, encoder=encoder, adapter=source.adapter):
        for own in sums:
            if states.depth in own.layout.depths:
                own.add(states)
    return [(own.picks.counts, own.halves()) for own in sums]


class _Sums:
    """Adds up the features of one layout over windows, batch by batch."""

    def __init__(self, layout: Layout, picks: _Picks, encoder: Encoder) -> None:
        self.layout = layout
        self.picks = picks
        self._values = torch.zeros(layout.taps, sum(picks.counts), encoder.hidden_size)
        self._targets = self._tokens = torch.zeros(0, dtype=torch.int64)

    def add(self, states: States) -> None:
        """Adds the states of a batch at one depth."""
        place = self.layout.depths.index(states.depth)
        if place == 0:  # of a new batch
            picked = self.picks.of(states.batch.windows)
            self._targets, self._tokens = map(torch.from_numpy, picked)
        if self.layout.content == "pooled":
            features = [POOLINGS[pooling](states.hidden, states.batch) for pooling in POOLED]
        else:
            tokens = self._tokens.to(states.hidden.device)
            features = [states.hidden.index_select(0, tokens).float()]
        # The windows of a text are averaged: a linear head of the mean gives the mean of its
        # logits over windows, as scoring does.
        taps = self._values[place * len(features) : (place + 1) * len(features)]
        taps.index_add_(1, self._targets, torch.stack(features).cpu())

    def halves(self) -> Halves:
        """Returns the features, (T, items, H) fp16; to be called once."""
        values = self._values.div_(torch.from_numpy(self.picks.shares))
        limit = torch.finfo(torch.float16).max
        return values.clamp_(-limit, limit).half().numpy()


class _Picks:
    """Maps each window, or each picked token of a window, to the item that it adds to."""

    def __init__(
        self,
        inputs: Sequence[tuple[str, ...]],
        rows: Sequence[Row],
        windows: Sequence[Window],
        content: Content,
    ) -> None:
        self._content = content
        self.counts = [1] * len(rows)
        self._words: list[list[int]] = []
        self._windows: dict[tuple[int, int], int] = {}
        if content == "words":
            texts = (
                TaggedText(texts[0], row.offsets) for texts, row in zip(inputs, rows, strict=True)
            )
            self._words = [[word.token for word in words_of(text)] for text in texts]
            self.counts = [len(words) for words in self._words]
        elif content == "tokens":
            self.counts = [len(window.ids) for window in windows]
        elif content == "context":
            sizes = [1 + window.last - window.first for window in windows]
            of_rows = np.bincount([w.row for w in windows], sizes, minlength=len(rows))
            self.counts = of_rows.astype(np.int64).tolist()
            places = zip(windows, np.cumsum(sizes) - sizes, strict=True)
            self._windows = {(w.row, w.first): int(place) for w, place in places}
        self._starts = np.cumsum([0, *self.counts])
        self.shares = np.ones((sum(self.counts), 1), np.float32)
        if content == "pooled":
            self.shares[:, 0] = np.bincount([w.row for w in windows], minlength=len(rows))

    def of(self, windows: Sequence[Window]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Returns the item of each window or picked token, and the picked tokens of a batch."""
        targets: list[npt.NDArray[np.int64]] = []
        tokens: list[npt.NDArray[np.int64]] = []
        start = 0
        for window in windows:
            item = int(self._starts[window.row])
            if self._content == "pooled":
                targets.append(np.array([item]))
            elif self._content == "tokens":
                places = np.arange(len(window.ids))
                targets.append(item + places)
                tokens.append(start + places)
            elif self._content == "context":
                size = window.last - window.first
                first = self._windows[window.row, window.first]
                targets.append(np.arange(first, first + 1 + size))
                inside = start + window.place + np.arange(size)
                tokens.append(np.concatenate(([start], inside)))
            else:
                words = np.array(self._words[window.row], np.int64)
                seen = np.flatnonzero((words >= window.first) & (words < window.last))
                targets.append(item + seen)
                tokens.append(start + 1 + words[seen] - window.first)  # after [CLS]
            start += len(window.ids)
        none = np.zeros(0, np.int64)
        return np.concatenate(targets or [none]), np.concatenate(tokens or [none])


# Large enough for full batches of like lengths, small enough that a stopped run loses little.
_SHARD_BYTES = 64 * 2**20
_SHARD_ROWS = 4096
# More than in an average text: bounds the size of a shard before its texts are tokenised.
_GUESSED_ITEMS = 48


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The features of N rows, read from the cache tap by tap.

    Attributes:
        layout: What is cached.
        counts: (N,) int64, items of each row.
        places: Per row its shard and its index there.
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


def read_features(
    inputs: Sequence[tuple[str, ...]], *, layout: Layout, source: FeatureSource
) -> Features:
    """Returns the features of all rows; texts that are not cached are encoded and added.

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
        for (shard,) in encode_missing(missing, (layout,), source):
            place_of.update({key: (len(shards), row) for row, key in enumerate(shard.keys)})
            shards.append(shard)
    places = tuple(place_of[key] for key in keys)
    mark_used([shards[number] for number in {number for number, _ in places}])
    drop_oldest(source.cache, source.max_bytes)
    counts = [int(np.diff(shards[number].starts[row : row + 2])[0]) for number, row in places]
    hidden_size = source.encoder.hidden_size
    return Features(layout, np.array(counts, np.int64), places, tuple(shards), hidden_size)


def encode_missing(
    missing: Mapping[bytes, tuple[str, ...]], layouts: Sequence[Layout], source: FeatureSource
) -> Iterator[tuple[Shard, ...]]:
    """Yields new shards with the missing texts, one for each layout, from one run of the encoder.

    Args:
        missing: Texts by their key.
        layouts: As in `encode`.
        source: Encoder and cache.

    Raises:
        UsageError: The cache cannot be written.
    """
    # Texts of like length go together, for full batches and an even progress bar.
    items = sorted(missing.items(), key=lambda item: sum(map(len, item[1])))
    item_bytes = sum(
        layout.taps * (1 if layout.content == "pooled" else _GUESSED_ITEMS) for layout in layouts
    )
    item_bytes *= source.encoder.hidden_size * 2
    rows = max(1, min(_SHARD_ROWS, _SHARD_BYTES // item_bytes))
    # `disable=None` shows no bar where stderr is not a terminal.
    with tqdm(total=len(items), desc="encoding", unit="text", disable=None) as bar:
        for start in range(0, len(items), rows):
            chunk = items[start : start + rows]
            keys = [key for key, _ in chunk]
            encoded = encode([inputs for _, inputs in chunk], layouts, source)
            yield tuple(
                write_shard(source.folder / layout.folder, keys, counts=counts, values=values)
                for layout, (counts, values) in zip(layouts, encoded, strict=True)
            )
            bar.update(len(chunk))


def _ranges(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns `start, start + 1, …, start + count - 1` for each pair, in one array."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    places: npt.NDArray[np.int64] = np.arange(total) + np.repeat(starts - (ends - counts), counts)
    return places
