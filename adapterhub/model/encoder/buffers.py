"""The encoder's large buffers, kept between depths and between calls."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch

# Buffers grow in such steps, so that calls of similar sizes fit in the same ones.
_STEP_TOKENS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Buffers:
    """Where one call writes; every tensor has one row per token, P rows in all.

    Attributes:
        qkv: (P, 3H) query, key and value.
        context: (P, H) output of attention, heads side by side.
        mapped: (P, H) output of a linear map, then of the residual sum.
        attended: (P, H) after attention and its layer norm.
        wide: (P, I) inside the feed-forward part.
        hidden: (P, H) after the whole block.
        mean: (P, 1) of layer norms.
        rstd: (P, 1) of layer norms.
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
        return Buffers(
            qkv=self.qkv[:tokens],
            context=self.context[:tokens],
            mapped=self.mapped[:tokens],
            attended=self.attended[:tokens],
            wide=self.wide[:tokens],
            hidden=self.hidden[:tokens],
            mean=self.mean[:tokens],
            rstd=self.rstd[:tokens],
        )


class Workspaces:
    """Hands out buffers; those of finished calls are given to the next ones.

    Two calls never hold the same buffers, so any number of threads may run at once.
    """

    def __init__(
        self, *, hidden_size: int, intermediate_size: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._widths = (
            3 * hidden_size,
            hidden_size,
            hidden_size,
            hidden_size,
            intermediate_size,
            hidden_size,
        )
        self._device = device
        self._dtype = dtype
        # append and pop of a deque are atomic, so no lock is needed.
        self._idle: deque[Buffers] = deque()

    def take(self, tokens: int) -> Buffers:
        """Returns buffers with room for `tokens` tokens, to be given back."""
        try:
            buffers = self._idle.pop()
        except IndexError:
            return self._allocate(tokens)
        return buffers if buffers.capacity >= tokens else self._allocate(tokens)

    def give_back(self, buffers: Buffers) -> None:
        """Makes buffers from `take` free for the next call."""
        self._idle.append(buffers)

    def _allocate(self, tokens: int) -> Buffers:
        capacity = -(-tokens // _STEP_TOKENS) * _STEP_TOKENS
        # Layer norms keep their statistics in fp32 on the GPU and in the input's dtype on the CPU.
        statistics = torch.float32 if self._device.type == "cuda" else self._dtype
        qkv, context, mapped, attended, wide, hidden = (
            torch.empty(capacity, width, device=self._device, dtype=self._dtype)
            for width in self._widths
        )
        mean, rstd = (
            torch.empty(capacity, 1, device=self._device, dtype=statistics) for _ in range(2)
        )
        return Buffers(qkv, context, mapped, attended, wide, hidden, mean, rstd)
