"""Trainable adapters in an unrolled ALBERT: PEFT's own layers, or copies of the whole block."""

from __future__ import annotations

import copy
import dataclasses
import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from peft import PeftConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import check_target_module_exists
from torch import nn
from transformers import AlbertModel

from adapterhub.errors import UsageError
from adapterhub.model.adapters.unrolled import unrolled
from adapterhub.peft.format import PeftAdapter, adapter_from_peft, peft_state
from adapterhub.peft.settings import UNUSABLE, config_class, mutates, relative_lora
from adapterhub.specs import BLOCK_METHOD, SITES, AdapterSpec, Site
from adapterhub.store.adapter_names import PREFIX, TIED, module_path, prefixed
from adapterhub.store.headfile import adapter_digest
from adapterhub.training.adapter_options import AdapterOptions, Shape
from adapterhub.training.warm_start import WarmStart

VARIANTS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "dora": ("lora", {"use_dora": True}),
    "rslora": ("lora", {"use_rslora": True}),
    "pissa": ("lora", {"init_lora_weights": "pissa"}),
    "olora": ("lora", {"init_lora_weights": "olora"}),
}
"""Common names of a PEFT method with one setting."""

_SETTINGS: Mapping[str, Mapping[str, object]] = {
    # Either a rank or a block size; the other is 0.
    "oft": {"oft_block_size": 0},
    # The file has to hold which numbers a map takes.
    "unilora": {"save_indices": True},
}
_DIVISORS: Mapping[str, tuple[str, int]] = {
    "c3a": ("block_size", 256),
    "road": ("group_size", 64),
    "vblora": ("vector_length", 256),
}
"""Settings that must divide the width, with PEFT's defaults, which may not do so."""

_NO_RANK = ("adalora", "boft", "ia3")
ALPHAS = ("lora_alpha", "alpha", "randlora_alpha", "psoft_alpha")
_FEED_FORWARD: tuple[Site, ...] = ("ffn_output",)


def sites_of_config(method: object) -> tuple[Site, ...] | None:
    """Returns the sites that a PEFT config names, or None.

    Raises:
        UsageError: It names no linear map of the block.
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
    """Returns the depths that a PEFT config names, or None."""
    depths = getattr(method, "layers_to_transform", None)
    if depths is None:
        return None
    return (depths,) if isinstance(depths, int) else tuple(sorted(depths))


def check_method(method: object) -> None:
    """Checks that a method, by name or by its config, can be an adapter.

    Raises:
        UsageError: PEFT has no such method, or none that changes linear maps.
    """
    if isinstance(method, PeftConfig):
        name = str(getattr(method.peft_type, "value", method.peft_type)).lower()
    else:
        name, _ = VARIANTS.get(str(method), (str(method), {}))
    if name in UNUSABLE:
        raise UsageError(f"The method '{name}' cannot be used here: {UNUSABLE[name]}.")
    known = {kind.value.lower() for kind in PEFT_TYPE_TO_TUNER_MAPPING} - UNUSABLE.keys()
    if name not in (known | {BLOCK_METHOD}):
        names = ", ".join(sorted({*known, *VARIANTS, BLOCK_METHOD}))
        raise UsageError(f"PEFT has no method '{name}'; known: {names}.")


def config_for(shape: Shape, hidden_size: int) -> Any:
    """Returns PEFT's config object for a shape, without target modules.

    Raises:
        UsageError: PEFT has no such method, or none that changes linear maps.
    """
    if isinstance(shape.method, PeftConfig):
        config = copy.deepcopy(shape.method)
        _clear(config)
        return config
    check_method(shape.method)
    name, extra = VARIANTS.get(shape.method, (shape.method, {}))
    factory: Any = config_class(name)
    fields = {field.name for field in dataclasses.fields(factory)}
    values: dict[str, object] = {**_SETTINGS.get(name, {}), **extra}
    values |= _sizes(fields, shape, has_rank=name not in _NO_RANK)
    if name == "adalora":
        values |= {"target_r": shape.rank, "init_r": math.ceil(1.5 * shape.rank)}
        values |= {"total_step": shape.steps, "tinit": shape.steps // 5, "tfinal": shape.steps // 3}
    if name in _DIVISORS:
        setting, usual = _DIVISORS[name]
        values[setting] = math.gcd(usual, hidden_size)
    if name == "waveft":
        values["n_frequency"] = min(2_592, hidden_size**2 // 4)
    if name == "ia3":
        values["feedforward_modules"] = [site for site in _FEED_FORWARD if site in shape.sites]
    try:
        return factory(**values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"PEFT refuses the settings of '{shape.method}': {error}") from error


def _sizes(fields: set[str], shape: Shape, *, has_rank: bool) -> dict[str, object]:
    """Returns rank, alpha and dropout by the method's own names."""
    values: dict[str, object] = {"r": shape.rank} if has_rank and "r" in fields else {}
    alpha = next((field for field in ALPHAS if field in fields), None)
    if alpha is not None and shape.alpha is not None:
        values[alpha] = int(shape.alpha) if shape.alpha == int(shape.alpha) else shape.alpha
    if shape.dropout:
        names = sorted(field for field in fields if field.endswith("dropout"))
        if not names:
            raise UsageError(f"The method '{shape.method}' has no dropout; leave the option out.")
        values[names[0]] = shape.dropout
    return values


def _clear(config: Any) -> None:
    """Removes from a user's config what the shape determines."""
    for name in ("layers_to_transform", "layers_pattern"):
        if hasattr(config, name):
            setattr(config, name, None)
    if getattr(config, "task_type", None) is not None:
        config.task_type = None


def inherit_shape(options: AdapterOptions, spec: AdapterSpec) -> AdapterOptions:
    """Returns options that take over the shape of an adapter where they do not give one."""
    given = options.model_fields_set
    if not isinstance(options.method, str):
        return options  # A PEFT config determines the whole shape.
    shape: dict[str, Any] = {
        "method": _name_of(spec),
        "from_depth": spec.from_depth,
        "sites": spec.sites,
        "tie_depths": spec.tie_depths,
        "rank": spec.config.get("r"),
        "alpha": _alpha_of(spec),
    }
    changes = {n: value for n, value in shape.items() if value is not None and n not in given}
    if options.from_depths is not None:
        changes.pop("from_depth", None)
    return options.model_copy(update=changes)


def _name_of(spec: AdapterSpec) -> str:
    """Returns the method name by which `config_for` makes an adapter like this one."""
    for name, (method, settings) in VARIANTS.items():
        if spec.method == method and all(spec.config.get(k) == v for k, v in settings.items()):
            return name
    return spec.method


def _alpha_of(spec: AdapterSpec) -> float | None:
    """Returns its alpha, where its method has one."""
    found = next((spec.config[name] for name in ALPHAS if name in spec.config), None)
    return float(found) if isinstance(found, int | float) else None


_NAME = "default"


class PeftLayers:
    """An ALBERT with PEFT's layers in it."""

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
        """Returns the trained parameters by name."""
        return {name: p for name, p in self._model.named_parameters() if p.requires_grad}

    @property
    def module(self) -> nn.Module:
        """Returns the whole model, to move it or to switch dropout."""
        model: nn.Module = self._model
        return model

    @property
    def has_own_state(self) -> bool:
        """Returns whether the method keeps a state over the steps, as AdaLoRA does."""
        return hasattr(self._model.base_model, "update_and_allocate")

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
        set_peft_model_state_dict(self._model, {**own, **common})

    def layer(self, depth: int) -> Any:
        """Returns the layer of the pass from `depth` on."""
        return self._groups[0 if self._shape.tie_depths else depth].albert_layers[0]

    def after_step(self, step: int) -> None:
        """Lets AdaLoRA reallocate its rank budget, which needs the gradients."""
        if self.has_own_state:
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
        self._model: Any = unrolled(copy.deepcopy(model))
        self._groups: Any = self._model.encoder.albert_layer_groups
        first = copy.deepcopy(self._groups[shape.from_depth]).requires_grad_(True)
        for depth in shape.depths:
            is_own = depth == shape.from_depth or shape.tie_depths
            self._groups[depth] = first if is_own else copy.deepcopy(first)

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
