"""Hidden states -> features: one function per pooling, and the table POOLINGS beside them.

All take the packed hidden states (P, H) and give fp32. Windows of equal length stand next to
each other, so pooling runs on `(n, L, H)` views and no padding can enter.
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
    """Returns the mean over all tokens of each window, special ones included: (N, H)."""
    return _per_bucket(hidden, batch, lambda tokens: tokens.float().mean(1))


def pool_max(hidden: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Returns the greatest value over all tokens of each window, per dimension: (N, H)."""
    return _per_bucket(hidden, batch, lambda tokens: tokens.float().amax(1))


def pool_tokens(hidden: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Returns every token's hidden state, special ones included: (P, H)."""
    del batch  # Tokens stay apart, so it does not matter which window they are of.
    return hidden.float()


def pool_attentive(hidden: torch.Tensor, batch: TokenBatch, query: torch.Tensor) -> torch.Tensor:
    """Returns a weighted mean over the tokens of each window, weighted by a learned query.

    Args:
        hidden: (P, H).
        batch: Gives the windows.
        query: (H,) fp32; the weights are softmax(h . query / sqrt(H)) within a window.
    """
    scale = hidden.shape[1] ** -0.5

    def attend(tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens.float()
        weights = torch.softmax((tokens @ query) * scale, dim=1)  # (n, L, H) -> (n, L)
        return torch.einsum("nl,nlh->nh", weights, tokens)

    return _per_bucket(hidden, batch, attend)


# Attentive pooling has a query of its own per head, so it is not a row of this table.
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
