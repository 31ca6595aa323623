"""The encoder's weights on the device: embedding tables and blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from adapterhub.model.encoder.linear import Linear, make_linear

_MAP = "encoder.embedding_hidden_mapping_in"


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """The gain and offset of a layer norm.

    Attributes:
        weight: (N,), N being the width.
        bias: (N,).
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yields its tensors."""
        yield from (self.weight, self.bias)


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Token, position and segment tables, and the map from E to H.

    Attributes:
        words: (V, E).
        positions: (positions, E).
        types: (segments, E).
        norm: Layer norm over the sum of the three, of width E.
        map: Map from E to the hidden size H; None where E is H and it is the identity.
    """

    words: torch.Tensor
    positions: torch.Tensor
    types: torch.Tensor
    norm: Norm
    map: Linear | None

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yields its tensors."""
        yield from (self.words, self.positions, self.types)
        yield from self.norm.tensors()
        if self.map is not None:
            yield from self.map.tensors()


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One set of attention and feed-forward weights.

    Attributes:
        qkv: Query, key and value, concatenated: from H to 3H.
        out: The output map of attention: from H to H.
        up: The first map of the feed-forward part: from H to the intermediate size I.
        down: Its second map: from I to H.
        attention_norm: The layer norm after attention.
        output_norm: The layer norm at the end of the block.
    """

    qkv: Linear
    out: Linear
    up: Linear
    down: Linear
    attention_norm: Norm
    output_norm: Norm

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yields its tensors."""
        parts = (self.qkv, self.out, self.up, self.down, self.attention_norm, self.output_norm)
        for part in parts:
            yield from part.tensors()


def read_embeddings(
    state: Mapping[str, torch.Tensor], *, device: torch.device, dtype: torch.dtype
) -> Embeddings:
    """Returns the embedding tensors of `AlbertModel` weights on a device."""

    def tensor(name: str) -> torch.Tensor:
        return state[name].to(device, dtype)

    has_map = f"{_MAP}.weight" in state and not _is_identity(state)
    return Embeddings(
        words=tensor("embeddings.word_embeddings.weight"),
        positions=tensor("embeddings.position_embeddings.weight"),
        types=tensor("embeddings.token_type_embeddings.weight"),
        norm=Norm(tensor("embeddings.LayerNorm.weight"), tensor("embeddings.LayerNorm.bias")),
        map=make_linear(tensor(f"{_MAP}.weight"), tensor(f"{_MAP}.bias")) if has_map else None,
    )


def _is_identity(state: Mapping[str, torch.Tensor]) -> bool:
    """Returns whether the embedding map changes nothing."""
    weight = state[f"{_MAP}.weight"]
    if weight.shape[0] != weight.shape[1] or state[f"{_MAP}.bias"].any():
        return False
    return torch.equal(weight, torch.eye(weight.shape[0]))


def read_block(
    state: Mapping[str, torch.Tensor],
    *,
    group: int,
    inner: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Block:
    """Returns the tensors of one group and inner group on a device."""
    prefix = f"encoder.albert_layer_groups.{group}.albert_layers.{inner}."

    def tensor(name: str) -> torch.Tensor:
        return state[prefix + name].to(device, dtype)

    def stacked(kind: str) -> torch.Tensor:
        return torch.cat([tensor(f"attention.{part}.{kind}") for part in ("query", "key", "value")])

    def linear(path: str) -> Linear:
        return make_linear(tensor(f"{path}.weight"), tensor(f"{path}.bias"))

    def norm(path: str) -> Norm:
        return Norm(tensor(f"{path}.weight"), tensor(f"{path}.bias"))

    return Block(
        qkv=make_linear(stacked("weight"), stacked("bias")),
        out=linear("attention.dense"),
        up=linear("ffn"),
        down=linear("ffn_output"),
        attention_norm=norm("attention.LayerNorm"),
        output_norm=norm("full_layer_layer_norm"),
    )
