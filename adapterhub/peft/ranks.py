"""Adapters of PEFT whose ranks, or frozen weights, are not plain; turned into ones that are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from adapterhub.store.adapter_names import AdapterTensor, parse_peft_key

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
