"""PEFT models of every family beside ALBERT, small, as their users make them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from transformers import PreTrainedModel

from adapterhub.families import FAMILIES
from tests.peft.peft_models import METHODS, train_a_little

FAMILY_NAMES = ("bert", "distilbert", "electra", "roberta", "xlm-roberta")
DEPTHS = (1, 3)

_BERT = ["query", "value", "attention.output.dense", "intermediate.dense", "output.dense"]
TARGETS: Mapping[str, list[str]] = {
    **dict.fromkeys(FAMILY_NAMES, _BERT),
    "distilbert": ["q_lin", "v_lin", "out_lin", "lin1", "lin2"],
}
"""Names by which a user of PEFT chooses the maps of the test adapters."""
FEED_FORWARD: Mapping[str, list[str]] = {
    **{name: ["output.dense"] for name in FAMILY_NAMES},
    "distilbert": ["lin2"],
}


def family_settings(method: str, family: str, *, all_depths: bool = False, **changes: Any) -> Any:
    """Returns a configuration of PEFT for a plain model of a family, at some of its layers."""
    factory = next(c for k, c in PEFT_TYPE_TO_CONFIG_MAPPING.items() if k.value == method.upper())
    values = {**METHODS[method], "target_modules": TARGETS[family], **changes}
    if "feedforward_modules" in values and "feedforward_modules" not in changes:
        values["feedforward_modules"] = FEED_FORWARD[family]
    fields = {field.name for field in dataclasses.fields(factory)}
    if not all_depths and "layers_to_transform" in fields:
        values |= {"layers_to_transform": list(DEPTHS), "layers_pattern": "layer"}
    elif not all_depths:
        depths, names = "|".join(map(str, DEPTHS)), "|".join(values["target_modules"])
        values["target_modules"] = rf".*\.layer\.({depths})\..*\.?({names})"
    # Warnings about settings that are for training.
    logging.getLogger("peft").setLevel(logging.ERROR)
    return factory(**values)


def trained(model: PreTrainedModel, config: Any, *, seed: int = 0) -> PeftModel:
    """Returns a model of transformers with trained layers of PEFT in it."""
    torch.manual_seed(seed)
    found = get_peft_model(model, config).eval()
    train_a_little(found, seed)
    assert isinstance(found, PeftModel)
    return found


def class_name(family: str, task: str = "Model") -> str:
    """Returns the name of a class of transformers, for instance `BertForTokenClassification`."""
    return f"{next(f for f in FAMILIES.values() if f.name == family).title}{task}"
