"""The tensors of a frozen ALBERT as the encoder reads them, and their names in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Token, position and segment tables, and the map from E to H.

    Attributes:
        words: (V, E).
        positions: (512, E).
        types: (2, E).
        norm_weight: (E,), with `norm_bias` the layer norm over the sum of the three.
        norm_bias: (E,).
        map_weight: (H, E), with `map_bias` the map to the hidden size.
        map_bias: (H,).
    """

    words: torch.Tensor
    positions: torch.Tensor
    types: torch.Tensor
    norm_weight: torch.Tensor
    norm_bias: torch.Tensor
    map_weight: torch.Tensor
    map_bias: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One set of attention and feed-forward weights; query, key and value are stacked.

    Attributes:
        qkv_weight: (3H, H).
        qkv_bias: (3H,).
        out_weight: (H, H).
        out_bias: (H,).
        attention_norm_weight: (H,).
        attention_norm_bias: (H,).
        up_weight: (I, H), I being the intermediate size.
        up_bias: (I,).
        down_weight: (H, I).
        down_bias: (H,).
        output_norm_weight: (H,).
        output_norm_bias: (H,).
    """

    qkv_weight: torch.Tensor
    qkv_bias: torch.Tensor
    out_weight: torch.Tensor
    out_bias: torch.Tensor
    attention_norm_weight: torch.Tensor
    attention_norm_bias: torch.Tensor
    up_weight: torch.Tensor
    up_bias: torch.Tensor
    down_weight: torch.Tensor
    down_bias: torch.Tensor
    output_norm_weight: torch.Tensor
    output_norm_bias: torch.Tensor


def read_embeddings(
    state: Mapping[str, torch.Tensor], *, device: torch.device, dtype: torch.dtype
) -> Embeddings:
    """Returns the embedding tensors of an `AlbertModel` state on a device."""

    def tensor(name: str) -> torch.Tensor:
        return state[name].to(device, dtype)

    return Embeddings(
        words=tensor("embeddings.word_embeddings.weight"),
        positions=tensor("embeddings.position_embeddings.weight"),
        types=tensor("embeddings.token_type_embeddings.weight"),
        norm_weight=tensor("embeddings.LayerNorm.weight"),
        norm_bias=tensor("embeddings.LayerNorm.bias"),
        map_weight=tensor("encoder.embedding_hidden_mapping_in.weight"),
        map_bias=tensor("encoder.embedding_hidden_mapping_in.bias"),
    )


def read_block(
    state: Mapping[str, torch.Tensor],
    *,
    group: int,
    inner: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Block:
    """Returns the block tensors of one group and inner group on a device."""
    prefix = f"encoder.albert_layer_groups.{group}.albert_layers.{inner}."

    def tensor(name: str) -> torch.Tensor:
        return state[prefix + name].to(device, dtype)

    def stacked(kind: str) -> torch.Tensor:
        return torch.cat([tensor(f"attention.{part}.{kind}") for part in ("query", "key", "value")])

    return Block(
        qkv_weight=stacked("weight"),
        qkv_bias=stacked("bias"),
        out_weight=tensor("attention.dense.weight"),
        out_bias=tensor("attention.dense.bias"),
        attention_norm_weight=tensor("attention.LayerNorm.weight"),
        attention_norm_bias=tensor("attention.LayerNorm.bias"),
        up_weight=tensor("ffn.weight"),
        up_bias=tensor("ffn.bias"),
        down_weight=tensor("ffn_output.weight"),
        down_bias=tensor("ffn_output.bias"),
        output_norm_weight=tensor("full_layer_layer_norm.weight"),
        output_norm_bias=tensor("full_layer_layer_norm.bias"),
    )


def tensors_of(part: Embeddings | Block) -> list[torch.Tensor]:
    """Returns the tensors of a part in field order."""
    return [getattr(part, field.name) for field in fields(part)]
