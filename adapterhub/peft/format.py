"""A PEFT state, as PEFT hands it out, to an adapter of a head file, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftConfig

from adapterhub.errors import AdapterError
from adapterhub.families import ALBERT, FAMILIES, Family
from adapterhub.peft.family_names import canonical, config_for, families_of, family_key, no_factor
from adapterhub.peft.settings import method_of, settings_of, unpruned_adalora
from adapterhub.specs import SITES, AdapterSpec, Site
from adapterhub.store.adapter_names import (
    SHARED,
    AdapterTensor,
    adapter_problem,
    module_path,
    parse_name,
    parse_peft_key,
    plain_key,
)
from adapterhub.store.headfile import adapter_digest

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_INTEGER = re.compile(r"_indices|_size\b")
"""Factors that are row or column numbers; a head file holds them as float32."""
_EXACT = 2**24
"""Up to here every integer is a float32."""
_TRAINING = ("lora_monteclora_sampler.", "lora_velora_embed")
"""Parts of a LoRA that are for its training only."""
_COPIED = ("randlora_A", "randlora_B")
"""Shared tensors that PEFT writes once more for every map."""


@dataclass(frozen=True, slots=True, eq=False)
class PeftAdapter:
    """An adapter as a head file holds it.

    Attributes:
        spec: What it changes, and how.
        tensors: Its tensors by their names in a head file, on the CPU.
    """

    spec: AdapterSpec
    tensors: Mapping[str, torch.Tensor]


def adapter_from_peft(
    state: Mapping[str, torch.Tensor],
    config: PeftConfig | Mapping[str, Any],
    *,
    num_hidden_layers: int,
    tied: bool,
    depths: tuple[int, ...] | None = None,
    source: str = "from PEFT",
) -> PeftAdapter:
    """Returns spec and tensors of what PEFT trained.

    Args:
        state: From `peft.get_peft_model_state_dict` of a model of any family, with or without the
            prefixes of PEFT and of a model with a head.
        config: PEFT's configuration, or its `to_dict()`.
        num_hidden_layers: Depth D of the backbone.
        tied: Whether it is of a plain ALBERT, whose one group serves all depths; otherwise of an
            unrolled one.
        depths: Tied only: the depths that it serves; None for all of them.
        source: What it is, for messages.

    Raises:
        AdapterError: The method or a setting cannot be used here, or names, shapes or values of
            the state are not those of an adapter.
    """
    values = config if isinstance(config, Mapping) else config.to_dict()
    try:
        method = method_of(config)
        families = families_of(state)
        if families:
            state, values = canonical(state, values, FAMILIES[families[0]])
    except ValueError as error:
        raise AdapterError(source, str(error)) from error
    found = _read(state, method, tied=tied, source=source)
    places = [part for part in found if part.site is not None]
    if not places:
        raise AdapterError(source, _nothing_found(method))
    if tied:
        served = depths or tuple(range(num_hidden_layers))
    else:
        served = tuple(sorted({int(part.place) for part in places}))
    _check_depths(served, num_hidden_layers, source)
    sites = tuple(site for site in SITES if any(part.site == site for part in places))
    try:
        settings = settings_of(values, _paths(served, sites, tied=tied))
    except ValueError as error:
        raise AdapterError(source, str(error)) from error
    if method == "adalora":
        found = unpruned_adalora(found, values)
        settings.pop("rank_pattern", None)
    tensors = {part.name: _stored(part, tensor, source) for part, tensor in found.items()}
    digest = adapter_digest(tensors, method=method, depths=served, config=settings)
    spec = AdapterSpec(
        method=method,
        depths=served,
        sites=sites,
        tie_depths=tied,
        config=settings,
        parameters=sum(tensor.numel() for tensor in tensors.values()),
        digest=digest,
    )
    problem = adapter_problem(spec, {name: tuple(t.shape) for name, t in tensors.items()})
    if problem is not None:
        raise AdapterError(source, problem)
    return PeftAdapter(spec, tensors)


def peft_config(spec: AdapterSpec, *, stock: bool = False, family: Family = ALBERT) -> PeftConfig:
    """Returns PEFT's configuration with which `spec` opens on a model of a family.

    Args:
        spec: The adapter.
        stock: Tied adapters only: for a plain ALBERT, where it changes all depths. Otherwise for
            a model with a module per depth, which an ALBERT has if it is unrolled.
        family: The family of that model.

    Raises:
        ValueError: `stock` is asked for where depths differ.
    """
    _check_stock(spec, stock)
    found: PeftConfig = config_for(spec, stock=stock, family=family)
    return found


def peft_state(
    spec: AdapterSpec,
    tensors: Mapping[str, torch.Tensor],
    *,
    stock: bool = False,
    family: Family = ALBERT,
) -> dict[str, torch.Tensor]:
    """Returns an adapter's tensors by PEFT's names in a model of a family, without prefix.

    Args:
        spec: The adapter.
        tensors: Its tensors by their names in a head file; others are not looked at.
        stock: Tied adapters only: for a plain ALBERT, whose group 0 serves all depths. Otherwise
            for a model with a module per depth; a tied adapter then stands at each of its depths.
        family: The family of that model.

    Raises:
        ValueError: `stock` is asked for where depths differ.
    """
    _check_stock(spec, stock)
    state: dict[str, torch.Tensor] = {}
    places = (0,) if stock else spec.depths
    for name, tensor in tensors.items():
        part = parse_name(name)
        if part is None:
            continue
        value = tensor.to(torch.int64) if _INTEGER.search(part.factor) else tensor
        if part.site is None:
            state[part.factor] = value
            continue
        here = places if isinstance(part.place, str) else (part.place,)
        for depth in here:
            state[f"{module_path(depth, part.site)}.{part.factor}"] = value
    for factor in _COPIED:
        if factor in state:
            state |= {
                f"{module_path(d, site)}.{factor}": state[factor]
                for d in places
                for site in spec.sites
            }
    return {family_key(key, family): value for key, value in state.items()}


def _read(
    state: Mapping[str, torch.Tensor], method: str, *, tied: bool, source: str
) -> dict[AdapterTensor, torch.Tensor]:
    """Returns what the keys of a state say, with their tensors."""
    found: dict[AdapterTensor, torch.Tensor] = {}
    shared: dict[AdapterTensor, torch.Tensor] = {}
    for key, tensor in state.items():
        plain = plain_key(key)
        part = parse_peft_key(plain, tied=tied)
        if part is None and plain.startswith(f"{method}_"):
            shared[AdapterTensor(SHARED, None, plain)] = tensor
            continue
        if part is None or part.factor.startswith("base_layer."):
            raise AdapterError(source, no_factor(key))
        if tied and ".albert_layer_groups.0." not in plain:
            raise AdapterError(
                source,
                f"it holds '{key[:120]}': an adapter that all depths share is in group 0. "
                f"For one that differs by depth, say so.",
            )
        if not part.factor.startswith(_TRAINING):
            found[part] = tensor
    for name in _COPIED:
        if AdapterTensor(SHARED, None, name) in shared:
            found = {part: tensor for part, tensor in found.items() if part.factor != name}
    return found | shared


def _paths(depths: tuple[int, ...], sites: tuple[Site, ...], *, tied: bool) -> dict[str, str]:
    """Returns the path of every changed map, and a name for it that fits all its depths."""
    if not tied:
        paths = [module_path(depth, site) for depth in depths for site in sites]
        return {path: path for path in paths}
    start = module_path(0, "ffn").removesuffix("ffn")
    paths = [module_path(0, site) for site in sites]
    return {path: path.removeprefix(start) for path in paths}


def _check_stock(spec: AdapterSpec, stock: bool) -> None:
    if stock and not spec.tie_depths:
        raise ValueError("an adapter that differs by depth has no form for a plain ALBERT")


def _nothing_found(method: str) -> str:
    if method == "unilora":
        return (
            "it holds no indices of its maps, which only the order of the modules in memory would "
            "tell; save it with save_indices=True"
        )
    return f"it holds no factor at a linear map of the block ({', '.join(SITES)})"


def _check_depths(depths: tuple[int, ...], num_hidden_layers: int, source: str) -> None:
    if depths[-1] >= num_hidden_layers:
        raise AdapterError(
            source,
            f"it changes depth {depths[-1]}; this backbone has depths 0 to "
            f"{num_hidden_layers - 1}. Use the backbone that it was made for.",
        )


def _stored(part: AdapterTensor, tensor: torch.Tensor, source: str) -> torch.Tensor:
    """Returns a tensor as a head file holds it: floating, on the CPU, with memory of its own."""
    own = tensor.detach().to("cpu", copy=True).contiguous()
    if not bool(torch.isfinite(own).all()):
        raise AdapterError(
            source,
            f"'{part.name}' holds NaN or infinity; every text would get the same answer. Train it "
            f"again with a lower learning rate, or in float32.",
        )
    if own.dtype in _FLOATS and not _INTEGER.search(part.factor):
        return own
    if own.numel() and float(own.abs().max()) > _EXACT:
        raise AdapterError(
            source, f"'{part.name}' numbers more than {_EXACT} places; a head file cannot"
        )
    return own.to(torch.float32)
