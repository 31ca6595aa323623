"""The token states that probes read: all texts, all depths, backbone and random weights."""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import AlbertConfig

from adapterhub.errors import UsageError
from adapterhub.model.backbone.caller_state import own_state
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.depth_loop import each_depth
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import Window, batches
from adapterhub.probing.fit_settings import FitSettings, Weights
from adapterhub.probing.items import SPLITS, Split
from adapterhub.store.atomic import reason

if TYPE_CHECKING:
    from transformers.models.albert.modeling_albert import AlbertLayer

_MAP = "encoder.embedding_hidden_mapping_in"
_BYTES = 2  # of a number in fp16
_MIB = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class ProbeStates:
    """The hidden states of all tokens at some depths.

    Attributes:
        depths: The depths that are kept, ascending.
        weights: Whose states are kept.
        device: Where probes are fitted; the states themselves are in memory or in a file.
        config: Of the backbone, as an ALBERT.
        values: (weights, depths, tokens of all splits, H) fp16.
        spans: Of each split, its first token and the one after its last.
    """

    depths: tuple[int, ...]
    weights: tuple[Weights, ...]
    device: torch.device
    config: AlbertConfig
    values: torch.Tensor
    spans: Mapping[Split, tuple[int, int]]

    @property
    def hidden_size(self) -> int:
        """Returns the width H."""
        return self.values.shape[-1]

    def read(self, split: Split, depth: int, weights: Weights) -> torch.Tensor:
        """Returns the states of a split in the order of its texts: (tokens, H) fp16."""
        start, stop = self.spans[split]
        place = self.weights.index(weights), self.depths.index(depth)
        return self.values[place][start:stop]

    def layer(self, seed: int) -> AlbertLayer:
        """Returns a block of the backbone's shape with random weights, in fp32."""
        from transformers import AlbertModel

        config = copy.deepcopy(self.config)
        # Only the block is of use: the model around it is as small as it can be.
        config.num_hidden_layers = config.num_hidden_groups = config.inner_group_num = 1
        config.vocab_size = config.max_position_embeddings = config.embedding_size = 1
        config.pad_token_id = config.bos_token_id = config.eos_token_id = None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AlbertModel(config, add_pooling_layer=False)
        group: Any = model.encoder.albert_layer_groups[0]
        layer: AlbertLayer = group.albert_layers[0]
        return layer.train(False)


@own_state
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
        cache: Folder of the file that takes what does not fit in memory; it is deleted with the
            states.

    Raises:
        UsageError: The backbone does not have a depth, or the file cannot be written.
    """
    depths = checked_depths(settings, backbone.spec.num_hidden_layers)
    weights: tuple[Weights, ...] = ("backbone", "random") if settings.random else ("backbone",)
    every = [window for split in SPLITS for window in windows[split]]
    lengths = np.array([len(window.ids) for window in every], np.int64)
    shape = (len(weights), len(depths), int(lengths.sum()), backbone.spec.hidden_size)
    values = _allocate(shape, settings.memory_bytes, cache)
    texts = _Texts(
        tuple(replace(window, row=row) for row, window in enumerate(every)),
        np.cumsum(lengths) - lengths,
        lengths,
    )
    found = torch.device("cpu")
    for place, name in enumerate(weights):
        opened = backbone if name == "backbone" else _with_random_weights(backbone, settings.seed)
        encoder = Encoder(opened, device=device)
        found = encoder.device
        with tqdm(total=len(every), desc=f"encoding, {name}", unit="text", disable=None) as bar:
            _encode(texts, encoder, depths, values[place], bar.update)
    ends = np.cumsum([sum(len(w.ids) for w in windows[split]) for split in SPLITS]).tolist()
    spans = dict(zip(SPLITS, zip([0, *ends[:-1]], ends, strict=True), strict=True))
    return ProbeStates(depths, weights, found, backbone.config, values, spans)


@dataclass(frozen=True, slots=True, eq=False)
class _Texts:
    windows: tuple[Window, ...]
    starts: np.ndarray[tuple[int], np.dtype[np.int64]]
    lengths: np.ndarray[tuple[int], np.dtype[np.int64]]


def _encode(
    texts: _Texts,
    encoder: Encoder,
    depths: tuple[int, ...],
    values: torch.Tensor,
    advance: Callable[[int], object],
) -> None:
    """Writes the states of all texts: (depths, tokens, H)."""
    packed = batches(texts.windows, max_tokens=encoder.batch_tokens, device=encoder.device)
    limit = torch.finfo(torch.float16).max
    places = torch.zeros(0, dtype=torch.int64)
    for states in each_depth(packed, depths, encoder=encoder):
        if states.depth == depths[0]:  # of a new batch
            batch = states.batch
            parts = [
                np.arange(texts.starts[row], texts.starts[row] + texts.lengths[row])
                for row in batch.rows
            ]
            places = torch.from_numpy(np.concatenate(parts))
        values[depths.index(states.depth)][places] = states.hidden.clamp(-limit, limit).half().cpu()
        if states.depth == depths[-1]:
            advance(len(states.batch.windows))


def checked_depths(settings: FitSettings, depth: int) -> tuple[int, ...]:
    """Returns the depths that are read of a backbone with passes 1 to `depth`, ascending.

    Raises:
        UsageError: It does not have one of them.
    """
    if settings.depths is None:
        return tuple(range(depth + 1))
    beyond = [one for one in settings.depths if not 0 <= one <= depth]
    if beyond or not settings.depths:
        found = beyond[0] if beyond else "none"
        raise UsageError(f"depths: found {found}; this backbone has depths 0 to {depth}.")
    return tuple(sorted(set(settings.depths)))


def _with_random_weights(backbone: Backbone, seed: int) -> Backbone:
    """Returns an encoder of the same shape and tokenizer as transformers initialises it.

    Its identity is still that of the backbone: it serves to encode, and nothing else.
    """
    from transformers import AlbertModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AlbertModel(backbone.config, add_pooling_layer=False)
    # Where the backbone has no map from the embeddings, neither have its random weights.
    has_map = f"{_MAP}.weight" in backbone.weights
    weights = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if has_map or not name.startswith(_MAP)
    }
    return replace(backbone, weights=weights)


def _allocate(shape: tuple[int, ...], memory_bytes: int, cache: Path) -> torch.Tensor:
    """Returns a tensor in memory, or in a file without a name where it is larger than allowed.

    Raises:
        UsageError: There is no room for the file.
    """
    size = int(np.prod(shape, dtype=np.int64)) * _BYTES
    if size <= memory_bytes:
        return torch.empty(shape, dtype=torch.float16)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache).free
        if free < size:
            raise OSError(f"{free / _MIB:,.0f} MiB are free")
        # The mapping keeps the file; closing it here deletes its name at the latest.
        with tempfile.TemporaryFile(dir=cache, prefix="probe-states-") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error now, not later
            mapped = np.memmap(file, dtype=np.float16, mode="w+", shape=shape)
    except OSError as error:
        raise UsageError(
            f"The token states take {size / _MIB:,.0f} MiB, more than the "
            f"{memory_bytes / _MIB:,.0f} MiB that are kept in memory, and cannot be written to "
            f"{cache}: {reason(error)}. Probe fewer rows or depths, leave out the random weights, "
            f"or choose another cache folder."
        ) from error
    return torch.from_numpy(mapped)
