"""Synthetic states, of which it is known what they tell of a label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import AlbertConfig

from adapterhub.probing.fit_settings import FitSettings
from adapterhub.probing.fitting import fit_probes
from adapterhub.probing.items import SPLITS, ProbeItems, Split
from adapterhub.probing.result import ProbeFit
from adapterhub.probing.states import ProbeStates

WIDTH = 16
KNOWN_TYPES = 12
"""Types of words from here on, up to WIDTH, are in no training row."""
TEXTS = {"training": 200, "choosing": 60, "measuring": 80}
SETTINGS = FitSettings(
    mix=False, random=False, control=False, learning_rate=1e-2, attention_rate=1e-2, patience=20
)
CONFIG = AlbertConfig(
    vocab_size=8,
    embedding_size=4,
    hidden_size=WIDTH,
    num_attention_heads=2,
    intermediate_size=32,
    num_hidden_layers=2,
    hidden_act="gelu",
)

Draw = Callable[[np.random.Generator, int], tuple[Any, Any]]
"""(generator, words of a text) -> states (words, WIDTH) and labels (words,)."""


def toy(draw: Draw, depths: tuple[int, ...] = (1,)) -> tuple[dict[Split, ProbeItems], ProbeStates]:
    """Returns items that are the words of texts, and their states at depth 1.

    The type of a word is the index of the greatest number of its state, and its label in the
    control task is drawn once for a type. Depth 0, before it, is noise.
    """
    rng = np.random.default_rng(0)
    control = rng.permutation(np.arange(WIDTH) % 2)
    items: dict[Split, ProbeItems] = {}
    values, spans, start = [], {}, 0
    for split in SPLITS:
        lengths = rng.integers(3, 7, TEXTS[split])
        drawn = [draw(rng, int(words)) for words in lengths]
        states = np.concatenate([one for one, _ in drawn])
        types = states.argmax(1)
        if split == "training":
            is_novel = types >= KNOWN_TYPES
            types[is_novel] -= KNOWN_TYPES
            states[is_novel] = np.roll(states[is_novel], -KNOWN_TYPES, axis=1)
        items[split] = ProbeItems(
            lengths=lengths,
            places=np.arange(len(states))[:, None],
            sentences=np.repeat(np.arange(len(lengths)), lengths),
            labels=np.concatenate([one for _, one in drawn]).astype(np.int64),
            control=control[types],
            types=types,
            novel=types >= KNOWN_TYPES,
        )
        values.append(states)
        spans[split] = (start, start + len(states))
        start += len(states)
    told = torch.from_numpy(np.concatenate(values)).half()
    noise = torch.from_numpy(rng.normal(size=tuple(told.shape))).half()
    tensor = torch.stack([noise, told])[None, 2 - len(depths) :]
    return items, ProbeStates(depths, ("backbone",), torch.device("cpu"), CONFIG, tensor, spans)


def fitted(draw: Draw, *, labels: int | None, **changes: Any) -> tuple[ProbeFit, ...]:
    """Returns the fits on a toy, with some settings changed."""
    return fit_probes(*toy(draw), labels=labels, settings=replace(SETTINGS, **changes))
