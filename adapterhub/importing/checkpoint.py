"""A fine-tuned classifier that transformers saved, whose encoder must be that of the backbone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from adapterhub.errors import AdapterError, BackboneError
from adapterhub.importing.classifiers import classifier_names, read_classifier
from adapterhub.model.backbone.checkpoint import read_weights
from adapterhub.model.backbone.config import GELU, read_config
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.tokenizers.tokenizer_digest import tokenizer_digest
from adapterhub.model.tokenizers.tokenizer_files import VOCABULARY_FILES, load_tokenizer
from adapterhub.peft.saved_files import Reads


def read_checkpoint(folder: Path, reads: Reads, backbone: Backbone) -> dict[str, torch.Tensor]:
    """Returns the classifier of a checkpoint whose encoder is bit-equal to the backbone.

    Args:
        folder: As transformers saved it.
        reads: What it predicts for.
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
