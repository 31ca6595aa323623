"""PEFT's own layers in an ALBERT, one set per depth or one for all; the only place that sees PEFT.

An `AlbertModel` whose modules are unrolled has a module per depth and site, and PEFT puts its
layers where the shape says. With `tie_depths` the plain model is taken, whose one group serves
all depths.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from peft import PeftConfig, PeftType, get_peft_model, get_peft_model_state_dict
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import check_target_module_exists
from torch import nn
from transformers import AlbertModel

from adapterhub.errors import UsageError
from adapterhub.model.unrolled import unrolled
from adapterhub.specs import SITES, Site
from adapterhub.store.adapter_names import module_path
from adapterhub.store.peft_format import PeftAdapter, adapter_from_peft
from adapterhub.store.peft_ranks import mutates, relative_lora
from adapterhub.training.adapters.options import Shape

_VARIANTS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "dora": ("lora", {"use_dora": True}),
    "rslora": ("lora", {"use_rslora": True}),
    "pissa": ("lora", {"init_lora_weights": "pissa"}),
    "olora": ("lora", {"init_lora_weights": "olora"}),
}
"""Names that people use for a method of PEFT with one setting."""

_SETTINGS: Mapping[str, Mapping[str, object]] = {
    # Either a rank or a block size; the other is 0.
    "oft": {"oft_block_size": 0},
}
_NO_RANK = ("ia3", "boft")
_ALPHAS = ("lora_alpha", "alpha", "randlora_alpha", "psoft_alpha")
_FEED_FORWARD: tuple[Site, ...] = ("ffn_output",)
_NAME = "default"


class Injected:
    """An ALBERT with PEFT's layers in it."""

    def __init__(self, model: AlbertModel, shape: Shape, *, seed: int) -> None:
        """Puts layers into a copy of `model`.

        Raises:
            UsageError: PEFT does not know the method, or cannot use it as asked.
        """
        config = peft_config_for(shape)
        config.target_modules = [
            module_path(depth, site)
            for depth in ((0,) if shape.tie_depths else shape.depths)
            for site in shape.sites
        ]
        own = copy.deepcopy(model)
        albert = own if shape.tie_depths else unrolled(own)
        self._start: dict[str, torch.Tensor] = {}
        self._shape = shape
        self._config = config
        self._depth = int(model.config.num_hidden_layers)
        if mutates(config.to_dict()):
            _own_weights(albert, config.target_modules)
        torch.manual_seed(seed)
        self._model = _put(albert, config)
        _check(self._model, config)
        if mutates(config.to_dict()):
            self._start = {key: value.clone() for key, value in self._state().items()}
        self._groups = self._model.get_base_model().encoder.albert_layer_groups

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Returns what is trained, by name."""
        return {name: p for name, p in self._model.named_parameters() if p.requires_grad}

    @property
    def module(self) -> nn.Module:
        """Returns the whole model, to move it or to switch dropout on and off."""
        model: nn.Module = self._model
        return model

    @property
    def plans_ahead(self) -> bool:
        """Returns whether the method keeps a state of its own over the steps."""
        return hasattr(self._model.base_model, "update_and_allocate")

    def layer(self, depth: int) -> Any:
        """Returns the layer that makes the pass from `depth` on."""
        return self._groups[0 if self._shape.tie_depths else depth].albert_layers[0]

    def after_step(self, step: int) -> None:
        """Lets methods that spread a budget over the depths do so; gradients are still there."""
        if self.plans_ahead:
            self._model.base_model.update_and_allocate(step)

    def export(self) -> PeftAdapter:
        """Returns spec and tensors, by the names of a head file."""
        state = {key: value.detach().cpu().float() for key, value in self._state().items()}
        config = self._config.to_dict()
        if self._start:
            state, config = relative_lora(state, self._start, config)
        return adapter_from_peft(
            state,
            config,
            num_hidden_layers=self._depth,
            tied=self._shape.tie_depths,
            depths=self._shape.depths if self._shape.tie_depths else None,
        )

    def _state(self) -> dict[str, torch.Tensor]:
        state: dict[str, torch.Tensor] = get_peft_model_state_dict(self._model)
        return state


def sites_of_config(method: object) -> tuple[Site, ...] | None:
    """Returns the sites that a PEFT config names; None for a name, or where it names none.

    Raises:
        UsageError: It names something that is no linear map of the block.
    """
    targets = getattr(method, "target_modules", None)
    if targets is None:
        return None
    if targets == "all-linear":
        return SITES
    plain: Any = copy.deepcopy(method)
    _clear(plain)
    sites = tuple(site for site in SITES if check_target_module_exists(plain, module_path(0, site)))
    if not sites:
        raise UsageError(f"The PEFT config names {targets}; the block has {', '.join(SITES)}.")
    return sites


def depths_of_config(method: object) -> tuple[int, ...] | None:
    """Returns the depths that a PEFT config names; None for a name, or where it names none."""
    depths = getattr(method, "layers_to_transform", None)
    if depths is None:
        return None
    return (depths,) if isinstance(depths, int) else tuple(sorted(depths))


def peft_config_for(shape: Shape) -> Any:
    """Returns PEFT's config object for a shape; its target modules are still to be set.

    Raises:
        UsageError: PEFT has no such method, or none that changes linear maps.
    """
    if isinstance(shape.method, PeftConfig):
        config = copy.deepcopy(shape.method)
        _clear(config)
        return config
    name, extra = _VARIANTS.get(shape.method, (shape.method, {}))
    kind = next((kind for kind in PEFT_TYPE_TO_CONFIG_MAPPING if kind.value.lower() == name), None)
    if kind is None or kind not in PEFT_TYPE_TO_TUNER_MAPPING:
        known = sorted({*(kind.value.lower() for kind in PeftType), *_VARIANTS})
        raise UsageError(f"PEFT has no method '{shape.method}'; known: block, {', '.join(known)}.")
    factory: Any = PEFT_TYPE_TO_CONFIG_MAPPING[kind]
    fields = {field.name for field in dataclasses.fields(factory)}
    values: dict[str, object] = {**_SETTINGS.get(name, {}), **extra}
    if name not in _NO_RANK and "r" in fields:
        values["r"] = shape.rank
    alpha = next((field for field in _ALPHAS if field in fields), None)
    if alpha is not None and shape.alpha is not None:
        values[alpha] = int(shape.alpha) if shape.alpha == int(shape.alpha) else shape.alpha
    if shape.dropout:
        values |= _dropout(fields, shape)
    if name == "adalora":
        values |= {"target_r": shape.rank, "init_r": math.ceil(1.5 * shape.rank)}
        values |= {"total_step": shape.steps, "tinit": shape.steps // 5, "tfinal": shape.steps // 3}
    if name == "ia3":
        values["feedforward_modules"] = [site for site in _FEED_FORWARD if site in shape.sites]
    try:
        return factory(**values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"PEFT refuses the settings of '{shape.method}': {error}") from error


def _dropout(fields: set[str], shape: Shape) -> dict[str, object]:
    names = sorted(field for field in fields if field.endswith("dropout"))
    if not names:
        raise UsageError(f"The method '{shape.method}' has no dropout; leave the option away.")
    return {names[0]: shape.dropout}


def _clear(config: Any) -> None:
    """Takes out of a user's config what the shape already says."""
    for name in ("layers_to_transform", "layers_pattern"):
        if hasattr(config, name):
            setattr(config, name, None)
    if getattr(config, "task_type", None) is not None:
        config.task_type = None


def _put(albert: AlbertModel, config: Any) -> Any:
    try:
        with warnings.catch_warnings():
            # PEFT asks transformers for a property that has a new name there.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
            return get_peft_model(albert, config)
    # PEFT refuses sizes and settings with errors of many classes.
    except Exception as error:
        raise UsageError(f"PEFT cannot use {_said(config)} here: {error}") from error


def _own_weights(albert: AlbertModel, paths: list[str]) -> None:
    """Gives each depth its own copy of the weights that an initialisation will change."""
    for path in paths:
        linear: Any = albert.get_submodule(path)
        linear.weight = nn.Parameter(linear.weight.detach().clone(), requires_grad=False)


def _check(model: Any, config: Any) -> None:
    """Refuses what would train something other than factors at sites."""
    if getattr(config, "modules_to_save", None):
        raise UsageError("The PEFT config has modules_to_save; the head is trained by adapterhub.")
    foreign = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and ("base_layer" in name or f".{_NAME}" not in name)
    ]
    if foreign:
        raise UsageError(
            f"{_said(config)} would train {foreign[0]}, which is part of the frozen block; an "
            f"adapter adds to linear maps (bias='none', no layer norms)."
        )


def _said(config: Any) -> str:
    return f"the method '{str(config.peft_type.value).lower()}'"
