"""Trainable adapters in an unrolled ALBERT: PEFT's own layers, or copies of the whole block."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import nn
from transformers import AlbertModel

from adapterhub.errors import UsageError
from adapterhub.model.adapters.unrolled import of_depth, unrolled_copy
from adapterhub.peft.format import PeftAdapter, adapter_from_peft, peft_state
from adapterhub.peft.settings import mutates, relative_lora
from adapterhub.specs import BLOCK_METHOD, SITES, AdapterSpec
from adapterhub.store.adapter_names import PREFIX, TIED, module_path, prefixed
from adapterhub.store.headfile import adapter_digest
from adapterhub.training.adapter_options import Shape
from adapterhub.training.adapters.trainable.peft_methods import config_for
from adapterhub.training.warm_start import WarmStart

_NAME = "default"


class PeftLayers:
    """An ALBERT with PEFT's layers in it.

    A tied adapter stands in one model for each set of weights that its depths have: one on an
    ALBERT, one per depth on a BERT. All of them share what is trained, and each computes what
    scoring computes at its depths.
    """

    def __init__(self, model: AlbertModel, shape: Shape, *, seed: int) -> None:
        """Injects layers into a copy of `model`.

        Raises:
            UsageError: PEFT does not know the method, or cannot use it here.
        """
        config = config_for(shape, int(model.config.hidden_size))
        config.target_modules = [
            module_path(depth, site)
            for depth in ((0,) if shape.tie_depths else shape.depths)
            for site in shape.sites
        ]
        self._start: dict[str, torch.Tensor] = {}
        self._shape = shape
        self._config = config
        self._depth = int(model.config.num_hidden_layers)
        own = copy.deepcopy(model)
        plain = unrolled_copy(own)
        places = _tied_places(own, shape) if shape.tie_depths else {}
        distinct = list(dict.fromkeys(places.values())) or [plain]
        self._models = [
            _injected(one, copy.deepcopy(config) if place else config, seed=seed)
            for place, one in enumerate(distinct)
        ]
        if mutates(config.to_dict()):
            self._start = {key: value.clone() for key, value in self._state().items()}
        for other in self._models[1:]:
            if not _equal(self._state(), get_peft_model_state_dict(other)):
                raise UsageError(
                    f"{_method_name(config)} starts from the weights, which differ by depth on "
                    f"this backbone, so that it cannot be shared by depths; leave out tie_depths."
                )
            _share(self._models[0], other)
        self._layers = [_layer(plain, depth) for depth in range(self._depth)]
        for depth, changed in places.items():
            self._layers[depth] = _layer(changed, 0)
        # Depths between those of a tied adapter run without it.
        self._module = nn.ModuleList([*self._models, plain])

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Returns the trained parameters by name."""
        named = self._models[0].named_parameters()
        return {name: parameter for name, parameter in named if parameter.requires_grad}

    @property
    def module(self) -> nn.Module:
        """Returns all of the model, to move it or to switch dropout."""
        return self._module

    @property
    def has_own_state(self) -> bool:
        """Returns whether the method keeps a state over the steps, as AdaLoRA does."""
        return hasattr(self._models[0].base_model, "update_and_allocate")

    def load_weights(self, warm_start: WarmStart) -> None:
        """Copies the weights of another adapter, at the depths that both change."""
        if self._start or self.has_own_state:
            raise UsageError(
                "An adapter with an initialisation or schedule of its own (pissa, olora, adalora) "
                "cannot continue from another one; use lora."
            )
        warm_start.check_fits(self.export().spec)
        state = peft_state(warm_start.spec, warm_start.tensors, stock=self._shape.tie_depths)
        own = self._state()
        common = {key: value for key, value in prefixed(state).items() if key in own}
        for model in self._models:
            set_peft_model_state_dict(model, {**own, **common})

    def layer(self, depth: int) -> Any:
        """Returns the layer of the pass from `depth` on."""
        return self._layers[depth]

    def after_step(self, step: int) -> None:
        """Lets AdaLoRA reallocate its rank budget, which needs the gradients."""
        if self.has_own_state:
            self._models[0].base_model.update_and_allocate(step)

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
        state: dict[str, torch.Tensor] = get_peft_model_state_dict(self._models[0])
        return state


def _tied_places(model: AlbertModel, shape: Shape) -> dict[int, AlbertModel]:
    """Returns, for each depth of a tied adapter, the model with its weights alone."""
    size = model.config.num_hidden_layers / model.config.num_hidden_groups
    # Source: transformers 5.23, AlbertTransformer.forward: which group runs at a depth.
    first = {int(depth / size): depth for depth in reversed(shape.depths)}
    models = {group: of_depth(model, depth) for group, depth in first.items()}
    return {depth: models[int(depth / size)] for depth in shape.depths}


def _layer(albert: AlbertModel, group: int) -> Any:
    layers: Any = albert.encoder.albert_layer_groups[group].albert_layers
    return layers[0]


def _injected(albert: AlbertModel, config: Any, *, seed: int) -> Any:
    """Returns a model of PEFT with freshly initialised layers.

    Raises:
        UsageError: PEFT cannot use the method here.
    """
    if mutates(config.to_dict()):
        _own_weights(albert, config.target_modules)
    torch.manual_seed(seed)
    model = _put(albert, config)
    _check(model, config)
    return model


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Returns whether two states hold the same numbers, as one seed gives on different weights."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def _share(first: Any, other: Any) -> None:
    """Makes a model train and hold the very parameters of another one."""
    trained = {name: p for name, p in first.named_parameters() if p.requires_grad}
    twins = {id(p): trained[name] for name, p in other.named_parameters() if name in trained}
    for module in other.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) in twins:
                setattr(module, name, twins[id(parameter)])


def _put(albert: AlbertModel, config: Any) -> Any:
    try:
        with warnings.catch_warnings():
            # PEFT uses a property of transformers that was renamed.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
            return get_peft_model(albert, config)
    # PEFT raises errors of many classes for sizes and settings that it cannot use.
    except Exception as error:
        raise UsageError(f"PEFT cannot use {_method_name(config)} here: {error}") from error


def _own_weights(albert: AlbertModel, paths: list[str]) -> None:
    """Copies, for each depth, the weights that an initialisation changes."""
    for path in paths:
        linear: Any = albert.get_submodule(path)
        linear.weight = nn.Parameter(linear.weight.detach().clone(), requires_grad=False)


def _check(model: Any, config: Any) -> None:
    """Refuses adapters that train anything but factors at sites."""
    if getattr(config, "modules_to_save", None):
        raise UsageError("The PEFT config has modules_to_save; the head is trained by adapterhub.")
    foreign = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and ("base_layer" in name or f".{_NAME}" not in name)
    ]
    if foreign:
        raise UsageError(
            f"{_method_name(config)} would train {foreign[0]}, which is part of the frozen block; "
            f"an adapter adds to linear maps (bias='none', no layer norms)."
        )


def _method_name(config: Any) -> str:
    return f"the method '{str(config.peft_type.value).lower()}'"


_BLOCK_NAMES = {
    "attention.query": "query",
    "attention.key": "key",
    "attention.value": "value",
    "attention.dense": "dense",
    "attention.LayerNorm": "dense.norm",
    "ffn": "ffn",
    "ffn_output": "ffn_output",
    "full_layer_layer_norm": "ffn_output.norm",
}
"""Module in transformers' AlbertLayer -> its name in a head file; a norm belongs to its map."""


class BlockCopies:
    """Trainable copies of the whole block at some depths: fine-tuning of the last depths."""

    has_own_state = False

    def __init__(self, model: AlbertModel, shape: Shape) -> None:
        self._shape = shape
        self._model: Any = unrolled_copy(copy.deepcopy(model))
        self._groups: Any = self._model.encoder.albert_layer_groups
        first = copy.deepcopy(self._groups[shape.from_depth])
        for depth in shape.depths:
            is_first = depth == shape.from_depth or shape.tie_depths
            own = first if is_first else copy.deepcopy(self._groups[depth])
            self._groups[depth] = own.requires_grad_(True)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Returns the trained parameters by their names in a head file."""
        tied = self._shape.tie_depths
        return {
            f"{PREFIX}{TIED if tied else depth}.{name}.{kind}": getattr(module, kind)
            for depth in (self._shape.depths[:1] if tied else self._shape.depths)
            for path, name in _BLOCK_NAMES.items()
            for module in [self.layer(depth).get_submodule(path)]
            for kind in ("weight", "bias")
        }

    @property
    def module(self) -> nn.Module:
        """Returns the whole model, to move it or to switch dropout."""
        model: nn.Module = self._model
        return model

    def load_weights(self, warm_start: WarmStart) -> None:
        """Copies the weights of another block, at the depths that both change."""
        warm_start.check_fits(self.export().spec)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if name in warm_start.tensors:
                    parameter.copy_(warm_start.tensors[name])

    def layer(self, depth: int) -> Any:
        """Returns the layer of the pass from `depth` on."""
        return self._groups[depth].albert_layers[0]

    def after_step(self, step: int) -> None:
        """Does nothing."""
        del step

    def export(self) -> PeftAdapter:
        """Returns spec and tensors, by the names of a head file."""
        tensors: dict[str, torch.Tensor] = {
            name: parameter.detach().cpu().float().clone()
            for name, parameter in self.parameters.items()
        }
        shape = self._shape
        spec = AdapterSpec(
            method=BLOCK_METHOD,
            depths=shape.depths,
            sites=SITES,
            tie_depths=shape.tie_depths,
            parameters=sum(tensor.numel() for tensor in tensors.values()),
            digest=adapter_digest(tensors, method=BLOCK_METHOD, depths=shape.depths, config={}),
        )
        return PeftAdapter(spec, tensors)
