"""The classifiers of transformers, as heads.

A classifier of texts reads the first token of the last depth through one hidden layer: BERT's and
ALBERT's pooling layer (tanh), or a layer of its own in RoBERTa (tanh), ELECTRA (GELU) and
DistilBERT (ReLU). A classifier of choices reads pairs of a prompt and a choice like that, RoBERTa's
through the pooling layer. A classifier of tokens is a linear head on every token. Dropout is for
training only. The layer that finds answers is a linear head on every token too, with start and end
logits.

Source: transformers 5.23, models/{albert,bert,distilbert,electra,roberta}/modeling_*.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from adapterhub.errors import AdapterError
from adapterhub.families import FAMILIES, Family, FamilyName
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.backbone.weight_files import open_weights
from adapterhub.peft.saved_files import Reads
from adapterhub.specs import Activation, HeadSpec

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class ClassifierNames:
    """What transformers calls the layers of a classifier.

    Attributes:
        output: The layer that computes the logits.
        hidden: The layer before it; None if there is none.
        activation: That of the hidden layer.
        is_pooling: Whether the hidden layer is the pooling layer, which a checkpoint of the
            encoder may have too.
    """

    output: str = "classifier"
    hidden: str | None = None
    activation: Activation = "tanh"
    is_pooling: bool = False

    @property
    def tensors(self) -> tuple[str, ...]:
        """Returns the names of all tensors."""
        layers = (self.output, *((self.hidden,) if self.hidden else ()))
        return tuple(f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias"))


_OWN_LAYER = ClassifierNames("classifier.out_proj", "classifier.dense")
_TEXT: Mapping[FamilyName, ClassifierNames] = {
    "albert": ClassifierNames(hidden="pooler", is_pooling=True),
    "bert": ClassifierNames(hidden="pooler.dense", is_pooling=True),
    "distilbert": ClassifierNames(hidden="pre_classifier", activation="relu"),
    "electra": ClassifierNames(_OWN_LAYER.output, _OWN_LAYER.hidden, "gelu"),
    "roberta": _OWN_LAYER,
    "xlm-roberta": _OWN_LAYER,
}

_POOLER = ClassifierNames(hidden="pooler.dense", is_pooling=True)
_CHOICES: Mapping[FamilyName, ClassifierNames] = {
    **_TEXT,
    "electra": ClassifierNames(hidden="sequence_summary.summary", activation="gelu"),
    "roberta": _POOLER,
    "xlm-roberta": _POOLER,
}


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierHead:
    """A classifier as a head file holds it.

    Attributes:
        spec: Depth, pooling and shape.
        tensors: By their names in a head file.
        outputs: Number of logits.
        reads: What it predicts for.
    """

    spec: HeadSpec
    tensors: Mapping[str, torch.Tensor]
    outputs: int
    reads: Reads


def classifier_names(family: FamilyName, reads: Reads) -> ClassifierNames:
    """Returns what a family calls the layers of its classifier."""
    if reads == "answers":
        return ClassifierNames("qa_outputs")
    if reads == "tokens":
        return ClassifierNames()
    return _CHOICES[family] if reads == "choices" else _TEXT[family]


def read_classifier(
    folder: Path, family: Family, names: tuple[str, ...]
) -> dict[str, torch.Tensor]:
    """Returns those of some tensors that a checkpoint has, by name without the family's prefix.

    Raises:
        BackboneError: The weights cannot be read.
    """
    with open_weights(folder) as files:
        keys = {key.removeprefix(family.prefix): key for key in files}
        return {
            name: files[keys[name]].get_tensor(keys[name]).clone() for name in names if name in keys
        }


def pooling_layer(backbone: Backbone) -> dict[str, torch.Tensor]:
    """Returns weight and bias of the pooling layer in the backbone's files; empty if none."""
    names = _TEXT[backbone.spec.family]
    if not names.is_pooling:
        return {}
    family = FAMILIES[backbone.spec.family]
    layer = tuple(name for name in names.tensors if name.startswith(f"{names.hidden}."))
    return read_classifier(backbone.folder, family, layer)


def head_of(
    found: Mapping[str, torch.Tensor], reads: Reads, backbone: Backbone, *, source: Path
) -> ClassifierHead:
    """Returns a classifier as a head.

    Args:
        found: Its layers by the names of its family; the pooling layer may be missing.
        reads: What it predicts for.
        backbone: Gives the depth, the width, and the pooling layer if `found` has none.
        source: Its folder, for messages.

    Raises:
        AdapterError: A part is missing or has another shape, or holds NaN or infinity.
    """
    depth, width = backbone.spec.num_hidden_layers, backbone.spec.hidden_size
    names = classifier_names(backbone.spec.family, reads)
    for kind in ("weight", "bias"):
        if f"{names.output}.{kind}" not in found:
            raise AdapterError(
                source, f"it has no '{names.output}.{kind}', which computes the logits"
            )
    parts = {f"head.{kind}": found[f"{names.output}.{kind}"] for kind in ("weight", "bias")}
    if names.hidden is None:
        spec = HeadSpec(depths=(depth,), pooling="tokens")
    else:
        spec = HeadSpec(
            depths=(depth,), pooling="cls", hidden_width=width, activation=names.activation
        )
        layer = _hidden(found, names, backbone, source)
        parts |= {f"head.hidden.{kind}": tensor for kind, tensor in layer.items()}
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
    return ClassifierHead(spec, owned, outputs, reads)


def _hidden(
    found: Mapping[str, torch.Tensor], names: ClassifierNames, backbone: Backbone, source: Path
) -> dict[str, torch.Tensor]:
    """Returns weight and bias of the hidden layer of a classifier of texts."""
    keys = {kind: f"{names.hidden}.{kind}" for kind in ("weight", "bias")}
    layer = found
    if names.is_pooling and not any(key in found for key in keys.values()):
        layer = pooling_layer(backbone)
    missing = [key for key in keys.values() if key not in layer]
    if missing and names.is_pooling:
        title = FAMILIES[backbone.spec.family].title.upper()
        raise AdapterError(
            source,
            f"its classifier reads {title}'s pooling layer, and neither it nor the backbone "
            f"{backbone.spec.name} has '{missing[0]}': transformers drew one at random when it was "
            f"trained. Train it again with modules_to_save=['classifier', 'pooler'].",
        )
    if missing:
        raise AdapterError(
            source,
            f"it has no '{missing[0]}', which its classifier reads: transformers drew one at "
            f"random when it was trained. Train it again with that layer in modules_to_save.",
        )
    return {kind: layer[key] for kind, key in keys.items()}


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    kept = tensor.dtype if tensor.dtype in _FLOATS else torch.float32
    return tensor.detach().to("cpu", kept, copy=True).contiguous()
