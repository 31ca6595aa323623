"""Whole texts as packed tokens, with their kept states and the items in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from adapterhub.model.encoder.tokens import TokenBatch, Window, pack
from adapterhub.probing.item_batches import Batch
from adapterhub.probing.items import SPLITS, Indices, Split
from adapterhub.probing.probe_inputs import ProbeInputs, Source


@dataclass(frozen=True, slots=True, eq=False)
class ReadTexts:
    """Some texts of a split.

    Attributes:
        batch: Their items.
        tokens: The texts, sorted by length.
        hidden: (P, H) fp32, standardised states of all their tokens.
        places: (B, S) the tokens that each item reads; None for the mean over a text.
    """

    batch: Batch
    tokens: TokenBatch
    hidden: torch.Tensor
    places: torch.Tensor | None


class TextReader:
    """Reads the states of one source, standardised by those of the training rows."""

    def __init__(self, inputs: ProbeInputs, source: Source) -> None:
        self._inputs = inputs
        states = inputs.states
        depths = states.depths if source.depth is None else (source.depth,)
        self._states = {
            split: [states.read(split, depth, source.weights) for depth in depths]
            for split in SPLITS
        }
        places = [
            states.weights.index(source.weights) * len(states.depths) + states.depths.index(depth)
            for depth in depths
        ]
        self._scales = inputs.token_scales.at(places).to(inputs.device)
        self._starts = {
            split: np.cumsum(items.lengths) - items.lengths for split, items in inputs.items.items()
        }

    def read(self, split: Split, texts: Indices, mix: torch.Tensor | None) -> ReadTexts:
        """Returns some texts.

        Args:
            split: Their split.
            texts: Their indices.
            mix: (depths,) logits of the share of each depth; None where one depth is read.
        """
        items, batches = self._inputs.items[split], self._inputs.batches[split]
        texts = texts[np.argsort(items.lengths[texts], kind="stable")]
        lengths = items.lengths[texts]
        starts = np.cumsum(lengths) - lengths
        # From the tokens of the split to those of the batch, text by text.
        moved = self._starts[split][texts] - starts
        tokens = torch.from_numpy(np.arange(lengths.sum()) + np.repeat(moved, lengths))
        values = torch.stack([one[tokens].float() for one in self._states[split]])
        values = self._scales.apply(values.to(self._inputs.device))
        hidden = values[0] if mix is None else torch.einsum("d,dph->ph", mix.softmax(-1), values)
        places = None
        if items.places is not None:
            rows = batches.of_texts(texts).rows.numpy()
            shift = np.repeat(moved, batches.counts[texts])
            places = torch.from_numpy(items.places[rows] - shift[:, None]).to(hidden.device)
        # Passes over kept states need the lengths only.
        windows = [Window(row, 0, 0, [0] * n, [0] * n) for row, n in enumerate(lengths.tolist())]
        packed = pack(windows, device=hidden.device)
        return ReadTexts(batches.of_texts(texts), packed, hidden, places)
