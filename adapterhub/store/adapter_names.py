"""The names of an adapter's tensors in a head file and in a PEFT file.

    adapter.<depth>.<site>.<factor>   one depth, for instance adapter.8.query.lora_A.weight
    adapter.tied.<site>.<factor>      the same at all depths of the adapter
    adapter.shared.<factor>           of the whole adapter, for instance VeRA's projections

The factors keep PEFT's names, so a head file converts to a PEFT folder and back without a table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from adapterhub.families import ALBERT, FAMILIES
from adapterhub.specs import SITES, AdapterSpec, Site

Value = TypeVar("Value")

PREFIX = "adapter."
TIED = "tied"
SHARED = "shared"

# In a PEFT file: the module's path in an AlbertModel, then the factor.
_MODULE = re.compile(
    r"(?:^|\.)encoder\.albert_layer_groups\.(?P<group>0|[1-9][0-9]{0,3})\.albert_layers\.0\."
    r"(?:attention\.)?(?P<site>query|key|value|dense|ffn_output|ffn)\.(?P<factor>.+)$"
)
PREFIXES = tuple(sorted({family.prefix for family in FAMILIES.values()}))
"""What stands before the encoder's modules in a model with a head."""

_PEFT_PREFIX = re.compile(rf"^(base_model\.)?(model\.)?({'|'.join(map(re.escape, PREFIXES))})?")
_ENCODERS = tuple({f"{family.layer.partition('.')[0]}." for family in FAMILIES.values()})
_NAME = re.compile(r"^[A-Za-z0-9_.]{1,200}$")
_DEPTH = re.compile(r"0|[1-9][0-9]{0,3}")
_FACTOR = re.compile(r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+){0,5}$")


@dataclass(frozen=True, slots=True)
class AdapterTensor:
    """The parsed name of an adapter's tensor.

    Attributes:
        place: A depth, `tied` or `shared`.
        site: The linear map; None for `shared`.
        factor: PEFT's name of the parameter, for instance `lora_A.weight`.
    """

    place: int | str
    site: Site | None
    factor: str

    @property
    def name(self) -> str:
        """Returns its name in a head file."""
        parts = (str(self.place), *((self.site,) if self.site else ()), self.factor)
        return PREFIX + ".".join(parts)


def parse_name(name: str) -> AdapterTensor | None:
    """Returns the parsed name of a tensor in a head file, or None where it is not an adapter's."""
    if not name.startswith(PREFIX):
        return None
    place, _, rest = name.removeprefix(PREFIX).partition(".")
    if place == SHARED:
        return AdapterTensor(SHARED, None, rest) if _FACTOR.match(rest) else None
    site, _, factor = rest.partition(".")
    found = next((known for known in SITES if known == site), None)
    is_depth = _DEPTH.fullmatch(place) is not None
    if found is None or not _FACTOR.match(factor) or not (place == TIED or is_depth):
        return None
    return AdapterTensor(place if place == TIED else int(place), found, factor)


def parse_peft_key(key: str, *, tied: bool) -> AdapterTensor | None:
    """Returns the parsed key of a PEFT state dict, or None where it is not part of an adapter.

    Args:
        key: For instance `base_model.model.encoder.albert_layer_groups.8.albert_layers.0.
            attention.query.lora_A.weight`, of a model with or without a head.
        tied: Whether the state dict is of a plain ALBERT, whose one group is used at all depths.
    """
    found = _MODULE.search(key)
    if found is None:
        return None
    site = next(known for known in SITES if known == found["site"])
    return AdapterTensor(TIED if tied else int(found["group"]), site, found["factor"])


def block_part(site: Site) -> str:
    """Returns the canonical name of a site among the parts of a block."""
    return site if site.startswith("ffn") else f"attention.{site}"


def module_path(depth: int, site: Site) -> str:
    """Returns the module path of a site in an unrolled `AlbertModel`, with one group per depth."""
    return ALBERT.path(depth, block_part(site))


def plain_key(key: str) -> str:
    """Returns a key of a PEFT file without prefixes, as a model without a head names the tensor."""
    return _PEFT_PREFIX.sub("", key)


def prefixed(state: Mapping[str, Value]) -> dict[str, Value]:
    """Returns values by the keys of a PEFT file, given keys without prefixes."""
    return {
        f"base_model.{'model.' if key.startswith(_ENCODERS) else ''}{key}": tensor
        for key, tensor in state.items()
    }


def adapter_problem(spec: AdapterSpec, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Returns a problem with the names or shapes of an adapter's tensors, or None.

    What depends on the backbone, such as the width of a site, is checked at compilation.
    """
    places: list[int | str] = [TIED] if spec.tie_depths else list(spec.depths)
    factors: dict[tuple[int | str, Site], dict[str, tuple[int, ...]]] = {
        (place, site): {} for place in places for site in spec.sites
    }
    for name, shape in shapes.items():
        found = parse_name(name)
        if found is None:
            return f"the tensor '{name[:80]}' is not named like a tensor of an adapter"
        if found.site is None:
            continue
        if (found.place, found.site) not in factors:
            return f"the tensor '{name}' is at a depth or site that its adapter does not change"
        factors[found.place, found.site][found.factor] = shape
    usual = {site: set(factors[places[0], site]) for site in spec.sites}
    for (place, site), found_here in factors.items():
        where = f"at depth {place}, site '{site}'" if place != TIED else f"at site '{site}'"
        if not found_here:
            return f"the adapter has no tensor {where}"
        odd = sorted(usual[site] ^ set(found_here))
        if odd:
            return f"the adapter's '{odd[0]}' is at some depths only, not at all ({where})"
        problem = _lora_problem(found_here) if spec.method == "lora" else None
        if problem is not None:
            return f"{problem} ({where})"
    return _pattern_problem(spec)


def _pattern_problem(spec: AdapterSpec) -> str | None:
    """Returns a problem with a pattern of the configuration that is not a plain name, or None.

    PEFT matches patterns as regular expressions, and an untrusted one could backtrack forever.
    """
    named = [value for key, value in spec.config.items() if key.endswith("_pattern")]
    patterns: list[object] = [key for value in named if isinstance(value, dict) for key in value]
    modules = spec.config.get("feedforward_modules", [])
    patterns.extend(modules if isinstance(modules, list) else [modules])
    for pattern in patterns:
        if not isinstance(pattern, str) or not _NAME.match(pattern):
            return f"the adapter's configuration has the pattern {ascii(pattern)[:80]}, not a name"
    return None


def _lora_problem(factors: Mapping[str, tuple[int, ...]]) -> str | None:
    down, up = factors.get("lora_A.weight"), factors.get("lora_B.weight")
    if down is None or up is None:
        missing = "lora_A.weight" if down is None else "lora_B.weight"
        return f"the adapter lacks the factor '{missing}'"
    if len(down) != 2 or len(up) != 2 or down[0] != up[1]:
        return f"lora_A {down} and lora_B {up} do not have one rank"
    return None
