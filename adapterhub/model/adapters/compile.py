"""Compiles the PEFT adapter of a head file into the form that the encoder runs.

Methods that fit the form of `MapChange` are compiled site by site, one function per method; the
weights of any other method are merged by PEFT itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from adapterhub.errors import HeadFileError
from adapterhub.model.adapters.sites import BackboneSite, SiteChange, backbone_site, join_sites
from adapterhub.model.encoder.changes import Adapter, BlockChange
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.weights import Block, Norm
from adapterhub.specs import BLOCK_METHOD, SITES, AdapterSpec, Site
from adapterhub.store.adapter_names import SHARED, TIED, module_path, parse_name


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The trained tensors of one site at one depth.

    Attributes:
        factors: PEFT's tensors of the site by name, fp32.
        shared: Tensors of the whole adapter by name, fp32.
        site: The site of the backbone.
        spec: The adapter.
        path: PEFT's module path of the site, matched by patterns in the configuration.
    """

    factors: Mapping[str, torch.Tensor]
    shared: Mapping[str, torch.Tensor]
    site: BackboneSite
    spec: AdapterSpec
    path: str

    def factor(self, *names: str) -> torch.Tensor:
        """Returns the factor that has one of these names.

        Raises:
            ValueError: There is none.
        """
        for name in names:
            if name in self.factors:
                return self.factors[name]
        raise ValueError(f"the factor '{names[0]}' is missing")


def _compile_lora(trained: Trained) -> SiteChange:
    """Compiles LoRA, rsLoRA or DoRA. Source: arXiv:2106.09685, 2312.03732, 2402.09353."""
    config = trained.spec.config
    down, up = trained.factor("lora_A.weight"), trained.factor("lora_B.weight")
    _check_shape("lora_A.weight", down, (down.shape[0], trained.site.shape[1]))
    _check_shape("lora_B.weight", up, (trained.site.shape[0], down.shape[0]))
    alpha = _pattern(config.get("alpha_pattern"), trained.path, config.get("lora_alpha"))
    rank = down.shape[0]
    scaling = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    if not config.get("use_dora"):
        return SiteChange(down=down, up=up * scaling)
    magnitude = trained.factor("lora_magnitude_vector", "lora_magnitude_vector.weight").flatten()
    _check_shape("lora_magnitude_vector", magnitude, (trained.site.shape[0],))
    norm = torch.linalg.vector_norm(trained.site.weight + scaling * (up @ down), dim=1)
    scale = magnitude / norm
    # The bias is not scaled: scale * (W x + b) + (1 - scale) * b.
    shift = trained.site.bias * (1 - scale)
    return SiteChange(scale=scale, shift=shift, down=down, up=up * (scaling * scale)[:, None])


def _compile_adalora(trained: Trained) -> SiteChange:
    """Compiles AdaLoRA: singular values between the factors. Source: arXiv:2303.10512."""
    down, up = trained.factor("lora_A"), trained.factor("lora_B")
    values = trained.factor("lora_E")
    _check_shape("lora_A", down, (down.shape[0], trained.site.shape[1]))
    _check_shape("lora_B", up, (trained.site.shape[0], down.shape[0]))
    _check_shape("lora_E", values, (down.shape[0], 1))
    alpha = _pattern(None, trained.path, trained.spec.config.get("lora_alpha"))
    # Source: peft 0.21, SVDLinear.forward.
    return SiteChange(down=down * values, up=up * (alpha / (down.shape[0] + 1e-5)))


def _compile_ia3(trained: Trained) -> SiteChange:
    """Compiles IA3: scaled outputs, or inputs of feed-forward sites. Source: arXiv:2205.05638."""
    vector = trained.factor("ia3_l").flatten()
    scales_input = _is_feedforward(trained.spec.config.get("feedforward_modules"), trained.path)
    _check_shape("ia3_l", vector, (trained.site.shape[1 if scales_input else 0],))
    if scales_input:
        return SiteChange(weight=trained.site.weight * vector, bias=trained.site.bias)
    return SiteChange(scale=vector)


def _is_feedforward(modules: object, path: str) -> bool:
    # Source: peft 0.21, IA3Model._check_target_module_feedforward.
    if isinstance(modules, str):
        return re.fullmatch(modules, path) is not None
    return isinstance(modules, list) and any(path.endswith(str(name)) for name in modules)


def _compile_vera(trained: Trained) -> SiteChange:
    """Compiles VeRA: shared random projections, scaled. Source: arXiv:2310.11454."""
    outputs, inputs = trained.site.shape
    inner, outer = trained.factor("vera_lambda_d"), trained.factor("vera_lambda_b")
    shared = {name.rsplit(".", 1)[-1]: value for name, value in trained.shared.items()}
    if not {"vera_A", "vera_B"} <= shared.keys():
        raise ValueError("the shared projections vera_A and vera_B are missing")
    down = shared["vera_A"].to(inner.device)[:, :inputs]
    up = shared["vera_B"].to(inner.device)[:outputs]
    _check_shape("vera_A", down, (inner.shape[0], inputs))
    _check_shape("vera_B", up, (outputs, inner.shape[0]))
    _check_shape("vera_lambda_b", outer, (outputs,))
    down, up = inner[:, None] * down, outer[:, None] * up
    if inner.shape[0] * (inputs + outputs) >= inputs * outputs:
        return SiteChange(weight=trained.site.weight + up @ down, bias=trained.site.bias)
    return SiteChange(down=down, up=up)


COMPILERS: Mapping[str, Callable[[Trained], SiteChange]] = MappingProxyType(
    {"lora": _compile_lora, "adalora": _compile_adalora, "ia3": _compile_ia3, "vera": _compile_vera}
)
"""The methods that fit `MapChange`; all others are merged."""

KNOWN_FACTORS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "lora": frozenset(
            f"lora_{name}"
            for name in ("A.weight", "B.weight", "magnitude_vector", "magnitude_vector.weight")
        ),
        "adalora": frozenset({"lora_A", "lora_B", "lora_E"}),
        "ia3": frozenset({"ia3_l"}),
        "vera": frozenset({"vera_lambda_d", "vera_lambda_b"}),
    }
)
"""The tensors of each method; a variant with others is merged."""

VARIANTS = (
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "alora_invocation_tokens",
    "layer_replication",
)
"""Options of PEFT that change what a method computes; with one of them it is merged."""


def _pattern(patterns: object, path: str, default: object) -> float:
    """Returns the value of the first pattern that matches the path, as in PEFT, or `default`."""
    known = patterns if isinstance(patterns, dict) else {}
    found = next((value for name, value in known.items() if _matches(str(name), path)), default)
    if not isinstance(found, int | float) or isinstance(found, bool):
        raise ValueError(f"its configuration has no usable lora_alpha, found {found!r}")
    return float(found)


def _matches(name: str, path: str) -> bool:
    # Source: peft 0.21, get_pattern_key: a name stands for the end of a module's path.
    return re.match(rf"(.*\.)?({name})$", path) is not None


def _check_shape(name: str, tensor: torch.Tensor, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != expected:
        raise ValueError(f"'{name}' is {tuple(tensor.shape)}, expected {expected}")


_NORMS = {"dense": "attention_norm", "ffn_output": "output_norm"}
"""The layer norm after a site; method `block` stores its tensors as `norm.*` of the site."""


def compile_adapter(
    spec: AdapterSpec, tensors: Mapping[str, torch.Tensor], *, encoder: Encoder, source: str
) -> Adapter:
    """Returns the compiled adapter on the encoder's device.

    Args:
        spec: The adapter.
        tensors: The tensors of its head file; those of the head are ignored.
        encoder: The backbone that it changes.
        source: Name of the file or task, for messages.

    Raises:
        HeadFileError: Its tensors do not fit the backbone, or the method is not known.
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
    """Returns an adapter's tensors in fp32 by place, site and factor."""
    found: dict[int | str, dict[str, dict[str, torch.Tensor]]] = {}
    for name, tensor in tensors.items():
        parsed = parse_name(name)
        if parsed is not None:
            sites = found.setdefault(parsed.place, {})
            sites.setdefault(parsed.site or SHARED, {})[parsed.factor] = tensor.float()
    return found


def _fits(spec: AdapterSpec, places: _Places) -> bool:
    """Returns whether this variant of a method fits `MapChange`."""
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
                known = backbone_site(block, site)
                path = module_path(0 if spec.tie_depths else depth, site)
                factors = {
                    name: value.to(encoder.device) for name, value in places[place][site].items()
                }
                trained = Trained(factors, shared, known, spec, path)
                try:
                    sites[site] = COMPILERS[spec.method](trained)
                except (ValueError, RuntimeError) as error:
                    raise ValueError(f"at depth {depth}, site '{site}': {error}") from error
            compiled[key] = join_sites(sites, block, {})
        changes[depth] = compiled[key]
    return changes


def _compile_whole(
    spec: AdapterSpec, tensors: Mapping[str, torch.Tensor], places: _Places, encoder: Encoder
) -> dict[int, BlockChange]:
    """Returns changes that replace whole weights: those of method `block`, or merged ones."""
    blocks = {depth: encoder.block_at(depth) for depth in spec.depths}
    if spec.method == BLOCK_METHOD and spec.tie_depths:
        first = spec.from_depth
        return dict.fromkeys(blocks, _own_block(places[TIED], blocks[first], first))
    if spec.method == BLOCK_METHOD:
        return {depth: _own_block(places[depth], block, depth) for depth, block in blocks.items()}
    # PEFT takes seconds to import, and most adapters do not need it.
    from adapterhub.model.adapters.merged_weights import merged_sites

    merged = merged_sites(spec, tensors, blocks)
    # The depths of a tied adapter share one change, and so its memory on the device.
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
        shape = backbone_site(block, known).shape
        where = f"depth {depth}, site '{site}'"
        own = {"weight": shape, "bias": shape[:1]}
        if site in _NORMS:
            own |= {"norm.weight": shape[:1], "norm.bias": shape[:1]}
        for name in sorted(own.keys() | factors.keys()):
            found = tuple(factors[name].shape) if name in factors else None
            if found != own.get(name):
                raise ValueError(f"at {where}: '{name}' is {found}, expected {own.get(name)}")
        changes[known] = SiteChange(weight=factors["weight"], bias=factors["bias"])
        if site in _NORMS:
            norms[_NORMS[site]] = Norm(factors["norm.weight"], factors["norm.bias"])
    return join_sites(changes, block, norms)


def _site(name: str) -> Site:
    return next(site for site in SITES if site == name)
