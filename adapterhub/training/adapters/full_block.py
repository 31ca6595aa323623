"""The adapter that is an own copy of the whole block: classical fine-tuning of the last depths."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from transformers import AlbertModel

from adapterhub.model.adapters.unrolled import unrolled
from adapterhub.peft.format import PeftAdapter
from adapterhub.specs import BLOCK_METHOD, SITES, AdapterSpec
from adapterhub.store.adapter_names import PREFIX, TIED
from adapterhub.store.headfile import adapter_digest
from adapterhub.training.adapter_options import Shape
from adapterhub.training.warm_start import Existing

_NAMES = {
    "attention.query": "query",
    "attention.key": "key",
    "attention.value": "value",
    "attention.dense": "dense",
    "attention.LayerNorm": "dense.norm",
    "ffn": "ffn",
    "ffn_output": "ffn_output",
    "full_layer_layer_norm": "ffn_output.norm",
}
"""Module in transformers' AlbertLayer -> its name in a head file; a norm belongs to its map."""


class UntiedBlock:
    """An ALBERT whose block is copied for some depths; the copies are trained."""

    plans_ahead = False

    def __init__(self, model: AlbertModel, shape: Shape) -> None:
        self._shape = shape
        self._model: Any = unrolled(copy.deepcopy(model))
        self._groups: Any = self._model.encoder.albert_layer_groups
        first = copy.deepcopy(self._groups[shape.from_depth]).requires_grad_(True)
        for depth in shape.depths:
            is_own = depth == shape.from_depth or shape.tie_depths
            self._groups[depth] = first if is_own else copy.deepcopy(first)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Returns what is trained, by its name in a head file."""
        depths = self._shape.depths[:1] if self._shape.tie_depths else self._shape.depths
        found: dict[str, nn.Parameter] = {}
        for depth in depths:
            place = TIED if self._shape.tie_depths else str(depth)
            layer = self.layer(depth)
            for path, name in _NAMES.items():
                module = layer.get_submodule(path)
                found[f"{PREFIX}{place}.{name}.weight"] = module.weight
                found[f"{PREFIX}{place}.{name}.bias"] = module.bias
        return found

    @property
    def module(self) -> nn.Module:
        """Returns the whole model, to move it or to switch dropout on and off."""
        model: nn.Module = self._model
        return model

    def begin_with(self, existing: Existing) -> None:
        """Takes the numbers of another such copy, at the depths that both change.

        Raises:
            UsageError: It is another method, or changes no depth of this one.
        """
        existing.check_like(self.export().spec)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if name in existing.tensors:
                    parameter.copy_(existing.tensors[name])

    def layer(self, depth: int) -> Any:
        """Returns the layer that makes the pass from `depth` on."""
        return self._groups[depth].albert_layers[0]

    def after_step(self, step: int) -> None:
        """Does nothing."""
        del step

    def export(self) -> PeftAdapter:
        """Returns spec and tensors, by the names of a head file."""
        tensors: dict[str, torch.Tensor] = {
            name: parameter.detach().cpu().float().clone()
            for name, parameter in self.parameters.items()
        }
        shape = self._shape
        spec = AdapterSpec(
            method=BLOCK_METHOD,
            depths=shape.depths,
            sites=SITES,
            tie_depths=shape.tie_depths,
            parameters=sum(tensor.numel() for tensor in tensors.values()),
            digest=adapter_digest(tensors, method=BLOCK_METHOD, depths=shape.depths, config={}),
        )
        return PeftAdapter(spec, tensors)
