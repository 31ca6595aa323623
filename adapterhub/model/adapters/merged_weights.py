"""Merged weights for adapters of any method: PEFT merges them into copies of the sites.

The copies are in modules with the paths of an unrolled ALBERT, so that merging cannot change the
backbone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from peft import PeftModel, get_peft_model, set_peft_model_state_dict
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from adapterhub.model.adapters.sites import SiteChange, backbone_site
from adapterhub.model.encoder.weights import Block
from adapterhub.peft.format import peft_config, peft_state
from adapterhub.specs import AdapterSpec, Site
from adapterhub.store.adapter_names import module_path, prefixed


def merged_sites(
    spec: AdapterSpec, tensors: Mapping[str, torch.Tensor], blocks: Mapping[int, Block]
) -> dict[int, dict[Site, SiteChange]]:
    """Returns the merged weights of an adapter by depth and site, in fp32.

    The depths of a tied adapter that share a block share one value.

    Args:
        spec: The adapter, of any method that PEFT can merge.
        tensors: Its tensors by their names in a head file.
        blocks: The backbone's block at each depth of the adapter.

    Raises:
        ValueError: The tensors do not fit, or PEFT cannot merge this method.
    """
    if spec.method.upper() not in {kind.value for kind in PEFT_TYPE_TO_CONFIG_MAPPING}:
        raise ValueError(f"PEFT has no method '{spec.method}'")
    if not spec.tie_depths:
        return _merged(spec, tensors, blocks, stock=False)
    # Tensors of some methods depend on the number of adapted maps, so each block is merged as the
    # plain ALBERT that the adapter was trained on.
    distinct = {id(block): block for block in blocks.values()}
    merged = {
        key: _merged(spec, tensors, {0: block}, stock=True)[0] for key, block in distinct.items()
    }
    return {depth: merged[id(block)] for depth, block in blocks.items()}


def _merged(
    spec: AdapterSpec,
    tensors: Mapping[str, torch.Tensor],
    blocks: Mapping[int, Block],
    *,
    stock: bool,
) -> dict[int, dict[Site, SiteChange]]:
    places = [(depth, site) for depth in blocks for site in spec.sites]
    skeleton = _make_skeleton(blocks, places)
    config = peft_config(spec, stock=stock)
    settings: dict[str, object] = {
        "target_modules": [module_path(depth, site) for depth, site in places],
        "layers_to_transform": None,
        "layers_pattern": None,
        "modules_to_save": None,
        "inference_mode": True,
    }
    for name, value in settings.items():
        if hasattr(config, name):
            setattr(config, name, value)
    try:
        model = get_peft_model(skeleton, config).eval()
        _load(model, peft_state(spec, tensors, stock=stock))
        merged = {place: _merge(model, *place) for place in places}
    except (RuntimeError, TypeError, KeyError, NotImplementedError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise ValueError(f"PEFT cannot merge '{spec.method}': {problem}") from error
    return {depth: {site: merged[depth, site] for site in spec.sites} for depth in blocks}


def _make_skeleton(blocks: Mapping[int, Block], places: list[tuple[int, Site]]) -> nn.Module:
    root = nn.Module()
    for depth, site in places:
        known = backbone_site(blocks[depth], site)
        linear = nn.Linear(known.shape[1], known.shape[0])
        with torch.no_grad():
            linear.weight.copy_(known.weight)
            linear.bias.copy_(known.bias)
        *path, last = module_path(depth, site).split(".")
        parent = root
        for part in path:
            if not hasattr(parent, part):
                parent.add_module(part, nn.Module())
            parent = getattr(parent, part)
        parent.add_module(last, linear)
    return root.requires_grad_(False)


def _load(model: PeftModel, state: Mapping[str, torch.Tensor]) -> None:
    """Loads an adapter's tensors into the model.

    Raises:
        ValueError: One is missing, unknown or of another shape.
    """
    outcome = set_peft_model_state_dict(model, prefixed(state))
    unexpected: list[str] = outcome.unexpected_keys  # type: ignore[attr-defined]
    if unexpected:
        raise ValueError(f"PEFT does not know its tensor '{unexpected[0]}'")
    # A tensor that several layers share has several names, and PEFT saves it under one of them.
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if ".base_layer." not in name:
            names.setdefault(id(parameter), []).append(name)
    absent = set(outcome.missing_keys)  # type: ignore[attr-defined]
    missing = sorted(known[0] for known in names.values() if absent.issuperset(known))
    if missing:
        raise ValueError(f"its tensor '{missing[0]}' is missing")


@torch.no_grad()
def _merge(model: PeftModel, depth: int, site: Site) -> SiteChange:
    layer = model.get_submodule(f"base_model.model.{module_path(depth, site)}")
    if not isinstance(layer, BaseTunerLayer):
        raise ValueError(f"PEFT changed nothing at depth {depth}, site '{site}'")
    layer.merge(safe_merge=True)
    linear = layer.get_base_layer()
    if not isinstance(linear, nn.Linear):
        raise ValueError(f"PEFT left a {type(linear).__name__} at depth {depth}, site '{site}'")
    return SiteChange(weight=linear.weight.detach().clone(), bias=linear.bias.detach().clone())
