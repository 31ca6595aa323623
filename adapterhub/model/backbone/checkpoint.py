"""Reads the weights of an ALBERT checkpoint by name and checks them against the config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AlbertConfig

from adapterhub.errors import BackboneError

WEIGHTS_FILE = "model.safetensors"

_PREFIX = "albert."
_OLD_ENDINGS = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}


def read_weights(folder: Path, config: AlbertConfig) -> Mapping[str, torch.Tensor]:
    """Returns the tensors of a checkpoint in fp32 by their names in `AlbertModel`.

    Raises:
        BackboneError: They are missing, damaged, in a pickle, or have other shapes than `config`.
    """
    source = str(folder)
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        pickled = (folder / "pytorch_model.bin").is_file()
        remedy = "it has only a pickle, which is never opened; convert it" if pickled else "add it"
        raise BackboneError(source, f"no {WEIGHTS_FILE}; {remedy}")
    if (folder / "adapter_config.json").is_file():
        # The adapter changes the outputs, so the plain weights are not the saved model.
        raise BackboneError(source, "it has an adapter_config.json; expected a plain ALBERT")
    try:
        with safe_open(path, framework="pt") as file:
            return _read(file, weight_shapes(config), source)
    except (SafetensorError, OSError, ValueError) as error:
        raise BackboneError(source, f"the weights cannot be loaded: {error}") from error


def weight_shapes(config: AlbertConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the tensors of an `AlbertModel` by name, without its pooling layer."""
    embedding, hidden = config.embedding_size, config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config.vocab_size, embedding),
        "embeddings.position_embeddings.weight": (config.max_position_embeddings, embedding),
        "embeddings.token_type_embeddings.weight": (config.type_vocab_size, embedding),
        "embeddings.LayerNorm.weight": (embedding,),
        "embeddings.LayerNorm.bias": (embedding,),
        "encoder.embedding_hidden_mapping_in.weight": (hidden, embedding),
        "encoder.embedding_hidden_mapping_in.bias": (hidden,),
    }
    block = dict(_block_shapes(hidden, config.intermediate_size))
    for group in range(config.num_hidden_groups):
        for inner in range(config.inner_group_num):
            prefix = f"encoder.albert_layer_groups.{group}.albert_layers.{inner}."
            shapes |= {prefix + name: shape for name, shape in block.items()}
    return shapes


def _block_shapes(hidden: int, intermediate: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for norm in ("full_layer_layer_norm", "attention.LayerNorm"):
        yield f"{norm}.weight", (hidden,)
        yield f"{norm}.bias", (hidden,)
    sizes = {f"attention.{part}": (hidden, hidden) for part in ("query", "key", "value", "dense")}
    sizes |= {"ffn": (intermediate, hidden), "ffn_output": (hidden, intermediate)}
    for name, (rows, columns) in sizes.items():
        yield f"{name}.weight", (rows, columns)
        yield f"{name}.bias", (rows,)


def _read(
    file: Any, expected: Mapping[str, tuple[int, ...]], source: str
) -> dict[str, torch.Tensor]:
    keys = frozenset(file.keys())
    found = {name: _key(name, keys) for name in expected}
    missing = sorted(name for name, key in found.items() if key is None)
    if missing:
        raise BackboneError(
            source, f"{WEIGHTS_FILE} lacks {missing[0]} ({len(missing)} tensors in all)"
        )
    shapes = {name: tuple(file.get_slice(key).get_shape()) for name, key in found.items()}
    wrong = sorted(name for name, shape in shapes.items() if shape != expected[name])
    if wrong:
        name = wrong[0]
        raise BackboneError(
            source,
            f"{WEIGHTS_FILE} has {name} with shape {shapes[name]}, config.json makes it "
            f"{expected[name]} ({len(wrong)} tensors in all)",
        )
    weights: dict[str, torch.Tensor] = {}
    for name, key in found.items():
        tensor = file.get_tensor(key)
        if not tensor.is_floating_point():
            raise BackboneError(
                source, f"{WEIGHTS_FILE} has {name} in {tensor.dtype}; expected plain floats"
            )
        # Copied, because the file may be changed in place while it is mapped.
        weights[name] = tensor.to(torch.float32, copy=True)
    return weights


def _key(name: str, keys: frozenset[str]) -> str | None:
    """Returns the key of a tensor in a checkpoint, or None if it is missing."""
    names = [name]
    for ending, old in _OLD_ENDINGS.items():
        if name.endswith(ending):
            names.append(name.removesuffix(ending) + old)
    candidates = (prefix + known for known in names for prefix in ("", _PREFIX))
    return next((key for key in candidates if key in keys), None)


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Token, position and segment tables, and the map from E to H.

    Attributes:
        words: (V, E).
        positions: (positions, E).
        types: (segments, E).
        norm_weight: (E,), layer norm over the sum of the three.
        norm_bias: (E,).
        map_weight: (H, E), map to the hidden size.
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
    """One set of attention and feed-forward weights; query, key and value are concatenated.

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
    """Returns the embedding tensors of `AlbertModel` weights on a device."""

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
    """Returns the tensors of one group and inner group on a device."""
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
