"""Slabs: all linear heads on one tap as one matrix, so that all of them are one product.

A slab has a fixed number of rows. A head is copied into free rows and stays there as long as
anyone uses it, so loading, replacing and unloading a head changes neither the shape of the
product nor any other head's rows: the others' logits stay bit-identical.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch

from adapterhub.specs import Pooling

SLAB_ROWS = 128


@dataclass(frozen=True, slots=True)
class TapKey:
    """What a slab reads.

    Attributes:
        depth: The depth.
        pooling: How it is pooled.
        adapter: Digest of the branch's adapter; None on the trunk.
    """

    depth: int
    pooling: Pooling
    adapter: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """The rows of one head in one slab.

    Attributes:
        slab: The slab.
        start: First row.
        stop: Row after the last one.
    """

    slab: Slab
    start: int
    stop: int


class Slab:
    """Rows for heads on one tap. Only the loader, under its lock, takes and writes rows."""

    def __init__(self, rows: int, hidden_size: int, device: torch.device) -> None:
        # A slab outlives the mode and the type that the caller of the first load may have set.
        with torch.inference_mode(False):
            self.weight = torch.zeros(rows, hidden_size, device=device, dtype=torch.float32)
            self.bias = torch.zeros(rows, device=device, dtype=torch.float32)
        self._taken = [False] * rows
        # Slots come back from whatever thread drops the last use of a head; appending is atomic.
        self._returned: deque[tuple[int, int]] = deque()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the logits of all heads: (N, H) fp32 -> (N, rows) fp32."""
        return torch.addmm(self.bias, features, self.weight.t())

    def put(self, weight: torch.Tensor, bias: torch.Tensor) -> Slot | None:
        """Copies a (K, H) head into free rows; returns None where no K free rows lie together."""
        start = self._find(weight.shape[0])
        if start is None:
            return None
        stop = start + weight.shape[0]
        self.weight[start:stop].copy_(weight)
        self.bias[start:stop].copy_(bias)
        self._taken[start:stop] = [True] * (stop - start)
        return Slot(self, start, stop)

    def give_back(self, start: int, stop: int) -> None:
        """Makes rows free again, once no call uses them; may be called from any thread."""
        self._returned.append((start, stop))

    def is_empty(self) -> bool:
        """Returns whether no head uses the slab."""
        self._collect()
        return not any(self._taken)

    def _find(self, rows: int) -> int | None:
        self._collect()
        run = 0
        for index, taken in enumerate(self._taken):
            run = 0 if taken else run + 1
            if run == rows:
                return index - rows + 1
        return None

    def _collect(self) -> None:
        while self._returned:
            start, stop = self._returned.popleft()
            self._taken[start:stop] = [False] * (stop - start)
