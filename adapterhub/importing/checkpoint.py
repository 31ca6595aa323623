"""A fine-tuned classifier that transformers saved, whose encoder must be that of the backbone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from adapterhub.errors import AdapterError, BackboneError
from adapterhub.families import FAMILIES
from adapterhub.importing.classifiers import classifier_names, read_classifier
from adapterhub.model.backbone.checkpoint import read_weights
from adapterhub.model.backbone.config import CONFIG_FILE, GELU, read_config
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.tokenizers.tokenizer_digest import tokenizer_digest
from adapterhub.model.tokenizers.tokenizer_files import VOCABULARY_FILES, load_tokenizer
from adapterhub.peft.folder import CLASSIFIERS, Reads
from adapterhub.specs import Kind

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
    encoders = {f"{family.title}Model" for family in FAMILIES.values()}
    if architectures[0] is not None and architecture not in encoders | CLASSIFIERS.keys():
        raise AdapterError(
            folder,
            f"it is an {architecture[:80]}; expected {_expected(values)}, whose classifier is a "
            f"head",
        )
    return ModelConfig(
        reads=CLASSIFIERS.get(architecture),
        kind=_KINDS.get(str(values.get("problem_type"))),
        labels=labels,
    )


def _expected(values: Mapping[str, Any]) -> str:
    """Returns the classes of classifiers that a config could have named."""
    named = [family for name, family in FAMILIES.items() if name == values.get("model_type")]
    titles = [family.title for family in named or FAMILIES.values()]
    shown = titles[0] if named else f"[{'|'.join(titles)}]"
    return f"{shown}ForSequenceClassification or {shown}ForTokenClassification"


def read_checkpoint(folder: Path, reads: Reads, backbone: Backbone) -> dict[str, torch.Tensor]:
    """Returns the classifier of a checkpoint whose encoder is bit-equal to the backbone.

    Args:
        folder: As transformers saved it.
        reads: Whether it classifies texts or tokens.
        backbone: The encoder.

    Raises:
        AdapterError: The encoder or the tokenizer differs; names the first differing tensor.
        BackboneError: It is of another family, is damaged, or is a pickle.
    """
    found = read_config(folder)
    config = found.albert
    if found.family.name != backbone.spec.family:
        raise AdapterError(
            folder,
            f"it is of model_type '{found.family.name}'; the backbone {backbone.spec.name} is of "
            f"'{backbone.spec.family}'. Use the backbone that it was trained on.",
        )
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
    names = classifier_names(backbone.spec.family, reads).tensors
    return read_classifier(folder, found.family, names)


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
        f"head or an adapter on the same rows, or import it with itself as the backbone.",
    )
