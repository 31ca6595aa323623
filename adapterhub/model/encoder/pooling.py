"""Hidden states -> features: one function per pooling, in the table POOLINGS.

All take packed hidden states (P, H) and return fp32. Windows of equal length are adjacent, so
pooling runs on (n, L, H) views without padding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from adapterhub.model.encoder.tokens import TokenBatch
from adapterhub.specs import Pooling

PoolingFunction = Callable[[torch.Tensor, TokenBatch], torch.Tensor]


def pool_cls(hidden: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Returns the hidden state of each window's first token: (P, H) -> (N, H)."""
    return hidden.index_select(0, batch.starts).float()


def pool_mean(hidden: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Returns the mean over the tokens of each window, special ones included: (N, H)."""
    return _per_bucket(hidden, batch, lambda tokens: tokens.float().mean(1))


def pool_max(hidden: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Returns the maximum per dimension over the tokens of each window: (N, H)."""
    return _per_bucket(hidden, batch, lambda tokens: tokens.float().amax(1))


def pool_tokens(hidden: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Returns every token's hidden state, special ones included: (P, H)."""
    del batch  # Not needed without pooling over windows.
    return hidden.float()


def pool_attentive(hidden: torch.Tensor, batch: TokenBatch, query: torch.Tensor) -> torch.Tensor:
    """Returns the mean over the tokens of each window, weighted by a learned query: (N, H).

    Args:
        hidden: (P, H).
        batch: The windows.
        query: (H,) fp32; the weights are softmax(h . query / sqrt(H)) within a window.
    """
    scale = hidden.shape[1] ** -0.5

    def attend(tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens.float()
        weights = torch.softmax((tokens @ query) * scale, dim=1)  # (n, L, H) -> (n, L)
        return torch.einsum("nl,nlh->nh", weights, tokens)

    return _per_bucket(hidden, batch, attend)


# Attentive pooling needs the query of each head, so it is not in this table.
POOLINGS: dict[Pooling, PoolingFunction] = {
    "cls": pool_cls,
    "mean": pool_mean,
    "max": pool_max,
    "tokens": pool_tokens,
}


def _per_bucket(
    hidden: torch.Tensor, batch: TokenBatch, pool: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    size = hidden.shape[1]
    parts = [
        pool(hidden[bucket.start : bucket.stop].view(bucket.windows, bucket.length, size))
        for bucket in batch.buckets
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
