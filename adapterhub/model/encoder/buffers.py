"""The encoder's large buffers, reused between depths and between calls."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields

import torch

# Capacities are multiples of this, so that calls of similar sizes share buffers.
_STEP_TOKENS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Buffers:
    """The tensors that one call writes to, with one row per token, P in all.

    Attributes:
        qkv: (P, 3H) query, key and value.
        context: (P, H) output of attention, all heads concatenated.
        mapped: (P, H) output of a linear map, then of the residual sum.
        attended: (P, H) after attention and its layer norm.
        wide: (P, I) inside the feed-forward part, I being the intermediate size.
        hidden: (P, H) after the whole block.
        mean: (P, 1) mean of layer norms.
        rstd: (P, 1) reciprocal standard deviation of layer norms.
    """

    qkv: torch.Tensor
    context: torch.Tensor
    mapped: torch.Tensor
    attended: torch.Tensor
    wide: torch.Tensor
    hidden: torch.Tensor
    mean: torch.Tensor
    rstd: torch.Tensor

    @property
    def capacity(self) -> int:
        """Returns the number P of tokens that fit."""
        return self.hidden.shape[0]

    def first(self, tokens: int) -> Buffers:
        """Returns views of the first `tokens` rows."""
        return Buffers(*(getattr(self, field.name)[:tokens] for field in fields(self)))


class Workspaces:
    """A pool of buffers; calls that end return theirs for the next calls.

    No two calls use the same buffers, so any number of threads may run at once.
    """

    def __init__(
        self, *, hidden_size: int, intermediate_size: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        narrow = hidden_size
        self._widths = (3 * narrow, narrow, narrow, narrow, intermediate_size, narrow)
        self._device = device
        self._dtype = dtype
        # append and pop of a deque are atomic, so no lock is needed.
        self._idle: deque[Buffers] = deque()

    def take(self, tokens: int) -> Buffers:
        """Returns buffers for at least `tokens` tokens; the caller gives them back."""
        try:
            buffers = self._idle.pop()
        except IndexError:
            return self._allocate(tokens)
        return buffers if buffers.capacity >= tokens else self._allocate(tokens)

    def give_back(self, buffers: Buffers) -> None:
        """Returns buffers from `take` to the pool."""
        self._idle.append(buffers)

    def _allocate(self, tokens: int) -> Buffers:
        capacity = -(-tokens // _STEP_TOKENS) * _STEP_TOKENS
        # Layer norms keep their statistics in fp32 on the GPU and in the input's dtype on the CPU.
        statistics = torch.float32 if self._device.type == "cuda" else self._dtype
        shapes = [(capacity, width, self._dtype) for width in self._widths]
        shapes += [(capacity, 1, statistics)] * 2
        return Buffers(*(torch.empty(p, w, device=self._device, dtype=t) for p, w, t in shapes))
