"""Classifiers of transformers as heads, where their encoder is that of the backbone.

`AlbertForSequenceClassification` computes classifier(tanh(pooler(h[CLS]))) at the last depth: a
head that reads `cls` there, with the pooling layer as its hidden layer.
`AlbertForTokenClassification` is a linear head on every token. Dropout is for training only.

Source: transformers 5.23, models/albert/modeling_albert.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from adapterhub.errors import AdapterError, BackboneError
from adapterhub.model.backbone.checkpoint import read_weights
from adapterhub.model.backbone.config import CONFIG_FILE, GELU, read_config
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.backbone.weight_files import WEIGHTS_FILE
from adapterhub.model.tokenizers.tokenizer_files import (
    VOCABULARY_FILES,
    load_tokenizer,
    tokenizer_digest,
)
from adapterhub.peft.folder import Reads
from adapterhub.specs import HeadSpec, Kind

CLASSIFIER = ("classifier.weight", "classifier.bias")
POOLER = ("pooler.weight", "pooler.bias")
_OLD_PREFIX = "albert."
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_READS: Mapping[str, Reads] = {
    "AlbertForSequenceClassification": "text",
    "AlbertForTokenClassification": "tokens",
}
_KINDS: Mapping[str, Kind] = {
    "regression": "regression",
    "single_label_classification": "single_label",
    "multi_label_classification": "multi_label",
}


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What a config.json of transformers contains about a task.

    Attributes:
        reads: Whether the model classifies texts or tokens; None if not given.
        kind: The kind of problem it was trained for; None if not given.
        labels: Its labels in order; empty if not given.
    """

    reads: Reads | None = None
    kind: Kind | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierHead:
    """A classifier as a head file holds it.

    Attributes:
        spec: Depth, pooling and shape.
        tensors: By their names in a head file.
        outputs: Number of logits.
    """

    spec: HeadSpec
    tensors: Mapping[str, torch.Tensor]
    outputs: int


def read_model_config(folder: Path) -> ModelConfig:
    """Returns what the config.json of a folder contains; empty if there is none.

    Raises:
        AdapterError: It is not valid, or its model is no classifier of texts or tokens.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        return ModelConfig()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        architectures = [*(values.get("architectures") or []), None]
        names = values.get("id2label") or {}
        labels = tuple(str(names[str(index)]) for index in range(len(names)))
    except (OSError, ValueError, RecursionError, AttributeError, TypeError, KeyError) as error:
        raise AdapterError(folder, f"{CONFIG_FILE} is not valid: {error!r}") from error
    architecture = str(architectures[0])
    if (
        architectures[0] is not None
        and architecture not in _READS
        and architecture != "AlbertModel"
    ):
        raise AdapterError(
            folder,
            f"it is an {architecture[:80]}; expected {' or '.join(_READS)}, whose classifier is a "
            f"head",
        )
    return ModelConfig(
        reads=_READS.get(architecture),
        kind=_KINDS.get(str(values.get("problem_type"))),
        labels=labels,
    )


def read_checkpoint(folder: Path, backbone: Backbone) -> dict[str, torch.Tensor]:
    """Returns the classifier of a checkpoint whose encoder is bit-equal to the backbone.

    Raises:
        AdapterError: The encoder or the tokenizer differs; names the first differing tensor.
        BackboneError: It is not an ALBERT of transformers, is damaged, or is a pickle.
    """
    found = read_config(folder)
    config = found.albert
    _check_settings(folder, config, backbone)
    _check_weights(folder, read_weights(folder, found), backbone)
    if any((folder / name).is_file() for name in VOCABULARY_FILES):
        own = load_tokenizer(folder, vocab_size=config.vocab_size)
        digest = tokenizer_digest(folder, own)
        if digest != tokenizer_digest(backbone.folder, backbone.tokenizer):
            raise AdapterError(
                folder,
                f"its tokenizer gives other ids than that of the backbone {backbone.spec.name}",
            )
    return read_classifier(folder, names=(*CLASSIFIER, *POOLER))


def head_of(
    found: Mapping[str, torch.Tensor], reads: Reads, backbone: Backbone, *, source: Path
) -> ClassifierHead:
    """Returns a classifier as a head.

    Args:
        found: `classifier.*`, and `pooler.*` if it was trained too.
        reads: Whether it classifies texts or tokens.
        backbone: Gives the depth, the width, and the pooling layer if `found` has none.
        source: Its folder, for messages.

    Raises:
        AdapterError: A part is missing or has another shape, or holds NaN or infinity.
    """
    depth, width = backbone.spec.num_hidden_layers, backbone.spec.hidden_size
    for name in CLASSIFIER:
        if name not in found:
            raise AdapterError(source, f"it has no '{name}', which computes the logits")
    parts = {"head.weight": found[CLASSIFIER[0]], "head.bias": found[CLASSIFIER[1]]}
    if reads == "tokens":
        spec = HeadSpec(depths=(depth,), pooling="tokens")
    else:
        spec = HeadSpec(depths=(depth,), pooling="cls", hidden_width=width, activation="tanh")
        parts |= _pooler(found, backbone, source)
    outputs = parts["head.bias"].numel()
    shapes = {"head.weight": (outputs, width), "head.bias": (outputs,)}
    shapes |= {"head.hidden.weight": (width, width), "head.hidden.bias": (width,)}
    for name, tensor in parts.items():
        if tuple(tensor.shape) != shapes[name]:
            raise AdapterError(
                source,
                f"its {name.replace('head.', 'classifier ')} is {tuple(tensor.shape)}, expected "
                f"{shapes[name]} on the backbone {backbone.spec.name}, of hidden size {width}",
            )
        if not bool(torch.isfinite(tensor).all()):
            raise AdapterError(source, "its classifier holds NaN or infinity; train it again")
    owned = {name: _stored(tensor) for name, tensor in parts.items()}
    return ClassifierHead(spec, owned, outputs)


def _check_settings(folder: Path, config: Any, backbone: Backbone) -> None:
    """Refuses a checkpoint whose settings compute something else with the same weights."""
    for name in ("num_hidden_layers", "num_attention_heads", "layer_norm_eps", "hidden_act"):
        found, expected = getattr(config, name), getattr(backbone.config, name)
        same = GELU[found] == GELU[expected] if name == "hidden_act" else found == expected
        if not same:
            raise AdapterError(
                folder,
                f"its {name} is {found!r}; the backbone {backbone.spec.name} has {expected!r}",
            )


def _check_weights(folder: Path, weights: Mapping[str, torch.Tensor], backbone: Backbone) -> None:
    own = backbone.weights
    if weights.keys() != own.keys():
        odd = sorted(weights.keys() ^ own.keys())[0]
        raise BackboneError(str(folder), f"only one of it and {backbone.spec.name} has '{odd}'")
    differing = [name for name in own if not torch.equal(own[name], weights[name])]
    if not differing:
        return
    first = differing[0]
    here, there = weights[first], own[first]
    if here.shape != there.shape:
        raise AdapterError(
            folder,
            f"its '{first}' is {tuple(here.shape)}, that of the backbone {backbone.spec.name} "
            f"{tuple(there.shape)}. Use the backbone that it was trained on.",
        )
    raise AdapterError(
        folder,
        f"its '{first}' differs from that of the backbone {backbone.spec.name} by up to "
        f"{float((here - there).abs().max()):.3g} ({len(differing)} of {len(own)} tensors differ): "
        f"the encoder was fine-tuned, and only a head on the frozen one can be imported. Train a "
        f"head or an adapter on the same rows.",
    )


def read_classifier(folder: Path, *, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Returns some tensors of a checkpoint by name, with or without the prefix `albert.` there.

    Raises:
        AdapterError: The file cannot be read.
    """
    try:
        with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
            keys = {key.removeprefix(_OLD_PREFIX): key for key in file.keys()}  # noqa: SIM118
            return {name: file.get_tensor(keys[name]) for name in names if name in keys}
    except (SafetensorError, OSError, ValueError) as error:
        raise AdapterError(folder, f"{WEIGHTS_FILE} cannot be read: {error}") from error


def _pooler(
    found: Mapping[str, torch.Tensor], backbone: Backbone, source: Path
) -> dict[str, torch.Tensor]:
    layer = found if any(name in found for name in POOLER) else None
    if layer is None:
        layer = read_classifier(backbone.folder, names=POOLER)
    missing = [name for name in POOLER if name not in layer]
    if missing:
        raise AdapterError(
            source,
            f"its classifier reads ALBERT's pooling layer, and neither it nor the backbone "
            f"{backbone.spec.name} has '{missing[0]}': transformers drew one at random when it was "
            f"trained. Train it again with modules_to_save=['classifier', 'pooler'].",
        )
    return {"head.hidden.weight": layer[POOLER[0]], "head.hidden.bias": layer[POOLER[1]]}


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    kept = tensor.dtype if tensor.dtype in _FLOATS else torch.float32
    return tensor.detach().to("cpu", kept, copy=True).contiguous()
