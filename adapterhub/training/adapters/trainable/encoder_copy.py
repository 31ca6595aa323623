"""A copy of the encoder whose own weights train: its embeddings, or all of it."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from adapterhub.errors import UsageError
from adapterhub.families import FAMILIES
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.training.adapters.examples import ExampleBatch, Examples
from adapterhub.training.adapters.run_config import EMBEDDINGS
from adapterhub.training.warm_start import WarmStart

_BLOCK = re.compile(r"encoder\.albert_layer_groups\.(\d+)\.")
_TYPES = f"{EMBEDDINGS}token_type_embeddings.weight"


@dataclass(frozen=True, slots=True, eq=False)
class TrainedWeights:
    """What was trained of an encoder.

    Attributes:
        tensors: By their names in an `AlbertModel`, in fp32 on the CPU.
    """

    tensors: Mapping[str, torch.Tensor]


class EncoderCopy:
    """An encoder whose embeddings train, or all of whose weights do; it is its own trunk.

    Depths that share a block go on sharing it, so the result has the shape of the backbone.
    """

    has_own_state = False

    def __init__(self, backbone: Backbone, *, depth: int) -> None:
        """Copies the encoder.

        Args:
            backbone: The encoder.
            depth: The blocks below this depth train; 0 for the embeddings alone.
        """
        config = backbone.config
        self._model: Any = copy.deepcopy(backbone.model)
        self._depths_per_group = config.num_hidden_layers / config.num_hidden_groups
        groups = {self._group(below) for below in range(depth)}
        has_types = FAMILIES[backbone.spec.family].has_types
        for name, parameter in self._model.named_parameters():
            # The types of a family that has none are zeros, which its files have no place for.
            is_there = has_types or name != _TYPES
            block = _BLOCK.match(name)
            is_chosen = block is None or int(block[1]) in groups
            parameter.requires_grad_(is_there and is_chosen)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Returns the trained parameters by their names in an `AlbertModel`."""
        named = self._model.named_parameters()
        return {name: parameter for name, parameter in named if parameter.requires_grad}

    @property
    def module(self) -> nn.Module:
        """Returns the whole model, to move it or to switch dropout."""
        model: nn.Module = self._model
        return model

    def load_weights(self, warm_start: WarmStart) -> None:
        """Refuses the weights of an adapter, which it has no place for."""
        raise UsageError(
            f"A whole encoder does not start from the adapter of '{warm_start.record.task}'."
        )

    def layer(self, depth: int) -> Any:
        """Returns the layer of the pass from `depth` on."""
        return self._model.encoder.albert_layer_groups[self._group(depth)].albert_layers[0]

    def _group(self, depth: int) -> int:
        # Source: transformers 5.23, AlbertTransformer.forward: which group runs at a depth.
        return int(depth / self._depths_per_group)

    def after_step(self, step: int) -> None:
        """Does nothing."""
        del step

    def read(self, examples: Examples, rows: Sequence[int], batch: ExampleBatch) -> torch.Tensor:
        """Returns the states of a batch at depth 0, with their gradients: (P, H) fp32.

        Source: transformers 5.23, AlbertEmbeddings.forward, which drops out after the layer norm.
        """
        del examples, rows
        tables, tokens = self._model.embeddings, batch.tokens
        types = tables.token_type_embeddings.weight
        # Families with one type for both texts of a pair number the second text all the same.
        ids = tokens.token_type_ids.clamp(max=len(types) - 1)
        total = functional.embedding(tokens.input_ids, tables.word_embeddings.weight)
        total = total + functional.embedding(ids, types)
        total = total + functional.embedding(tokens.position_ids, tables.position_embeddings.weight)
        states: torch.Tensor = tables.dropout(tables.LayerNorm(total))
        mapped: torch.Tensor = self._model.encoder.embedding_hidden_mapping_in(states)
        return mapped

    def export(self) -> TrainedWeights:
        """Returns the trained tensors."""
        return TrainedWeights(
            {name: p.detach().cpu().float().clone() for name, p in self.parameters.items()}
        )
