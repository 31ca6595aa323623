"""Minibatches of items: their labels, and the standardised states that they read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.probing.items import ProbeItems, Split
from adapterhub.probing.states import ProbeStates
from adapterhub.training.features.standardized_features import measure

Indices = npt.NDArray[np.int64]

_ROWS_AT_ONCE = 2**15
"""Tokens or items whose states are in fp32 at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B items that are predicted together.

    Attributes:
        rows: (B,) indices among the items of the split, ascending within a text.
        labels: (T, B) by target: the labels, and those of the control task.
        grid: (n, L) where words compete for being a head: the place in the batch of each word of n
            texts, -1 behind the last one. None where they do not.
    """

    rows: torch.Tensor
    labels: torch.Tensor
    grid: torch.Tensor | None


class ItemBatches:
    """The items of a split, cut into batches.

    Attributes:
        items: The items.
        labels: (T, M) by target.
        heads: Whether the words of a text compete, so that they stay in one batch.
    """

    def __init__(self, items: ProbeItems, *, control: bool, heads: bool) -> None:
        targets = [items.labels, items.control] if control else [items.labels]
        self.items = items
        self.heads = heads
        self.labels = torch.from_numpy(np.stack(targets))
        counts = np.bincount(items.sentences, minlength=len(items.lengths))
        self.counts: Indices = counts.astype(np.int64)
        self.starts: Indices = np.cumsum(self.counts) - self.counts

    def of_texts(self, texts: Indices) -> Batch:
        """Returns the items of texts, text by text."""
        counts = self.counts[texts]
        starts = np.cumsum(counts) - counts
        rows = np.repeat(self.starts[texts] - starts, counts) + np.arange(counts.sum())
        grid = None
        if self.heads:
            columns = np.arange(counts.max(initial=1))
            inside = columns[None] < counts[:, None]
            grid = torch.from_numpy(np.where(inside, starts[:, None] + columns[None], -1))
        return self._batch(rows, grid)

    def cut(
        self, size: int, order: torch.Generator | None = None, *, most: int | None = None
    ) -> Iterator[Batch]:
        """Yields batches of about `size` items, shuffled where an order is given.

        Args:
            size: See above.
            order: Draws the order.
            most: Places of a grid at most, unless one text has more; None for `size`.
        """
        if not self.heads:
            rows = torch.arange(self.items.items)
            if order is not None:
                rows = torch.randperm(len(rows), generator=order)
            for part in torch.split(rows, size):
                yield self._batch(part.numpy(), None)
            return
        texts = np.flatnonzero(self.counts)
        if order is not None:
            texts = texts[torch.randperm(len(texts), generator=order).numpy()]
        for group in self._groups(texts, size, size if most is None else most):
            yield self.of_texts(group)

    def _groups(self, texts: Indices, size: int, most: int) -> Iterator[Indices]:
        """Yields texts with about `size` items, whose grid has `most` places at most.

        Every word has a score for each place of the longest text, so that one long text beside many
        short ones would take gigabytes.
        """
        start = items = longest = 0
        for place, count in enumerate(self.counts[texts].tolist()):
            longest = max(longest, count)
            if place > start and (items >= size or (place + 1 - start) * longest > most):
                yield texts[start:place]
                start, items, longest = place, 0, count
            items += count
        if len(texts):
            yield texts[start:]

    def _batch(self, rows: Indices, grid: torch.Tensor | None) -> Batch:
        found = torch.from_numpy(rows)
        return Batch(found, self.labels[:, found], grid)


class ItemStates:
    """What the items of a split read of the kept states: a word, two words, or a text's mean."""

    def __init__(self, items: ProbeItems, states: ProbeStates, split: Split) -> None:
        self._sources = [
            states.read(split, depth, weights)
            for weights in states.weights
            for depth in states.depths
        ]
        self._places = None
        if items.places is None:
            self._sources = [_means(source, items.lengths) for source in self._sources]
        else:
            self._places = torch.from_numpy(items.places)

    def read(self, rows: torch.Tensor) -> torch.Tensor:
        """Returns what items read: (G, B, F) fp32, G being sets of weights times depths.

        F is H times the number of tokens that an item reads.
        """
        if self._places is None:
            return torch.stack([source[rows].float() for source in self._sources])
        places = self._places[rows]
        return torch.stack([source[places].flatten(1).float() for source in self._sources])

    def scales(self, of_tokens: Callable[[], Scales]) -> Scales:
        """Returns the scales of what is read: (G, F) each.

        Args:
            of_tokens: Gives those of single tokens: (G, H) each.
        """
        if self._places is None:
            return measure_all(self._sources)
        found, times = of_tokens(), self._places.shape[1]
        return Scales(found.mean.repeat(1, times), found.deviation.repeat(1, times))


@dataclass(frozen=True, slots=True, eq=False)
class Scales:
    """Mean and standard deviation of what G sources give, on the training rows: (G, F) each."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def at(self, places: Sequence[int]) -> Scales:
        """Returns those of some sources."""
        return Scales(self.mean[list(places)], self.deviation[list(places)])

    def to(self, device: torch.device) -> Scales:
        """Returns them on a device."""
        return Scales(self.mean.to(device), self.deviation.to(device))

    def apply(self, values: torch.Tensor) -> torch.Tensor:
        """Returns standardised values: (G, B, F)."""
        return (values - self.mean[:, None]) / self.deviation[:, None]


def measure_all(sources: Sequence[torch.Tensor]) -> Scales:
    """Returns the scales of G sources, each (N, H) fp16."""
    found = [measure(source) for source in sources]
    means = torch.stack([scale.mean for scale in found])
    return Scales(means, torch.stack([scale.deviation for scale in found]))


def _means(states: torch.Tensor, lengths: Indices) -> torch.Tensor:
    """Returns the mean over the tokens of each text: (tokens, H) -> (N, H) fp16."""
    ends = np.cumsum(lengths)
    found = torch.empty(len(lengths), states.shape[1], dtype=torch.float16)
    for part in np.split(
        np.arange(len(lengths)), np.flatnonzero(np.diff(ends // _ROWS_AT_ONCE)) + 1
    ):
        if len(part):
            start = ends[part[0]] - lengths[part[0]]
            rows = states[start : ends[part[-1]]].float()
            sizes = torch.from_numpy(lengths[part])
            found[part[0] : part[-1] + 1] = torch.segment_reduce(rows, "mean", lengths=sizes).half()
    return found
