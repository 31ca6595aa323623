"""One run of texts through the depths, and what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.model.adapters import Adapter
from adapterhub.model.encoder import Encoder
from adapterhub.model.pooling import POOLINGS
from adapterhub.model.spans import TaggedText, words_of
from adapterhub.model.stack import Applied
from adapterhub.model.tokens import Row, TextTokenizer, Window, batches
from adapterhub.plan import Reading
from adapterhub.specs import Pooling
from adapterhub.training.shards import Halves

Content = Literal["pooled", "words", "tokens"]

POOLED: tuple[Pooling, ...] = ("cls", "mean", "max")
"""Poolings without weights of their own, in the order in which the cache keeps them."""


_VERSION = 2
"""Counts up when the same text gets other items, so that those of older code are not read."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the cache keeps of each text.

    Attributes:
        content: `pooled`: one item per text, taps are depths times POOLED. `words`: the first
            token of each word that tagging decides on. `tokens`: all tokens of the first
            window, special ones included. For the last two, taps are depths.
        reading: Fields and window.
        max_windows: Windows per text at most.
        depths: The depths kept, ascending.
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
        """Returns the name of the folder for such features."""
        reading = self.reading
        window = f"{len(reading.fields)}x{reading.max_length}-{reading.overlap}-{self.max_windows}"
        depths = ".".join(map(str, self.depths))
        return f"{self.content}{_VERSION}-{window}-d{depths}"

    def index(self, depth: int, pooling: Pooling) -> int:
        """Returns the place of one tap."""
        place = self.depths.index(depth)
        return place * len(POOLED) + POOLED.index(pooling) if self.content == "pooled" else place


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where features come from.

    Attributes:
        encoder: The frozen backbone on its device.
        tokenizer: Of the same backbone.
        cache: Root folder of the cache.
        max_bytes: Size of the cache from which old shards are dropped.
        adapter: Features are of its branch; None for the trunk.
    """

    encoder: Encoder
    tokenizer: TextTokenizer
    cache: Path
    max_bytes: int
    adapter: Adapter | None = None

    @property
    def folder(self) -> Path:
        """Returns the folder for the features of this backbone and adapter."""
        fingerprint = self.encoder.spec.fingerprint.removeprefix("sha256:")
        dtype = str(self.encoder.dtype).removeprefix("torch.")
        adapter = "" if self.adapter is None else f"-{self.adapter.digest[:16]}"
        return self.cache / f"{fingerprint[:16]}-{dtype}{adapter}"

    def applied(self, tokens: int) -> tuple[Applied, ...]:
        """Returns what is changed on a batch of so many tokens."""
        return () if self.adapter is None else (Applied(self.adapter, slice(0, tokens)),)


def encode(
    inputs: Sequence[tuple[str, ...]], layout: Layout, source: Source
) -> tuple[list[int], Halves]:
    """Returns the items of each row, and the features of all of them: (T, items, H) fp16."""
    windows_kept = 1 if layout.content == "tokens" else layout.max_windows
    rows = source.tokenizer.rows(inputs, reading=layout.reading, max_windows=windows_kept)
    windows = source.tokenizer.windows(rows, reading=layout.reading)
    if layout.content == "tokens":
        # A pair is cut to a budget of tokens, which may be more than one window.
        windows = [window for window in windows if window.first == 0]
    picks = _Picks(inputs, rows, windows, layout.content)
    encoder = source.encoder
    values = torch.zeros(layout.taps, sum(picks.counts), encoder.hidden_size)
    for batch in batches(windows, max_tokens=encoder.batch_tokens, device=encoder.device):
        targets, tokens = picks.of(batch.windows)
        picked = torch.from_numpy(tokens).to(encoder.device)
        hidden, depth = encoder.embed(batch), 0
        features: list[torch.Tensor] = []
        for stop in layout.depths:
            changed = source.applied(batch.tokens)
            hidden, depth = encoder.run(hidden, batch, depth, stop, changed), stop
            if layout.content == "pooled":
                features.extend(POOLINGS[pooling](hidden, batch) for pooling in POOLED)
            else:
                features.append(hidden.index_select(0, picked).float())
        # A text's windows are averaged: a linear head then gives the mean of their logits,
        # which is what scoring gives.
        values.index_add_(1, torch.from_numpy(targets), torch.stack(features).cpu())
    values /= torch.from_numpy(picks.shares)
    limit = torch.finfo(torch.float16).max
    return picks.counts, values.clamp_(-limit, limit).half().numpy()


class _Picks:
    """Which item each window, or each picked token of a window, adds to."""

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
        if content == "words":
            texts = (
                TaggedText(texts[0], row.offsets) for texts, row in zip(inputs, rows, strict=True)
            )
            self._words = [[word.token for word in words_of(text)] for text in texts]
            self.counts = [len(words) for words in self._words]
        elif content == "tokens":
            self.counts = [len(window.ids) for window in windows]
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
            else:
                words = np.array(self._words[window.row], np.int64)
                seen = np.flatnonzero((words >= window.first) & (words < window.last))
                targets.append(item + seen)
                tokens.append(start + 1 + words[seen] - window.first)  # after [CLS]
            start += len(window.ids)
        none = np.zeros(0, np.int64)
        return np.concatenate(targets or [none]), np.concatenate(tokens or [none])
