"""What PEFT calls the modules of a family, to what it calls those of an unrolled ALBERT, and back.

A BERT has a module for every depth already, and so has an unrolled ALBERT. Head files hold the
names of the latter, and so does everything here but a PEFT folder on its way in or out.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from adapterhub.families import ALBERT, FAMILIES, Family, FamilyName
from adapterhub.peft.settings import (
    config_class,
    method_of,
    resolve_feed_forward,
    resolve_patterns,
)
from adapterhub.specs import SITES, AdapterSpec, Site
from adapterhub.store.adapter_names import PREFIXES, block_part, module_path, parse_peft_key

Value = TypeVar("Value")

_FROD = re.compile(r"^(base_model\.)?frod_[A-Za-z_]+\.(?P<role>[A-Za-z0-9_]+)(?=\.|$)")
_FOREIGN = re.compile(r"BertGeneration|RobertaPreLayerNorm|XLMRobertaXL")
"""Classes of transformers that are called like those of a family and are of another one."""


def families_of(keys: Iterable[str], base_class: str | None = None) -> tuple[FamilyName, ...]:
    """Returns the families that the keys of a PEFT state may be of; empty if they name no layer.

    Several families call their layers alike; the name of the encoder in a model with a head, or of
    the class, tells them apart.

    Args:
        keys: With or without prefixes.
        base_class: Class of the model that PEFT saw, where its configuration says.
    """
    # Most keys decide, in an order of their own: that of a file is another one at each reading.
    each = (
        tuple(name for name, family in FAMILIES.items() if _has_layer(key, family))
        for key in sorted(keys)
    )
    most = Counter(filter(None, each)).most_common(1)
    found = most[0][0] if most else ()
    if base_class is None or not found:
        return found
    named = family_of_class(base_class)
    return tuple(name for name in found if name == named)


def family_of_class(name: str) -> FamilyName | None:
    """Returns the family of a class of transformers, for instance of `BertModel`, or None."""
    if _FOREIGN.match(name):
        return None
    return next((one for one, family in FAMILIES.items() if name.startswith(family.title)), None)


def canonical_key(key: str, family: Family) -> str:
    """Returns a key of a PEFT state as it would be on an unrolled ALBERT."""
    if family.shares_blocks:
        return key
    found = _sites(family.name).search(key)
    if found is None:
        return _with_role(key, _roles(family), _roles(ALBERT))
    site = next(one for one in SITES if family.parts[block_part(one)] == found["part"])
    path = module_path(int(found["depth"]), site)
    return f"{key[: found.start('path')]}{path}{key[found.end('path') :]}"


def family_key(key: str, family: Family) -> str:
    """Returns a key of a PEFT state on an unrolled ALBERT as it is in a family."""
    found = parse_peft_key(key, tied=False)
    if family.shares_blocks:
        return key
    if found is None or found.site is None:
        return _with_role(key, _roles(ALBERT), _roles(family))
    depth = int(found.place)
    own, path = family.path(depth, block_part(found.site)), module_path(depth, found.site)
    return key.replace(path, own, 1)


def canonical(
    state: Mapping[str, Value], config: Mapping[str, Any], family: Family
) -> tuple[dict[str, Value], dict[str, Any]]:
    """Returns state and configuration of PEFT as they would be on an unrolled ALBERT.

    Patterns of the configuration become names of the maps that they match.

    Raises:
        ValueError: Names of an ALBERT are among them, or what is no factor at a linear map of a
            layer; or a pattern is no regular expression or one that could match for ever.
    """
    values = dict(config)
    if family.shares_blocks:
        return dict(state), values
    found: dict[str, Value] = {}
    for key, tensor in state.items():
        if parse_peft_key(key, tied=False) is not None:
            raise ValueError(
                f"it holds '{key[:120]}', which is a name in an ALBERT, and others of a "
                f"{family.title}Model"
            )
        called = canonical_key(key, family)
        if _layers(family.layer).search(key) and not _is_factor(called):
            # Refused here, where it still has the name that the user knows.
            raise ValueError(no_factor(key, family))
        found[called] = tensor
    parts = [parse_peft_key(key, tied=False) for key in found]
    places = {(int(p.place), p.site) for p in parts if p is not None and p.site is not None}
    paths = {family.path(d, block_part(s)): module_path(d, s) for d, s in sorted(places)}
    masks = values.get("rank_pattern")
    values |= canonical_settings(values, paths)
    if isinstance(masks, Mapping) and method_of(values) == "adalora":
        # AdaLoRA calls so the masks of its factors, by their keys.
        values["rank_pattern"] = {canonical_key(key, family): m for key, m in masks.items()}
    return found, values


def no_factor(key: str, family: Family = ALBERT) -> str:
    """Returns the reason why a tensor of a PEFT state is refused, with the names of a family."""
    names = SITES if family.shares_blocks else [family.parts[block_part(site)] for site in SITES]
    return (
        f"it holds '{key[:120]}', which is no factor at a linear map of the block "
        f"({', '.join(names)}). Train it without what this belongs to."
    )


def canonical_settings(values: Mapping[str, Any], paths: Mapping[str, str]) -> dict[str, Any]:
    """Returns the settings that name maps, with what each map is called in their place.

    Args:
        values: PEFT's configuration.
        paths: As in `settings_of`.

    Raises:
        ValueError: A pattern is no regular expression, or one that could match for ever.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name == "feedforward_modules" and value:
            found[name] = resolve_feed_forward(value, paths)
        elif name.endswith("_pattern") and isinstance(value, Mapping):
            found[name] = resolve_patterns(value, paths)
    return found


def block_paths(depth: int, site: Site, family: Family) -> tuple[str, str]:
    """Returns the path of a map in a model of a family, and in an unrolled ALBERT."""
    return family.path(depth, block_part(site)), module_path(depth, site)


def config_for(spec: AdapterSpec, *, stock: bool, family: Family = ALBERT) -> Any:
    """Returns PEFT's configuration with which an adapter opens on a model of a family.

    Args:
        spec: The adapter.
        stock: For a plain ALBERT, where it changes all depths; otherwise for a model with a module
            per depth, which an ALBERT has if it is unrolled.
        family: The family of that model.

    Raises:
        ValueError: The installed PEFT does not know the method or a setting.
    """
    factory = config_class(spec.method)
    fields = {field.name for field in dataclasses.fields(factory)}
    if stock:
        places: dict[str, Any] = {"target_modules": list(spec.sites)}
    else:
        places = _places(spec, family, fields)
    try:
        return factory(**_settings(spec, family), **places, inference_mode=True)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the installed PEFT refuses the configuration of its '{spec.method}': {error}"
        ) from error


def _places(spec: AdapterSpec, family: Family, fields: set[str]) -> dict[str, Any]:
    """Returns the settings that say which maps of a model with a module per depth it changes."""
    own = {site: family.parts[block_part(site)] for site in SITES}
    names = [_ending(own[site], own.values()) for site in spec.sites]
    # BERT's `output.dense` is the end of `attention.output.dense` too.
    others = [own[site] for site in SITES if site not in spec.sites]
    unwanted = [path for path in others if any(f".{path}".endswith(f".{name}") for name in names)]
    if "layers_to_transform" in fields and (not unwanted or "exclude_modules" in fields):
        places = {"target_modules": names, "layers_to_transform": list(spec.depths)}
        places["layers_pattern"] = family.layer.partition(".{}")[0].rpartition(".")[2]
        return {**places, "exclude_modules": unwanted} if unwanted else places
    paths = (family.path(depth, block_part(site)) for depth in spec.depths for site in spec.sites)
    return {"target_modules": rf"(.*\.)?({'|'.join(re.escape(path) for path in paths)})"}


def _ending(path: str, paths: Iterable[str]) -> str:
    """Returns the last part of a path, or all of it where another one ends so.

    A bare `dense` would be three maps of a BERT's layer, and its pooling layer.
    """
    last = path.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in paths) == 1 else path


def _settings(spec: AdapterSpec, family: Family) -> dict[str, Any]:
    """Returns the other settings of an adapter, with the family's names in patterns."""
    settings: dict[str, Any] = dict(spec.config)
    if family.shares_blocks:
        return settings
    paths = {
        module_path(depth, site): family.path(depth, block_part(site))
        for depth in spec.depths
        for site in spec.sites
    }
    for name, value in settings.items():
        if name == "feedforward_modules" and value:
            sites = resolve_feed_forward(value, {path: path for path in paths})
            settings[name] = [own for path, own in paths.items() if path.endswith(tuple(sites))]
        elif name.endswith("_pattern") and isinstance(value, Mapping):
            settings[name] = resolve_patterns(value, paths)
    return settings


def _with_role(key: str, before: Sequence[str], after: Sequence[str]) -> str:
    """Returns a key of FRoD, whose shared tensors have the names of maps, with another name."""
    found = _FROD.match(key)
    if found is None or found["role"] not in before:
        return key
    role = after[before.index(found["role"])]
    return f"{key[: found.start('role')]}{role}{key[found.end('role') :]}"


def _roles(family: Family) -> list[str]:
    """Returns what FRoD calls the sites of a family.

    Source: PEFT 0.21, tuners/frod/model.py, _category_from_key.
    """
    paths = (family.path(0, block_part(site)).split(".") for site in SITES)
    return [
        "attention_output"
        if parts[-3:] == ["attention", "output", "dense"]
        else "_".join(part for part in parts[-2:] if not part.isdigit())
        for parts in paths
    ]


def _is_factor(key: str) -> bool:
    """Returns whether a key on an unrolled ALBERT is of an adapter's own tensor at a map."""
    part = parse_peft_key(key, tied=False)
    return part is not None and not part.factor.startswith("base_layer.")


def _has_layer(key: str, family: Family) -> bool:
    found = _layers(family.layer).search(key)
    if found is None:
        return False
    before = key[: found.start("path")].rstrip(".").rpartition(".")[2]
    return f"{before}." == family.prefix or f"{before}." not in PREFIXES


@lru_cache
def _layers(layer: str) -> re.Pattern[str]:
    start, end = map(re.escape, layer.split("{}"))
    return re.compile(rf"(?:^|\.)(?P<path>{start}(?P<depth>0|[1-9][0-9]{{0,3}}){end})")


@lru_cache
def _sites(name: FamilyName) -> re.Pattern[str]:
    family = FAMILIES[name]
    start, end = map(re.escape, family.layer.split("{}"))
    parts = "|".join(re.escape(family.parts[block_part(site)]) for site in SITES)
    return re.compile(
        rf"(?:^|\.)(?P<path>{start}(?P<depth>0|[1-9][0-9]{{0,3}}){end}(?P<part>{parts}))(?=\.|$)"
    )
