"""Head file -> Adapter: what PEFT trained, turned into what the encoder runs.

Methods that have the form of `MapChange` are compiled site by site; the weights of any other
method are merged by PEFT itself. Nothing is made resident before the whole adapter is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch

from adapterhub.errors import HeadFileError
from adapterhub.model.adapters import (
    Adapter,
    BlockChange,
    Norm,
    SiteChange,
    join_sites,
    site_weight,
)
from adapterhub.model.encoder import Encoder
from adapterhub.model.methods import COMPILERS, KNOWN_FACTORS, VARIANTS, Trained
from adapterhub.model.weights import Block
from adapterhub.specs import BLOCK_METHOD, SITES, AdapterSpec, Site
from adapterhub.store.adapter_names import SHARED, TIED, module_path, parse_name

_NORMS = {"dense": "attention_norm", "ffn_output": "output_norm"}
"""The layer norm that follows a site; an own block has its tensors as the site's `norm.*`."""


def compile_adapter(
    spec: AdapterSpec, tensors: Mapping[str, torch.Tensor], *, encoder: Encoder, source: str
) -> Adapter:
    """Returns an adapter on the encoder's device.

    Args:
        spec: What it is.
        tensors: Its tensors, as in a head file; others are not looked at.
        encoder: The backbone that it changes.
        source: Where it comes from, for messages.

    Raises:
        HeadFileError: Its factors do not fit the backbone, or the method is not known.
    """
    try:
        by_place = _by_place(tensors)
        if spec.method == BLOCK_METHOD or spec.method not in COMPILERS or not _fits(spec, by_place):
            changes = _compile_whole(spec, tensors, by_place, encoder)
        else:
            changes = _compile_sites(spec, by_place, encoder)
    except ValueError as error:
        raise HeadFileError(source, f"its adapter does not fit: {error}") from error
    return Adapter(spec.digest, MappingProxyType(changes))


_Places = Mapping[int | str, Mapping[str, Mapping[str, torch.Tensor]]]


def _by_place(tensors: Mapping[str, torch.Tensor]) -> _Places:
    """Returns an adapter's tensors in fp32: by place, site and factor."""
    found: dict[int | str, dict[str, dict[str, torch.Tensor]]] = {}
    for name, tensor in tensors.items():
        parsed = parse_name(name)
        if parsed is not None:
            sites = found.setdefault(parsed.place, {})
            sites.setdefault(parsed.site or SHARED, {})[parsed.factor] = tensor.float()
    return found


def _fits(spec: AdapterSpec, places: _Places) -> bool:
    """Returns whether our own form can hold this variant of a method."""
    own = KNOWN_FACTORS.get(spec.method, frozenset())
    given = {
        factor
        for place, sites in places.items()
        if place != SHARED
        for factors in sites.values()
        for factor in factors
    }
    extras = [key for key in VARIANTS if spec.config.get(key)]
    return given <= own and not extras


def _compile_sites(spec: AdapterSpec, places: _Places, encoder: Encoder) -> dict[int, BlockChange]:
    shared = places.get(SHARED, {}).get(SHARED, {})
    compiled: dict[tuple[int | str, int], BlockChange] = {}
    changes: dict[int, BlockChange] = {}
    for depth in spec.depths:
        place: int | str = TIED if spec.tie_depths else depth
        key = (place, encoder.group_of(depth))
        if key not in compiled:
            block = encoder.block_at(depth)
            sites: dict[Site, SiteChange] = {}
            for site in spec.sites:
                weight, bias = (part.float() for part in site_weight(block, site))
                path = module_path(0 if spec.tie_depths else depth, site)
                factors = {
                    name: value.to(weight.device) for name, value in places[place][site].items()
                }
                trained = Trained(factors, shared, weight, bias, spec, path)
                try:
                    sites[site] = COMPILERS[spec.method](trained)
                except (ValueError, RuntimeError) as error:
                    raise ValueError(f"at depth {depth}, site '{site}': {error}") from error
            compiled[key] = join_sites(sites, block, {})
        changes[depth] = compiled[key]
    return changes


def _compile_whole(
    spec: AdapterSpec,
    tensors: Mapping[str, torch.Tensor],
    places: _Places,
    encoder: Encoder,
) -> dict[int, BlockChange]:
    """Returns changes that replace whole weights: an own block, or what PEFT merged."""
    blocks = {depth: encoder.block_at(depth) for depth in spec.depths}
    if spec.method == BLOCK_METHOD and spec.tie_depths:
        first = spec.from_depth
        return dict.fromkeys(blocks, _own_block(places[TIED], blocks[first], first))
    if spec.method == BLOCK_METHOD:
        return {depth: _own_block(places[depth], block, depth) for depth, block in blocks.items()}
    # PEFT takes seconds to import, and most adapters do not need it.
    from adapterhub.model.merging import merged_sites

    merged = merged_sites(spec, tensors, blocks)
    # The depths of a tied adapter share one value, and so its bytes on the device.
    joined: dict[int, BlockChange] = {}
    for depth, sites in merged.items():
        if id(sites) not in joined:
            joined[id(sites)] = join_sites(sites, blocks[depth], {})
    return {depth: joined[id(sites)] for depth, sites in merged.items()}


def _own_block(
    sites: Mapping[str, Mapping[str, torch.Tensor]], block: Block, depth: int
) -> BlockChange:
    changes: dict[Site, SiteChange] = {}
    norms: dict[str, Norm] = {}
    for site, factors in sites.items():
        known = _site(site)
        weight, bias = site_weight(block, known)
        where = f"depth {depth}, site '{site}'"
        own = {"weight": weight.shape, "bias": bias.shape}
        if site in _NORMS:
            own |= {"norm.weight": bias.shape, "norm.bias": bias.shape}
        for name in sorted(own.keys() | factors.keys()):
            found = factors[name].shape if name in factors else None
            if found != own.get(name):
                raise ValueError(f"at {where}: '{name}' is {found}, expected {own.get(name)}")
        changes[known] = SiteChange(weight=factors["weight"], bias=factors["bias"])
        if site in _NORMS:
            norms[_NORMS[site]] = Norm(factors["norm.weight"], factors["norm.bias"])
    return join_sites(changes, block, norms)


def _site(name: str) -> Site:
    return next(site for site in SITES if site == name)
