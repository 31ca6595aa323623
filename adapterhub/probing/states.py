"""The token states that probes read: all texts, all depths, backbone and random weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.tokens import Window
from adapterhub.probing.fit_settings import FitSettings, Weights
from adapterhub.probing.items import Split

if TYPE_CHECKING:
    from transformers.models.albert.modeling_albert import AlbertLayer


@dataclass(frozen=True, slots=True, eq=False)
class ProbeStates:
    """The hidden states of all tokens at some depths.

    Attributes:
        depths: The depths that are kept, ascending.
        hidden_size: Width H.
        weights: Whose states are kept.
    """

    depths: tuple[int, ...]
    hidden_size: int
    weights: tuple[Weights, ...]

    def read(self, split: Split, depth: int, weights: Weights) -> torch.Tensor:
        """Returns the states of a split in the order of its texts: (tokens, H) fp16."""
        raise NotImplementedError

    def layer(self, seed: int) -> AlbertLayer:
        """Returns a block of the backbone's shape with random weights, in fp32."""
        raise NotImplementedError


def encode_states(
    windows: Mapping[Split, Sequence[Window]],
    backbone: Backbone,
    *,
    settings: FitSettings,
    device: str,
    cache: Path,
) -> ProbeStates:
    """Returns the states of all texts, encoded in one pass for each set of weights.

    Args:
        windows: One window for each text of a split, in order.
        backbone: From `open_backbone`.
        settings: Which depths and weights, and how much memory they may take.
        device: As of `Encoder`.
        cache: Folder of the file that takes what does not fit in memory.
    """
    raise NotImplementedError
