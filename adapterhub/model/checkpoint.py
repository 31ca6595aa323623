"""The weights of an ALBERT checkpoint: read by name, compared with the config, in fp32.

Checkpoints differ in what they are called (`albert.` before each name, `LayerNorm.gamma` for
`LayerNorm.weight`) and in what else they hold: a pooling layer, heads of the pretraining. What
an `AlbertModel` without pooling layer has is read, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    """Returns the tensors of a checkpoint in fp32, under the names of `AlbertModel`.

    Raises:
        BackboneError: They are missing, damaged, in a pickle, or of other shapes than `config`.
    """
    source = str(folder)
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        pickled = (folder / "pytorch_model.bin").is_file()
        remedy = "it has only a pickle, which is never opened; convert it" if pickled else "add it"
        raise BackboneError(source, f"no {WEIGHTS_FILE}; {remedy}")
    if (folder / "adapter_config.json").is_file():
        # Those who saved it meant the two together.
        raise BackboneError(source, "it has an adapter_config.json; expected a plain ALBERT")
    try:
        with safe_open(path, framework="pt") as file:
            return _read(file, weight_shapes(config), source)
    except (SafetensorError, OSError, ValueError) as error:
        raise BackboneError(source, f"the weights cannot be loaded: {error}") from error


def weight_shapes(config: AlbertConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every tensor of an `AlbertModel` without its pooling layer, by name."""
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
        # Copied, since the file may be changed in place while it is mapped.
        weights[name] = tensor.to(torch.float32, copy=True)
    return weights


def _key(name: str, keys: frozenset[str]) -> str | None:
    """Returns what a checkpoint calls a tensor, or None where it has not got it."""
    names = [name]
    for ending, old in _OLD_ENDINGS.items():
        if name.endswith(ending):
            names.append(name.removesuffix(ending) + old)
    candidates = (prefix + known for known in names for prefix in ("", _PREFIX))
    return next((key for key in candidates if key in keys), None)
