"""Every method of PEFT that can be an adapter, small, and what trains it a little."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.lora.config import MontecloraConfig, VeloraConfig
from transformers import AlbertModel

from adapterhub.model.adapters.unrolled import unrolled

SITES = ("query", "value", "dense", "ffn", "ffn_output")
DEPTHS = (2, 3)

_RANK = 4
METHODS: Mapping[str, Mapping[str, Any]] = {
    "lora": {"r": _RANK},
    "adalora": {"init_r": 6, "target_r": _RANK, "total_step": 10},
    "adamss": {"r": _RANK, "num_subspaces": 2},
    "beft": {},
    "boft": {"boft_block_size": 4},
    "c3a": {"block_size": 8},
    "deft": {"r": _RANK},
    "delora": {"r": _RANK},
    "fourierft": {"n_frequency": 20},
    "frod": {"progressbar": False},
    "glora": {"r": _RANK},
    "gralora": {"r": _RANK},
    "hira": {"r": _RANK},
    "hra": {"r": _RANK},
    "ia3": {"feedforward_modules": ["ffn_output"]},
    "ln_tuning": {},
    "loha": {"r": _RANK},
    "lokr": {"r": _RANK},
    "miss": {"r": _RANK},
    "oft": {"oft_block_size": 8},
    "osf": {"effective_rank": _RANK},
    "peanut": {"r": _RANK},
    "psoft": {"r": _RANK},
    "pvera": {"r": _RANK},
    "randlora": {"r": _RANK, "randlora_alpha": 40},
    "road": {"group_size": 8},
    "shira": {"r": 2},
    "supertuning": {"sparsity": 0.9},
    "tinylora": {"r": 2, "u": 8},
    "unilora": {"r": _RANK, "theta_d_length": 16, "save_indices": True},
    "vblora": {"r": _RANK, "num_vectors": 8, "vector_length": 8},
    "vera": {"r": _RANK},
    "waveft": {"n_frequency": 20},
}
"""Settings that fit the tiny backbone, by method."""

LORA_VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "bias": {"lora_bias": True},
    "patterns": {"rank_pattern": {"attention.query": 2, "ffn": 3}, "alpha_pattern": {"value": 5}},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "eva": {"init_lora_weights": "eva"},
    "monteclora": {"monteclora_config": MontecloraConfig()},
    "velora": {"velora_config": VeloraConfig(num_groups=8)},
    "qalora": {"use_qalora": True, "qalora_group_size": 8},
}

CASES: tuple[tuple[str, Mapping[str, Any]], ...] = (
    *((method, {}) for method in METHODS),
    *(("lora", variant) for variant in LORA_VARIANTS.values()),
)
"""Every method and every variant of LoRA."""
NAMES = (*METHODS, *(f"lora-{name}" for name in LORA_VARIANTS))
SOME = ("lora", "adalora", "frod", "ia3", "vera", "randlora", "shira", "tinylora", "unilora")
"""One of each form: factors, scales, shared tensors, copies of them, indices."""


def peft_settings(method: str, *, tied: bool, **changes: Any) -> Any:
    """Returns a configuration of PEFT, for a plain ALBERT if `tied`, else for an unrolled one."""
    factory = next(c for k, c in PEFT_TYPE_TO_CONFIG_MAPPING.items() if k.value == method.upper())
    values = {**METHODS[method], "target_modules": list(SITES), **changes}
    fields = {field.name for field in dataclasses.fields(factory)}
    if not tied and "layers_to_transform" in fields:
        values |= {"layers_to_transform": list(DEPTHS), "layers_pattern": "albert_layer_groups"}
    elif not tied:
        depths, sites = "|".join(map(str, DEPTHS)), "|".join(values["target_modules"])
        values["target_modules"] = rf".*albert_layer_groups\.({depths})\..*\.({sites})"
        if "feedforward_modules" in values:
            values["feedforward_modules"] = r".*\.ffn_output"
    # Warnings about settings that are for training.
    logging.getLogger("peft").setLevel(logging.ERROR)
    return factory(**values)


def adapted(model: AlbertModel, config: Any, *, tied: bool, seed: int = 0) -> PeftModel:
    """Returns `model` with trained layers of PEFT in it; the model itself stays as it is."""
    own = copy.deepcopy(model)
    torch.manual_seed(seed)
    found = get_peft_model(own if tied else unrolled(own), config).eval()
    train_a_little(found, seed)
    return found


def train_a_little(model: PeftModel, seed: int = 0) -> None:
    """Moves everything that is trained away from where it starts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.is_floating_point():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def last_hidden(model: Any, seed: int = 0) -> torch.Tensor:
    """Returns the hidden states of two fixed texts of 7 tokens."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(5, 90, (2, 7), generator=generator)
    with torch.inference_mode():
        found: torch.Tensor = model(tokens)[0]
    return found
