"""The methods of PEFT and their configurations, from options or from a PEFT config."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import check_target_module_exists

from adapterhub.errors import UsageError
from adapterhub.families import Family
from adapterhub.peft.family_names import block_paths, canonical_settings
from adapterhub.peft.settings import UNUSABLE, config_class
from adapterhub.specs import BLOCK_METHOD, SITES, AdapterSpec, Site
from adapterhub.store.adapter_names import block_part
from adapterhub.training.adapter_options import AdapterOptions, Shape

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


def sites_of_config(method: object, family: Family) -> tuple[Site, ...] | None:
    """Returns the sites that a PEFT config names, or None.

    Args:
        method: A method, by name or by its config.
        family: That of the backbone, whose names the config may use; ours are understood too.

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
    sites = tuple(site for site in SITES if _is_named(plain, block_paths(0, site, family)))
    if not sites:
        names = SITES if family.shares_blocks else [family.parts[block_part(one)] for one in SITES]
        raise UsageError(f"The PEFT config names {targets}; the block has {', '.join(names)}.")
    return sites


def _is_named(config: Any, paths: tuple[str, str]) -> bool:
    """Returns whether a config names a map by one of its paths, and excludes it by none."""
    every = copy.copy(config)
    every.exclude_modules = None
    named = [path for path in paths if check_target_module_exists(every, path)]
    return bool(named) and all(check_target_module_exists(config, path) for path in named)


def with_own_names(shape: Shape, family: Family) -> Shape:
    """Returns a shape whose PEFT config names maps as in an unrolled ALBERT.

    Raises:
        UsageError: A pattern of the config is not valid.
    """
    if family.shares_blocks or not isinstance(shape.method, PeftConfig):
        return shape
    paths: dict[str, str] = {}
    for depth in shape.depths:
        for site in shape.sites:
            theirs, ours = block_paths(depth, site, family)
            called = block_part(site) if shape.tie_depths else ours
            paths |= {ours: called, theirs: called}
    config = copy.deepcopy(shape.method)
    try:
        settings = canonical_settings(vars(config), paths)
    except ValueError as error:
        raise UsageError(f"The PEFT config cannot be used: {error}.") from error
    for name, value in settings.items():
        setattr(config, name, value)
    return dataclasses.replace(shape, method=config)


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
        **_places_of(spec, options),
        "sites": spec.sites,
        "tie_depths": spec.tie_depths,
        "rank": spec.config.get("r"),
        "alpha": _alpha_of(spec),
    }
    changes = {n: value for n, value in shape.items() if value is not None and n not in given}
    return options.model_copy(update=changes)


def _places_of(spec: AdapterSpec, options: AdapterOptions) -> dict[str, object]:
    """Returns the options of an adapter's depths, where none are given."""
    given = (options.from_depth, options.from_depths, options.at_depths)
    if any(one is not None for one in given):
        return {}
    # Above its last depth, a new adapter may change more.
    is_whole = len(spec.depths) == spec.depths[-1] - spec.from_depth + 1
    return {"from_depth": spec.from_depth} if is_whole else {"at_depths": spec.depths}


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
