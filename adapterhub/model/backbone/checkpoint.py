"""Reads and writes the weights of a checkpoint, and names them as an ALBERT's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from adapterhub.errors import BackboneError
from adapterhub.families import BLOCK_PARTS, Family
from adapterhub.model.backbone.config import EncoderConfig
from adapterhub.model.backbone.weight_files import WEIGHTS_FILE, open_weights

_WORDS = "embeddings.word_embeddings.weight"
_TYPES = "embeddings.token_type_embeddings.weight"
_POSITIONS = "embeddings.position_embeddings.weight"
_MAP = "encoder.embedding_hidden_mapping_in"
_OLD_ENDINGS = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
_ENCODER = re.compile(r"(embeddings|embeddings_project|encoder|transformer)\.")
_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
"""Row numbers that older versions of transformers saved with the weights."""
_SHOWN = 200
"""Length to which messages cut a name that a stranger has given to a tensor."""


def read_weights(folder: Path, config: EncoderConfig) -> Mapping[str, torch.Tensor]:
    """Returns the tensors of a checkpoint in fp32 by their names in an `AlbertModel`.

    Token types that a family does not have are zeros; an embedding map that it does not have is
    left out.

    Raises:
        BackboneError: They are missing, damaged, in a pickle, or others than `config` makes.
    """
    source = str(folder)
    if (folder / "adapter_config.json").is_file():
        # The adapter changes the outputs, so the plain weights are not the saved model.
        raise BackboneError(source, "it has an adapter_config.json; expected a plain encoder")
    with open_weights(folder) as files:
        return _read(files, config, source)


def write_weights(
    folder: Path, weights: Mapping[str, torch.Tensor], *, like: Path, config: EncoderConfig
) -> None:
    """Writes the checkpoint of another folder with other weights of the encoder.

    What the checkpoint has beside the encoder, such as a pooling layer, is copied. All floats are
    written in fp32, in which they were trained.

    Args:
        folder: Gets the file.
        weights: As `read_weights` returns them.
        like: The folder of the other checkpoint.
        config: Of both.

    Raises:
        BackboneError: The other checkpoint cannot be read, or lacks a tensor.
        OSError: The file cannot be written.
    """
    with open_weights(like) as files:
        found = {name: file.get_tensor(name) for name, file in files.items()}
    for name, weight in weights.items():
        key = _key(_source_name(name, config.family), found, config.family)
        if key is None and name == _TYPES and not config.family.has_types:
            continue
        if key is None:
            raise BackboneError(str(like), f"the weights lack {name}")
        if name == _POSITIONS:
            weight = torch.cat([found[key][: config.first_position].float(), weight])
        # The output layer of a language model is the table of words, which some files have twice.
        twins = _twins(found, key) if name == _WORDS else ()
        found |= {twin: weight.clone() for twin in twins}
        found[key] = weight
    plain = {
        name: (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in found.items()
    }
    safetensors.torch.save_file(plain, folder / WEIGHTS_FILE, metadata={"format": "pt"})


def _twins(tensors: Mapping[str, torch.Tensor], key: str) -> list[str]:
    """Returns the names of other tensors with the same numbers."""
    own = tensors[key]
    alike = [name for name, t in tensors.items() if (t.dtype, t.shape) == (own.dtype, own.shape)]
    return [name for name in alike if name != key and torch.equal(tensors[name], own)]


def weight_shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the tensors by name, without those of the pooling layer."""
    albert = config.albert
    embedding, hidden = albert.embedding_size, albert.hidden_size
    shapes: dict[str, tuple[int, ...]] = {
        _WORDS: (albert.vocab_size, embedding),
        _POSITIONS: (albert.max_position_embeddings, embedding),
        _TYPES: (albert.type_vocab_size, embedding),
        "embeddings.LayerNorm.weight": (embedding,),
        "embeddings.LayerNorm.bias": (embedding,),
    }
    if config.has_embedding_map:
        shapes |= {f"{_MAP}.weight": (hidden, embedding), f"{_MAP}.bias": (hidden,)}
    block = dict(_block_shapes(hidden, albert.intermediate_size))
    for group in range(albert.num_hidden_groups):
        for inner in range(albert.inner_group_num):
            prefix = f"encoder.albert_layer_groups.{group}.albert_layers.{inner}."
            shapes |= {prefix + name: shape for name, shape in block.items()}
    return shapes


def _block_shapes(hidden: int, intermediate: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    sizes = {"ffn": (intermediate, hidden), "ffn_output": (hidden, intermediate)}
    for part in BLOCK_PARTS:
        is_norm = part.lower().endswith("norm")
        rows, columns = sizes.get(part, (hidden, hidden))
        yield f"{part}.weight", (hidden,) if is_norm else (rows, columns)
        yield f"{part}.bias", (rows,)


def _source_name(name: str, family: Family) -> str:
    """Returns what a family calls a tensor of an ALBERT."""
    if family.embedding_map is not None and name.startswith(_MAP):
        return family.embedding_map + name.removeprefix(_MAP)
    found = re.match(r"encoder\.albert_layer_groups\.(\d+)\.albert_layers\.(\d+)\.", name)
    if found is None or family.shares_blocks:
        return name
    part, _, kind = name[found.end() :].rpartition(".")
    return f"{family.path(int(found[1]), part)}.{kind}"


def _read(files: Mapping[str, Any], config: EncoderConfig, source: str) -> dict[str, torch.Tensor]:
    expected = weight_shapes(config)
    if not config.family.has_types:
        del expected[_TYPES]
    names = {name: _source_name(name, config.family) for name in expected}
    rows, width = expected[_POSITIONS]
    expected[_POSITIONS] = (rows + config.first_position, width)
    found = {name: _key(own, files, config.family) for name, own in names.items()}
    missing = sorted(names[name] for name, key in found.items() if key is None)
    if missing:
        here = f"; they have {min(files)[:_SHOWN]}" if files and len(missing) == len(names) else ""
        raise BackboneError(source, f"the weights lack {missing[0]} ({_in_all(missing)}){here}")
    keys = {name: key for name, key in found.items() if key is not None}
    shapes = {name: tuple(files[key].get_slice(key).get_shape()) for name, key in keys.items()}
    wrong = sorted(name for name, shape in shapes.items() if shape != expected[name])
    if wrong:
        name = wrong[0]
        raise BackboneError(
            source,
            f"the weights have {names[name]} with shape {shapes[name]}, config.json makes it "
            f"{expected[name]} ({_in_all(wrong)})",
        )
    _check_extra(files, keys.values(), config.family, source)
    weights = {name: _tensor(files[key], key, source) for name, key in keys.items()}
    weights[_POSITIONS] = weights[_POSITIONS][config.first_position :].contiguous()
    if not config.family.has_types:
        weights[_TYPES] = torch.zeros(1, width)
    return weights


def _in_all(names: Sized) -> str:
    return f"{len(names)} tensor{'s' * (len(names) != 1)} in all"


def _tensor(file: Any, key: str, source: str) -> torch.Tensor:
    tensor: torch.Tensor = file.get_tensor(key)
    if not tensor.is_floating_point():
        raise BackboneError(
            source, f"the weights have {key} in {tensor.dtype}; expected plain floats"
        )
    # Copied, because the file may be changed in place while it is mapped.
    copied = tensor.to(torch.float32, copy=True)
    # The sum is finite almost always, and takes no memory; a sum of large values may overflow.
    if not copied.sum().isfinite() and not copied.isfinite().all():
        raise BackboneError(source, f"the weights have {key} with values that are nan or infinite")
    return copied


def _key(name: str, files: Mapping[str, Any], family: Family) -> str | None:
    """Returns the key of a tensor in a checkpoint, or None if it is missing."""
    names = [name]
    for ending, old in _OLD_ENDINGS.items():
        if name.endswith(ending):
            names.append(name.removesuffix(ending) + old)
    candidates = (prefix + known for prefix in ("", family.prefix) for known in names)
    return next((key for key in candidates if key in files), None)


def _check_extra(
    files: Mapping[str, Any], read: Iterable[str], family: Family, source: str
) -> None:
    """Refuses tensors of the encoder that were not read: they would change what it computes."""
    known = set(read)
    own = {key: key.removeprefix(family.prefix) for key in files if key not in known}
    extra = sorted(
        key for key, name in own.items() if _ENCODER.match(name) and name not in _BUFFERS
    )
    if extra:
        raise BackboneError(
            source,
            f"the weights have {extra[0][:_SHOWN]}, which no {family.title}Model of this "
            f"config.json has ({_in_all(extra)})",
        )
