"""The passes above the trunk while they are trained: modules on packed tokens, without padding.

What `model/encoder.py` does for scoring, with PEFT's layers in the place of plain linear maps and
gradients: linear maps see (P, H) real tokens, attention runs per run of equal lengths.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch.nn import functional

from adapterhub.model.tokens import TokenBatch

Layers = Callable[[int], Any]
"""Gives the layer that makes the pass from a depth on."""


def run_layers(
    hidden: torch.Tensor, batch: TokenBatch, layers: Layers, *, start: int, taps: Collection[int]
) -> dict[int, torch.Tensor]:
    """Returns the hidden states (P, H) at the depths `taps`, given those at depth `start`.

    Args:
        hidden: (P, H).
        batch: The tokens that `hidden` belongs to.
        layers: See `Layers`.
        start: Depth of `hidden`.
        taps: Depths over `start`.
    """
    found: dict[int, torch.Tensor] = {}
    for depth in range(start, max(taps)):
        hidden = run_layer(layers(depth), hidden, batch)
        if depth + 1 in taps:
            found[depth + 1] = hidden
    return found


def run_layer(layer: Any, hidden: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Returns one pass of transformers' AlbertLayer: (P, H) -> (P, H).

    Source: transformers 5.23, AlbertLayer.forward, which drops out after attention only.
    """
    attention = layer.attention
    mapped = attention.output_dropout(attention.dense(_attend(attention, hidden, batch)))
    attended = attention.LayerNorm(hidden + mapped)
    wide = layer.activation(layer.ffn(attended))
    out: torch.Tensor = layer.full_layer_layer_norm(layer.ffn_output(wide) + attended)
    return out


def _attend(attention: Any, hidden: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Returns what attention within each window gives, heads side by side: (P, H)."""
    heads, size = attention.num_attention_heads, attention.attention_head_size
    dropout = attention.attention_dropout.p if attention.training else 0.0
    parts = [attention.query(hidden), attention.key(hidden), attention.value(hidden)]
    is_cpu = hidden.device.type == "cpu"
    if is_cpu:
        # Measured: the gradient of attention in bf16 takes four times as long there as in fp32.
        parts = [part.float() for part in parts]
    contexts = []
    with torch.autocast("cpu", enabled=False) if is_cpu else contextlib.nullcontext():
        for bucket in batch.buckets:
            # (n*L, H) -> (n, L, A, H/A) -> (n, A, L, H/A), all views
            query, key, value = (
                part[bucket.start : bucket.stop]
                .view(bucket.windows, bucket.length, heads, size)
                .transpose(1, 2)
                for part in parts
            )
            context = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
            # (n, A, L, H/A) -> (n*L, H)
            contexts.append(context.transpose(1, 2).reshape(-1, heads * size))
    return torch.cat(contexts)
