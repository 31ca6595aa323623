"""Slabs: all linear heads on one tap in one matrix, computed as one product.

A slab has a fixed number of rows. A head is copied into free rows and keeps them as long as it is
in use, so loading, replacing and unloading it changes neither the shape of the product nor the
rows of other heads: their logits stay bit-identical.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch

from adapterhub.specs import Pooling

SLAB_ROWS = 128
"""Rows of a slab on the trunk, one per output of a head; a full one gets another beside it."""


@dataclass(frozen=True, slots=True)
class TapKey:
    """Which features a slab reads.

    Attributes:
        depth: The depth.
        pooling: The pooling.
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
        start: Its first row.
        stop: The row after its last one.
    """

    slab: Slab
    start: int
    stop: int


class Slab:
    """Rows for heads on one tap. Only the loader takes and writes rows, under its lock."""

    def __init__(self, rows: int, hidden_size: int, device: torch.device) -> None:
        # A slab outlives the inference mode and default dtype of the caller that loads first.
        with torch.inference_mode(False):
            self.weight = torch.zeros(rows, hidden_size, device=device, dtype=torch.float32)
            self.bias = torch.zeros(rows, device=device, dtype=torch.float32)
        self._taken = [False] * rows
        # Any thread that drops the last use of a head returns its rows; append is atomic.
        self._returned: deque[tuple[int, int]] = deque()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the logits of all heads: (N, H) fp32 -> (N, rows) fp32."""
        return torch.addmm(self.bias, features, self.weight.t())

    def put(self, weight: torch.Tensor, bias: torch.Tensor) -> Slot | None:
        """Copies a (K, H) head into K adjacent free rows; returns None where there are none."""
        start = self._find(weight.shape[0])
        if start is None:
            return None
        stop = start + weight.shape[0]
        self.weight[start:stop].copy_(weight)
        self.bias[start:stop].copy_(bias)
        self._taken[start:stop] = [True] * (stop - start)
        return Slot(self, start, stop)

    def give_back(self, start: int, stop: int) -> None:
        """Frees rows that no call uses any more; safe to call from any thread."""
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
