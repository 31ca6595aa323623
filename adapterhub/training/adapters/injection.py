"""PEFT's own layers in an ALBERT, one set per depth or one for all.

An `AlbertModel` whose modules are unrolled has a module per depth and site, and PEFT puts its
layers where the shape says. With `tie_depths` the plain model is taken, whose one group serves
all depths.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import nn
from transformers import AlbertModel

from adapterhub.errors import UsageError
from adapterhub.model.unrolled import unrolled
from adapterhub.store.adapter_names import module_path, prefixed
from adapterhub.store.peft_format import PeftAdapter, adapter_from_peft, peft_state
from adapterhub.store.peft_ranks import mutates, relative_lora
from adapterhub.training.adapters.existing import Existing
from adapterhub.training.adapters.methods import config_for
from adapterhub.training.adapters.options import Shape

_NAME = "default"


class Injected:
    """An ALBERT with PEFT's layers in it."""

    def __init__(self, model: AlbertModel, shape: Shape, *, seed: int) -> None:
        """Puts layers into a copy of `model`.

        Raises:
            UsageError: PEFT does not know the method, or cannot use it as asked.
        """
        config = config_for(shape, int(model.config.hidden_size))
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

    def begin_with(self, existing: Existing) -> None:
        """Takes the numbers of another adapter, at the depths that both change.

        Raises:
            UsageError: Its settings are others, it changes no depth of this one, or the method
                cannot begin with given numbers.
        """
        if self._start or self.plans_ahead:
            raise UsageError(
                f"{_said(self._config)} begins in a way of its own and cannot go on from another "
                f"adapter; take lora."
            )
        existing.check_like(self.export().spec)
        state = peft_state(existing.spec, existing.tensors, stock=self._shape.tie_depths)
        own = self._state()
        common = {key: value for key, value in prefixed(state).items() if key in own}
        set_peft_model_state_dict(self._model, {**own, **common})

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
