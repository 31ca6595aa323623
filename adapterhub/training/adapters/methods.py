"""A method's name and a shape -> PEFT's config object; a user's own config -> its places."""

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
from adapterhub.specs import BLOCK_METHOD, SITES, Site
from adapterhub.store.adapter_names import module_path
from adapterhub.store.peft_settings import UNUSABLE, config_class
from adapterhub.training.adapters.options import Shape

VARIANTS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "dora": ("lora", {"use_dora": True}),
    "rslora": ("lora", {"use_rslora": True}),
    "pissa": ("lora", {"init_lora_weights": "pissa"}),
    "olora": ("lora", {"init_lora_weights": "olora"}),
}
"""Names that people use for a method of PEFT with one setting."""

_SETTINGS: Mapping[str, Mapping[str, object]] = {
    # Either a rank or a block size; the other is 0.
    "oft": {"oft_block_size": 0},
    # A file says which numbers a map takes; their order in memory would not.
    "unilora": {"save_indices": True},
}
_DIVISORS: Mapping[str, tuple[str, int]] = {
    "c3a": ("block_size", 256),
    "road": ("group_size", 64),
    "vblora": ("vector_length", 256),
}
"""Settings that must divide the width, with PEFT's defaults, which may not."""

_NO_RANK = ("adalora", "boft", "ia3")
ALPHAS = ("lora_alpha", "alpha", "randlora_alpha", "psoft_alpha")
_FEED_FORWARD: tuple[Site, ...] = ("ffn_output",)


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
    """Returns PEFT's config object for a shape; its target modules are still to be set.

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
    """Returns rank, alpha and dropout under the names that a method has for them."""
    values: dict[str, object] = {"r": shape.rank} if has_rank and "r" in fields else {}
    alpha = next((field for field in ALPHAS if field in fields), None)
    if alpha is not None and shape.alpha is not None:
        values[alpha] = int(shape.alpha) if shape.alpha == int(shape.alpha) else shape.alpha
    return {**values, **_dropout(fields, shape)} if shape.dropout else values


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
