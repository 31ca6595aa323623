"""PEFT's configuration, reduced to what decides what a trained adapter computes."""

from __future__ import annotations

import dataclasses
import enum
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from pydantic import JsonValue

from adapterhub.store.adapter_names import PREFIXES, AdapterTensor, parse_peft_key
from adapterhub.store.jsonsafe import shown

MUTATING = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Starts of LoRA that take a part out of the frozen weights."""


def mutates(config: Mapping[str, Any]) -> bool:
    """Returns whether the start of a LoRA changes the frozen weights."""
    start = config.get("init_lora_weights")
    return isinstance(start, str) and start.startswith(MUTATING)


def relative_lora(
    state: Mapping[str, torch.Tensor], start: Mapping[str, torch.Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Returns the same change relative to the unchanged weights, as a plain LoRA of twice the rank.

    With W = W' + B0 A0 at the start, W' + B A is W + [B, -B0] [A; A0].

    Args:
        state: The trained factors, as PEFT gives them.
        start: The factors that the initialisation gave, by the same names.
        config: PEFT's configuration.

    Raises:
        ValueError: What was trained is more than two factors.

    Source: PEFT 0.21, `LoraModel.subtract_mutated_init`.
    """
    found: dict[str, torch.Tensor] = {}
    for key, tensor in state.items():
        if "lora_A" in key:
            found[key] = torch.cat([tensor, start[key].to(tensor)], dim=0)
        elif "lora_B" in key and not key.endswith("bias"):
            found[key] = torch.cat([tensor, -start[key].to(tensor)], dim=1)
        else:
            raise ValueError(f"the start {config['init_lora_weights']!r} cannot go with '{key}'")
    times = math.sqrt(2) if config.get("use_rslora") else 2
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    return found, {
        **config,
        "init_lora_weights": True,
        "r": config["r"] * 2,
        "lora_alpha": config["lora_alpha"] * times,
        "rank_pattern": {name: rank * 2 for name, rank in ranks.items()},
        "alpha_pattern": {name: alpha * times for name, alpha in alphas.items()},
    }


def unpruned_adalora(
    factors: Mapping[AdapterTensor, torch.Tensor], config: Mapping[str, Any]
) -> dict[AdapterTensor, torch.Tensor]:
    """Returns AdaLoRA factors of the rank they started with, with zeros for what was taken out.

    PEFT saves the rest, and masks in its configuration that say what it was. A direction whose
    singular value is 0 does the same without masks.
    """
    rank = int(config["init_r"])
    masks: dict[tuple[object, object], torch.Tensor] = {}
    for key, mask in (config.get("rank_pattern") or {}).items():
        part = parse_peft_key(key, tied=False)
        if part is not None:
            masks[part.place, part.site] = torch.tensor(mask, dtype=torch.bool)
    full: dict[AdapterTensor, torch.Tensor] = {}
    for part, tensor in factors.items():
        mask = masks.get((0 if isinstance(part.place, str) else part.place, part.site))
        axis = 1 if part.factor == "lora_B" else 0
        if mask is None or tensor.shape[axis] == rank:
            full[part] = tensor
            continue
        shape = list(tensor.shape)
        shape[axis] = rank
        kept = mask.nonzero().flatten().to(tensor.device)
        full[part] = tensor.new_zeros(shape).index_copy_(axis, kept, tensor)
    return full


PROMPTS = "it puts virtual tokens before the text and changes nothing in the block"
UNUSABLE: Mapping[str, str] = MappingProxyType(
    {
        "adaption_prompt": "it is made for the attention of other models than BERT and ALBERT",
        "cartridge": PROMPTS,
        "cpt": PROMPTS,
        "lily": "a router weighs its parts anew for every text, which no fixed weights can do",
        "multitask_prompt_tuning": PROMPTS,
        "p_tuning": PROMPTS,
        "poly": "it asks for the number of a task beside every text",
        "prefix_tuning": PROMPTS,
        "prompt_tuning": PROMPTS,
        "shadow": "it is a second model beside the block",
        "trainable_tokens": "it changes the token table, which all tasks share",
        "xlora": "it mixes other adapters anew for every text",
    }
)
"""Methods of PEFT that cannot be an adapter here, and why."""

GROUPS = "albert_layer_groups"
_LONGEST_PATTERN = 500
_REPEATED_GROUP = re.compile(r"\)[*+{]|([*+{].*){6}")
_PLACES = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")
_LEFT_OUT = frozenset(
    {
        *_PLACES,
        "auto_mapping",
        "base_model_name_or_path",
        "inference_mode",
        "modules_to_save",
        "peft_type",
        "peft_version",
        "revision",
        "runtime_config",
        "task_type",
        # How it started and was trained; its end is in the tensors.
        "corda_config",
        "eva_config",
        "loftq_config",
        "lora_ga_config",
        "megatron_core",
        "monteclora_config",
        "progressbar",
        "velora_config",
    }
)
_OFF = MappingProxyType(
    {
        "alora_invocation_tokens": "changes only what follows certain tokens",
        "arrow_config": "mixes other adapters",
        "kasa_config": "takes a part out of the frozen weights",
        "layer_replication": "changes the number of layers",
        "megatron_config": "is made for a parallel model",
        "target_parameters": "changes parameters that are no linear maps",
        "trainable_token_indices": "changes the token table",
        "use_bdlora": "is made for a parallel model",
    }
)
"""Settings that must be off: what they do cannot be an adapter of a linear map."""


def method_of(config: PeftConfig | Mapping[str, Any]) -> str:
    """Returns the name of the method of a configuration, in lower case.

    Raises:
        ValueError: The installed PEFT has no such method, or it cannot be used here.
    """
    kind = config.get("peft_type") if isinstance(config, Mapping) else config.peft_type
    name = str(getattr(kind, "value", kind))
    if name not in {known.value for known in PEFT_TYPE_TO_CONFIG_MAPPING}:
        raise ValueError(f"the installed PEFT has no method {name[:40]!r}")
    method = name.lower()
    if method in UNUSABLE:
        raise ValueError(f"the method '{method}' cannot be used here: {UNUSABLE[method]}")
    return method


def config_class(method: str) -> type[Any]:
    """Returns PEFT's class for the configuration of a method.

    Raises:
        ValueError: The installed PEFT has no such method.
    """
    for kind, found in PEFT_TYPE_TO_CONFIG_MAPPING.items():
        if kind.value == method.upper():
            return found
    raise ValueError(f"the installed PEFT has no method '{method}'")


def settings_of(
    config: PeftConfig | Mapping[str, Any], paths: Mapping[str, str]
) -> dict[str, JsonValue]:
    """Returns what of a configuration decides what the adapter computes, as plain JSON.

    Args:
        config: As it was trained.
        paths: Path of every changed linear map in the model that PEFT saw, without prefix, and
            what the map is called in the result: a pattern that PEFT matches with its path.

    Raises:
        ValueError: It asks for what cannot be an adapter here.
    """
    found: Mapping[str, Any] = config if isinstance(config, Mapping) else config.to_dict()
    _check_off(found)
    defaults = {
        field.name: field.default for field in dataclasses.fields(config_class(method_of(config)))
    }
    settings: dict[str, JsonValue] = {}
    for name in sorted(set(found) - _LEFT_OUT):
        value = found[name]
        if value is None or value in ({}, [], ()):
            # An absent setting is PEFT's default, so a None is kept where that is another.
            if value is None and defaults.get(name) not in (None, dataclasses.MISSING):
                settings[name] = None
            continue
        if name.endswith("_pattern"):
            value = resolve_patterns(value, paths)
        if name == "feedforward_modules":
            value = resolve_feed_forward(value, paths)
        if value != {}:
            settings[name] = _plain(name, value)
    if "fan_in_fan_out" in settings:
        settings["fan_in_fan_out"] = False  # what PEFT makes of it for a torch.nn.Linear
    if "init_lora_weights" in settings:
        settings["init_lora_weights"] = True
    return settings


def _check_off(config: Mapping[str, Any]) -> None:
    for name, effect in _OFF.items():
        if config.get(name):
            raise ValueError(f"its setting '{name}' {effect}; an adapter changes linear maps")
    if config.get("bias", "none") != "none":
        raise ValueError(
            f"its setting bias={config['bias']!r} trains biases of the frozen block; expected "
            f"'none'"
        )
    if mutates(config):
        raise ValueError(
            f"its start init_lora_weights={config['init_lora_weights']!r} changed the frozen "
            f"weights, and its factors belong to the changed ones; make it a plain LoRA first"
        )


def resolve_patterns(patterns: Any, paths: Mapping[str, str]) -> dict[str, Any]:
    """Returns the value of each path that a pattern names, by what that path is called.

    Args:
        patterns: PEFT's, with a value for each.
        paths: As in `settings_of`.

    Raises:
        ValueError: A pattern is no regular expression, or one that could match for ever.
    """
    if not patterns:
        return {}
    if not isinstance(patterns, Mapping):
        raise ValueError(f"its patterns {shown(patterns)} are no object with a value for each")
    for key in patterns:
        _check_pattern(key)
    found: dict[str, Any] = {}
    for path, called in paths.items():
        for key, value in patterns.items():
            # Source: PEFT 0.21, get_pattern_key.
            if any(re.match(rf"(.*\.)?({key})$", name) for name in _full_paths(path)):
                found[called] = value
                break
    return found


def resolve_feed_forward(modules: Any, paths: Mapping[str, str]) -> list[str]:
    """Returns the sites whose input IA3 scales.

    Args:
        modules: PEFT's `feedforward_modules`.
        paths: As in `settings_of`; what a map is called ends with its site.

    Raises:
        ValueError: They are no names, or no regular expression.
    """
    if isinstance(modules, str):
        _check_pattern(modules)
        chosen = [
            called
            for path, called in paths.items()
            if any(re.fullmatch(modules, name) for name in _full_paths(path))
        ]
    elif isinstance(modules, list | tuple | set) and all(isinstance(one, str) for one in modules):
        chosen = [called for path, called in paths.items() if path.endswith(tuple(modules))]
    else:
        raise ValueError(f"its feedforward_modules {shown(modules)} are no names of modules")
    return sorted({called.rpartition(".")[2] for called in chosen})


def _full_paths(path: str) -> tuple[str, ...]:
    """Returns what a path may be in a model, which has a prefix before it if it has a head."""
    return (path, *(prefix + path for prefix in PREFIXES))


def _check_pattern(pattern: str) -> None:
    """Refuses what is no regular expression, or one that could take for ever to match."""
    if len(pattern) > _LONGEST_PATTERN or _REPEATED_GROUP.search(pattern):
        raise ValueError(
            f"its pattern {pattern[:80]!r} is too long or repeats too much; name modules instead"
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"its pattern {pattern!r} is not valid: {error}") from error


def _plain(name: str, value: Any) -> JsonValue:
    if isinstance(value, enum.Enum):
        return _plain(name, value.value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"its setting '{name}' is {value}; expected a number")
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, set | frozenset):
        return sorted(_plain(name, item) for item in value)  # type: ignore[type-var]
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(name, value[key]) for key in sorted(value, key=str)}
    raise ValueError(f"its setting '{name}' is a {type(value).__name__}, which JSON cannot hold")
