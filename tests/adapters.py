"""Adapters that PEFT made, on tiny random ALBERTs, and tasks that have them."""

from __future__ import annotations

from typing import Any

import peft
import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from transformers import AlbertModel

from adapterhub.model.adapters.unrolled import unrolled
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.peft.format import PeftAdapter, adapter_from_peft
from adapterhub.shapes import tensor_shapes
from adapterhub.specs import SITES, AdapterSpec, Site, TaskSpec
from adapterhub.store.adapter_names import module_path
from adapterhub.store.headfile import adapter_digest
from tests.builders import task_spec


def config_of(
    method: str,
    depths: tuple[int, ...],
    sites: tuple[Site, ...] = ("query", "value"),
    **changes: Any,
) -> PeftConfig:
    """Returns PEFT's configuration of a method at some depths of an unrolled ALBERT.

    `feedforward_modules` (IA3) are sites as well.
    """
    paths = [module_path(depth, site) for depth in depths for site in sites]
    if "feedforward_modules" in changes:
        inner = changes["feedforward_modules"]
        changes["feedforward_modules"] = [module_path(d, site) for d in depths for site in inner]
    kind = getattr(peft, f"{method}Config")
    config: PeftConfig = kind(target_modules=paths, **changes)
    return config


def random_peft(
    model: AlbertModel, config: PeftConfig, *, seed: int = 0, std: float = 0.3
) -> PeftModel:
    """Returns a PEFT model whose adapter has random values instead of those that change nothing."""
    torch.manual_seed(seed)
    wrapped = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(seed)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator) * std
            parameter.data += noise
    return wrapped.eval()


def make_adapter(
    backbone: Backbone, config: PeftConfig, *, seed: int = 0
) -> tuple[PeftModel, PeftAdapter]:
    """Returns a random adapter as a PEFT model on the unrolled backbone, and as ours."""
    model = unrolled(AlbertModel.from_pretrained(str(backbone.folder), dtype=torch.float32))
    wrapped = random_peft(model, config, seed=seed)
    layers = backbone.spec.num_hidden_layers
    state = get_peft_model_state_dict(wrapped)
    adapter = adapter_from_peft(
        state, wrapped.peft_config["default"], num_hidden_layers=layers, tied=False
    )
    return wrapped, adapter


def block_adapter(backbone: Backbone, depths: tuple[int, ...], *, seed: int = 0) -> PeftAdapter:
    """Returns own random copies of the whole block at some depths."""
    model = unrolled(AlbertModel.from_pretrained(str(backbone.folder), dtype=torch.float32))
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for depth in depths:
        layer = model.encoder.albert_layer_groups[depth].albert_layers[0]
        modules = {site: model.get_submodule(module_path(depth, site)) for site in SITES}
        norms = {
            "dense.norm": layer.attention.LayerNorm,
            "ffn_output.norm": layer.full_layer_layer_norm,
        }
        for name, module in {**modules, **norms}.items():
            for part in ("weight", "bias"):
                value = getattr(module, part).detach()
                noise = torch.randn(value.shape, generator=generator) * 0.05
                tensors[f"adapter.{depth}.{name}.{part}"] = value + noise
    digest = adapter_digest(tensors, method="block", depths=depths, config={})
    count = sum(tensor.numel() for tensor in tensors.values())
    spec = AdapterSpec(method="block", depths=depths, sites=SITES, parameters=count, digest=digest)
    return PeftAdapter(spec, tensors)


def adapter_task(
    backbone: Backbone, adapter: PeftAdapter, *, seed: int = 0, **changes: Any
) -> tuple[TaskSpec, dict[str, torch.Tensor]]:
    """Returns a task with an adapter and a random head, and all tensors of its head file."""
    spec = task_spec(
        changes.pop("kind", "single_label"), backbone=backbone.spec, adapter=adapter.spec, **changes
    )
    generator = torch.Generator().manual_seed(seed)
    shapes = tensor_shapes(spec).items()
    head = {name: torch.randn(shape, generator=generator) for name, shape in shapes}
    return spec, {**head, **adapter.tensors}
