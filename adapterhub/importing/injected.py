"""An adapter of PEFT, checked against what PEFT itself creates on this backbone.

Names and shapes are checked before any weight is used: PEFT ignores unknown tensors and
initialises missing ones at random.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from peft import get_peft_model, get_peft_model_state_dict

from adapterhub.errors import AdapterError, AdapterHubError
from adapterhub.families import FAMILIES
from adapterhub.model.adapters.unrolled import unrolled_copy, untie
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.peft.family_names import family_key
from adapterhub.peft.folder import PeftFolder
from adapterhub.peft.format import PeftAdapter, adapter_from_peft, peft_config, peft_state
from adapterhub.peft.settings import config_class, method_of, mutates, relative_lora
from adapterhub.store.adapter_names import parse_peft_key, plain_key

_REPEATABLE = ("pissa", "olora")
"""Initialisations that depend on the weights alone, so that they can be computed again."""


def adapter_on(backbone: Backbone, folder: PeftFolder) -> PeftAdapter:
    """Returns the adapter of a folder, whose names and shapes all fit the backbone.

    Raises:
        AdapterError: It does not fit, or is not supported.
        UsageError: The backbone has several layers in a group.
    """
    state, config = folder.factors, folder.config
    if mutates(config):
        state, config = _as_plain_lora(backbone, folder)
    adapter = _read(backbone, folder, state, config)
    spec = adapter.spec
    fresh = _injected(backbone, _complete(peft_config(spec, stock=folder.tied)), folder)
    expected = _state(fresh)
    given = peft_state(spec, adapter.tensors, stock=folder.tied)
    if config.get("save_projection") is False:
        # Projections that PEFT did not save because a seed reproduces them.
        drawn = {key: tensor for key, tensor in expected.items() if key not in given}
        config = {**config, "save_projection": True}
        adapter = _read(backbone, folder, {**given, **drawn}, config)
        given = peft_state(spec, adapter.tensors, stock=folder.tied)
    _compare(backbone, folder, expected, given)
    return adapter


def _read(
    backbone: Backbone,
    folder: PeftFolder,
    state: Mapping[str, torch.Tensor],
    config: Mapping[str, Any],
) -> PeftAdapter:
    return adapter_from_peft(
        state,
        config,
        num_hidden_layers=backbone.spec.num_hidden_layers,
        tied=folder.tied,
        source=str(folder.path),
    )


def _compare(
    backbone: Backbone,
    folder: PeftFolder,
    expected: Mapping[str, torch.Tensor],
    given: Mapping[str, torch.Tensor],
) -> None:
    """Refuses the first tensor that is missing, unknown or of another shape."""
    width = backbone.spec.hidden_size
    family = FAMILIES[backbone.spec.family]
    place = f"on the backbone {backbone.spec.name}, of hidden size {width}"
    for key in sorted(expected.keys() | given.keys()):
        found, wanted = (
            None if key not in part else tuple(part[key].shape) for part in (given, expected)
        )
        named = family_key(key, family)
        if wanted is None:
            problem = f"it has '{named}' {found}, which its configuration does not create"
        elif found is None:
            problem = f"it lacks '{named}', which is {wanted}"
        elif found != wanted:
            problem = f"its '{named}' is {found}, its configuration requires {wanted}"
        else:
            continue
        raise AdapterError(
            folder.path, f"{problem} {place}. Use the backbone that it was trained on."
        )


def _as_plain_lora(
    backbone: Backbone, folder: PeftFolder
) -> tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]:
    """Returns a LoRA whose initialisation changed the weights as one of the original weights."""
    start = str(folder.config["init_lora_weights"])
    if start not in _REPEATABLE:
        raise AdapterError(
            folder.path,
            f"its start init_lora_weights={start!r} took a part out of the frozen weights that "
            f"cannot be computed again. Save it with PEFT's "
            f"save_pretrained(path_initial_model_for_weight_conversion=...), which makes a plain "
            f"LoRA of it.",
        )
    paths = sorted({key.rpartition(".lora_")[0] for key in folder.factors if ".lora_" in key})
    values = {**folder.config, "target_modules": paths, "exclude_modules": None}
    values |= {"layers_to_transform": None, "layers_pattern": None, "modules_to_save": None}
    model = _injected(backbone, config_class(method_of(values))(**values), folder)
    initial = _state(model)
    _compare(backbone, folder, initial, folder.factors)
    try:
        return relative_lora(folder.factors, initial, folder.config)
    except ValueError as error:
        raise AdapterError(folder.path, str(error)) from error


def _injected(backbone: Backbone, config: Any, folder: PeftFolder) -> Any:
    """Returns a copy of the backbone's model with PEFT's freshly initialised layers."""
    model = copy.deepcopy(backbone.model)
    if not folder.tied:
        model = unrolled_copy(model)
        places = [parse_peft_key(key, tied=False) for key in folder.factors]
        found = [part for part in places if part is not None and part.site is not None]
        depths = {int(part.place) for part in found}
        if mutates(config.to_dict()):
            untie(model, depths, {part.site for part in found if part.site is not None})
    try:
        with torch.random.fork_rng(devices=[]):
            return get_peft_model(model, config)
    except AdapterHubError:
        raise
    # PEFT rejects sizes and settings with exceptions of many classes.
    except Exception as error:
        raise AdapterError(
            folder.path, f"PEFT cannot put it into {backbone.spec.name}: {error}"
        ) from error


def _state(model: Any) -> dict[str, torch.Tensor]:
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {plain_key(key): tensor for key, tensor in state.items()}


def _complete(config: Any) -> Any:
    """Returns the configuration changed so that PEFT also saves what a seed reproduces."""
    if hasattr(config, "save_projection"):
        config.save_projection = True
    return config
