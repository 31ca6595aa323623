"""Trainable copies of the whole block at some depths."""

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
from adapterhub.training.warm_start import WarmStart

_BLOCK_NAMES = {
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


class BlockCopies:
    """Trainable copies of the whole block at some depths: fine-tuning of the last depths."""

    has_own_state = False

    def __init__(self, model: AlbertModel, shape: Shape) -> None:
        self._shape = shape
        self._model: Any = unrolled(copy.deepcopy(model))
        self._groups: Any = self._model.encoder.albert_layer_groups
        first = copy.deepcopy(self._groups[shape.from_depth])
        for depth in shape.depths:
            is_first = depth == shape.from_depth or shape.tie_depths
            own = first if is_first else copy.deepcopy(self._groups[depth])
            self._groups[depth] = own.requires_grad_(True)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Returns the trained parameters by their names in a head file."""
        tied = self._shape.tie_depths
        return {
            f"{PREFIX}{TIED if tied else depth}.{name}.{kind}": getattr(module, kind)
            for depth in (self._shape.depths[:1] if tied else self._shape.depths)
            for path, name in _BLOCK_NAMES.items()
            for module in [self.layer(depth).get_submodule(path)]
            for kind in ("weight", "bias")
        }

    @property
    def module(self) -> nn.Module:
        """Returns the whole model, to move it or to switch dropout."""
        model: nn.Module = self._model
        return model

    def load_weights(self, warm_start: WarmStart) -> None:
        """Copies the weights of another block, at the depths that both change."""
        warm_start.check_fits(self.export().spec)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if name in warm_start.tensors:
                    parameter.copy_(warm_start.tensors[name])

    def layer(self, depth: int) -> Any:
        """Returns the layer of the pass from `depth` on."""
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
