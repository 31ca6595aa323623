"""The states below an adapter: computed once, cached on disk, read row by row.

The trunk is frozen, so its states at a depth depend on backbone, window and text only. They are in
shards like the features of heads, in the same folder and with the same size limit. The files are
memory-mapped: only the rows of one batch are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from tqdm import tqdm

from adapterhub.model.encoder.depth_loop import each_depth
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TokenBatch
from adapterhub.plan import Reading
from adapterhub.training.adapter_options import TrunkDtype
from adapterhub.training.adapters.examples import (
    ExampleBatch,
    Examples,
    make_batch,
    reading_order,
)
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.features.shards import (
    Halves,
    Shard,
    drop_oldest,
    mark_used,
    open_shards,
    write_shard,
)

_SHARD_BYTES = 128 * 2**20
_BYTES = {"float16": 2, "float32": 4}


class TrunkStates(Protocol):
    """Reads the hidden states at the depth where the adapter starts."""

    def read(self, examples: Examples, rows: Sequence[int], batch: ExampleBatch) -> torch.Tensor:
        """Returns the states of a batch in its packed order: (P, H) fp32 on its device.

        Args:
            examples: The split of the rows.
            rows: The rows of the batch, in order.
            batch: The same rows, packed.
        """
        ...


class ComputedTrunk:
    """Runs the trunk for every batch."""

    def __init__(self, encoder: Encoder, depth: int) -> None:
        self._encoder = encoder
        self._depth = depth

    def read(self, examples: Examples, rows: Sequence[int], batch: ExampleBatch) -> torch.Tensor:
        """Returns the states of a batch: (P, H) fp32."""
        del examples, rows
        # A tensor of inference_mode cannot enter an autograd graph; its copy can.
        return _states(self._encoder, batch.tokens, self._depth).float().clone()


class CachedTrunk:
    """Reads states from disk."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._places = {key: (shard, row) for shard in shards for row, key in enumerate(shard.keys)}

    def read(self, examples: Examples, rows: Sequence[int], batch: ExampleBatch) -> torch.Tensor:
        """Returns the states of a batch: (P, H) fp32."""
        parts = []
        for row in rows:
            shard, place = self._places[examples.keys[row]]
            start, stop = shard.starts[place : place + 2].tolist()
            parts.append(shard.file.get_slice("values")[0, start:stop])
        states = torch.from_numpy(np.concatenate(parts))
        return states.index_select(0, batch.order).to(batch.texts.device).float()


@dataclass(frozen=True, slots=True, eq=False)
class OpenTrunk:
    """A trunk, computed or cached.

    Attributes:
        trunk: Reads the states.
        note: Why the cache is not used, or None.
    """

    trunk: TrunkStates
    note: str | None = None


@dataclass(frozen=True, slots=True)
class TrunkLayout:
    """What is cached.

    Attributes:
        depth: Where the adapter starts.
        reading: Fields and window.
        max_windows: Windows per text at most.
        dtype: Of the cache.
    """

    depth: int
    reading: Reading
    max_windows: int
    dtype: TrunkDtype

    @property
    def folder(self) -> str:
        """Returns the name of the cache folder."""
        reading = self.reading
        window = f"{len(reading.fields)}x{reading.max_length}-{reading.overlap}-{self.max_windows}"
        how = "-apart" if reading.apart else "-second" if reading.slides_second else ""
        return f"states-{window}{how}-d{self.depth}-{self.dtype}"


def open_trunk(parts: Sequence[Examples], layout: TrunkLayout, source: FeatureSource) -> OpenTrunk:
    """Returns the states of all rows; those that are not cached are computed and added.

    Raises:
        UsageError: The cache cannot be written.
    """
    if layout.depth == 0:
        # A table look-up and one small product cost less than reading a cache.
        return OpenTrunk(ComputedTrunk(source.encoder, 0))
    lengths = {
        key: length
        for part in parts
        for key, length in zip(part.keys, part.lengths().tolist(), strict=True)
    }
    size = sum(lengths.values()) * source.encoder.hidden_size * _BYTES[layout.dtype]
    if size > source.max_bytes:
        note = (
            f"The states at depth {layout.depth} would take {size} bytes, more than "
            f"cache_max_bytes ({source.max_bytes}); the trunk is computed in every epoch."
        )
        return OpenTrunk(ComputedTrunk(source.encoder, layout.depth), note)
    folder = source.folder / layout.folder
    shards = open_shards(folder)
    known = {key for shard in shards for key in shard.keys}
    for part in parts:
        rows = {key: row for row, key in enumerate(part.keys) if key not in known}
        shards += _compute(part, sorted(rows.values()), layout, source, folder)
        known |= rows.keys()
    used = [shard for shard in shards if not lengths.keys().isdisjoint(shard.keys)]
    mark_used(used)
    drop_oldest(source.cache, source.max_bytes)
    return OpenTrunk(CachedTrunk(used))


def _compute(
    part: Examples, rows: Sequence[int], layout: TrunkLayout, source: FeatureSource, folder: Path
) -> Iterator[Shard]:
    """Yields new shards with the states of some rows."""
    encoder, lengths = source.encoder, part.lengths()
    most = max(1, _SHARD_BYTES // (encoder.hidden_size * _BYTES[layout.dtype]))
    with tqdm(total=len(rows), desc="trunk", unit="text", disable=None) as bar:
        for chunk in reading_order(lengths, rows, max_tokens=most):
            starts = np.concatenate([[0], np.cumsum(lengths[chunk])])
            values: Any = np.empty((1, int(starts[-1]), encoder.hidden_size), layout.dtype)
            for places in reading_order(
                lengths[chunk], range(len(chunk)), max_tokens=encoder.batch_tokens
            ):
                batch = make_batch(part, [chunk[place] for place in places], device=encoder.device)
                states = _states(encoder, batch.tokens, layout.depth).float().cpu().numpy()
                limit = np.finfo(values.dtype).max
                found = np.empty_like(states)
                found[batch.order.numpy()] = states.clip(-limit, limit)
                own = [np.arange(starts[place], starts[place + 1]) for place in places]
                values[0, np.concatenate(own)] = found
            keys = [part.keys[row] for row in chunk]
            counts = lengths[chunk].tolist()
            yield write_shard(folder, keys, counts=counts, values=cast("Halves", values))
            bar.update(len(chunk))


def _states(encoder: Encoder, batch: TokenBatch, depth: int) -> torch.Tensor:
    return next(each_depth([batch], (depth,), encoder=encoder)).hidden
