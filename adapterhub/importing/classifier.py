"""The classifier of a model of transformers, as a head.

`AlbertForSequenceClassification` computes classifier(tanh(pooler(h[CLS]))) at the last depth: a
head that reads `cls` there, with the pooling layer as its hidden layer. The one for tokens is a
linear head on every token. Dropout does nothing outside training.

Source: transformers 5.23, models/albert/modeling_albert.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from adapterhub.errors import AdapterError
from adapterhub.model.backbone.checkpoint import WEIGHTS_FILE
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.peft.folder import Reads
from adapterhub.specs import HeadSpec

CLASSIFIER = ("classifier.weight", "classifier.bias")
POOLER = ("pooler.weight", "pooler.bias")
_OLD_PREFIX = "albert."
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierHead:
    """A classifier as a head file holds it.

    Attributes:
        spec: Where it reads, and its shape.
        tensors: By their names in a head file.
        outputs: How many logits it gives.
    """

    spec: HeadSpec
    tensors: Mapping[str, torch.Tensor]
    outputs: int


def head_of(
    found: Mapping[str, torch.Tensor], reads: Reads, backbone: Backbone, *, source: Path
) -> ClassifierHead:
    """Returns the head that a classifier is.

    Args:
        found: `classifier.*`, and `pooler.*` where it was trained along.
        reads: What it answers for.
        backbone: Gives the depth, the width, and the pooling layer where `found` has none.
        source: Where it comes from, for messages.

    Raises:
        AdapterError: A part is missing or has another shape, or holds NaN or infinity.
    """
    depth, width = backbone.spec.num_hidden_layers, backbone.spec.hidden_size
    for name in CLASSIFIER:
        if name not in found:
            raise AdapterError(source, f"it has no '{name}'; a task needs what gives its logits")
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


def read_classifier(folder: Path, *, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Returns some tensors of a checkpoint by name, with or without `albert.` there.

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
