"""From a probe's outputs to the probability of the right label, or of the right head.

Probes are fitted many at once: G sources, each in S variants that differ in target or weight decay.
Every readout starts as the constant predictor, so that at first the states give no information.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

from adapterhub.probing.information import constant_predictor
from adapterhub.probing.item_batches import Batch, ItemBatches
from adapterhub.probing.items import NO_LABEL

Parameters = dict[str, torch.Tensor]

_FARTHEST = 20
"""Distance to a head in words, from which on all distances are one."""
_SCALING_STEPS = 20
_BATCH = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """The predictions of some items.

    Attributes:
        nats: (G, S, B) -log probability of the right label, 0 for an item without one.
        hits: (G, S, B) whether it is the most probable one.
    """

    nats: torch.Tensor
    hits: torch.Tensor


class Readout(Protocol):
    """Predicts one kind of target; `targets` (S,) says which target each variant predicts.

    Attributes:
        outputs: Number of labels, or the greatest number of places that are a word's head.
    """

    outputs: int

    def start(
        self, size: int, width: int | None, *, targets: torch.Tensor, draw: torch.Generator
    ) -> Parameters:
        """Returns initial parameters: `first` (F, S, J), and others (S, …).

        Args:
            size: Numbers F that an item reads.
            width: Of the hidden layer, or None.
            targets: See above.
            draw: Of what is random.
        """
        ...

    def predict(
        self, hidden: torch.Tensor, own: Parameters, batch: Batch, targets: torch.Tensor
    ) -> Predicted:
        """Returns predictions from the outputs (G, S, B, J) of the first layer, biases added.

        Args:
            hidden: See above.
            own: Parameters, each but `first` (G, S, …).
            batch: The items.
            targets: See above.
        """
        ...

    def constant(self, batch: Batch, prior: int) -> Predicted:
        """Returns what the constant predictor of a target gives on all T: (1, T, B)."""
        ...


class LabelReadout:
    """A softmax over K labels."""

    def __init__(self, training: ItemBatches, labels: int, device: torch.device) -> None:
        self.outputs = labels
        found = [constant_predictor(row[row >= 0], labels) for row in training.labels.numpy()]
        self._priors = (torch.from_numpy(np.stack(found)) * math.log(2)).float().to(device)

    def start(
        self, size: int, width: int | None, *, targets: torch.Tensor, draw: torch.Generator
    ) -> Parameters:
        """See `Readout`."""
        priors = self._priors[targets]
        variants, labels = priors.shape
        if width is None:
            return {"first": torch.zeros(size, variants, labels), "first_bias": priors}
        drawn = torch.randn(size, 1, width, generator=draw) / math.sqrt(size)
        return {
            "first": drawn.repeat(1, variants, 1),
            "first_bias": torch.zeros(variants, width),
            "last": torch.zeros(variants, width, labels),
            "last_bias": priors,
        }

    def predict(
        self, hidden: torch.Tensor, own: Parameters, batch: Batch, targets: torch.Tensor
    ) -> Predicted:
        """See `Readout`."""
        if "last" in own:
            hidden = functional.gelu(hidden) @ own["last"] + own["last_bias"][:, :, None]
        return _chosen(hidden.log_softmax(-1), batch.labels.to(hidden.device)[targets])

    def constant(self, batch: Batch, prior: int) -> Predicted:
        """See `Readout`."""
        labels = batch.labels.to(self._priors.device)
        return _chosen(self._priors[prior].expand(1, *labels.shape, -1), labels)


def _chosen(logs: torch.Tensor, labels: torch.Tensor) -> Predicted:
    """Returns the predictions from log probabilities (G, S, B, K) and labels (S, B)."""
    is_labelled = labels >= 0
    right = labels.clamp(min=0).expand(len(logs), -1, -1)
    nats = -logs.gather(-1, right[..., None])[..., 0]
    hits = (logs.argmax(-1) == right) & is_labelled
    return Predicted(torch.where(is_labelled, nats, 0.0), hits)


class HeadReadout:
    """A softmax over the words of a text and the root, of which one is the head of a word.

    Scores are products of a vector of the word and one of the head; the root has a learned one. The
    constant predictor knows where heads stand: how far away, and whether at an end of the text.
    """

    def __init__(self, training: ItemBatches, width: int, device: torch.device) -> None:
        self.outputs = int(training.counts.max()) + 1
        self._width = width
        targets = range(len(training.labels))
        found = [_position_predictor(training, target) for target in targets]
        self._priors = torch.stack(found).to(device)

    def start(
        self, size: int, width: int | None, *, targets: torch.Tensor, draw: torch.Generator
    ) -> Parameters:
        """See `Readout`; a hidden layer is one of each of the two vectors."""
        variants, arcs = len(targets), self._width
        first = torch.randn(size, 1, 2 * arcs, generator=draw) / math.sqrt(size)
        own = {"first_bias": torch.zeros(variants, 2 * arcs)}
        if width is None:
            first[..., arcs:] = 0.0  # so that all scores are 0 at first, though not their gradient
            own["root"] = torch.zeros(variants, arcs)
        else:
            own["last"] = torch.zeros(variants, arcs + 1, arcs)
            own["root"] = torch.randn(1, arcs, generator=draw).repeat(variants, 1)
        return {"first": first.repeat(1, variants, 1), **own}

    def predict(
        self, hidden: torch.Tensor, own: Parameters, batch: Batch, targets: torch.Tensor
    ) -> Predicted:
        """See `Readout`."""
        word, head = torch.split(hidden, self._width, dim=-1)
        root = own["root"][:, :, None]
        if "last" in own:
            word = functional.pad(functional.gelu(word), (0, 1), value=1.0) @ own["last"]
            head = functional.gelu(head)
        assert batch.grid is not None  # heads are predicted text by text
        grid = batch.grid.to(hidden.device)
        places = grid.clamp(min=0)
        # (G, S, B, A) -> (G, S, n, L, A)
        words = word[:, :, places]
        heads = head[:, :, places]
        at_root = (words * root[:, :, None]).sum(-1, keepdim=True)
        scores = torch.cat([at_root, words @ heads.transpose(-1, -2)], -1)
        scores = scores / math.sqrt(self._width) + self._priors[targets][:, _relations(grid)]
        return _chosen_heads(scores, grid, batch.labels.to(hidden.device)[targets])

    def constant(self, batch: Batch, prior: int) -> Predicted:
        """See `Readout`."""
        assert batch.grid is not None  # heads are predicted text by text
        grid = batch.grid.to(self._priors.device)
        labels = batch.labels.to(grid.device)
        scores = self._priors[prior][_relations(grid)]
        return _chosen_heads(scores.expand(1, len(labels), -1, -1, -1), grid, labels)


def _relations(grid: torch.Tensor) -> torch.Tensor:
    """Returns what a place is to a word, as an index: (n, L, L + 1).

    The root is first. A place is known by how far away it is, and by whether it is the first or the
    last word of the text: for a head that is chosen without looking at the words, one of these.
    """
    length = grid.shape[1]
    places = torch.arange(length, device=grid.device)
    offsets = (places[None] - places[:, None]).clamp(-_FARTHEST, _FARTHEST) + _FARTHEST
    last = (grid >= 0).sum(1, keepdim=True) - 1
    ends = torch.where(places[None] == last, 2, 0).masked_fill(places[None] == 0, 1)
    # (L, L) and (n, L) -> (n, L, L)
    return functional.pad(1 + 3 * offsets[None] + ends[:, None], (1, 0), value=0)


def _closed(scores: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Returns scores (…, n, L, L + 1) with -inf where there is no word."""
    is_missing = functional.pad(grid < 0, (1, 0), value=False)
    return scores.masked_fill(is_missing[:, None], -torch.inf)


def _chosen_heads(scores: torch.Tensor, grid: torch.Tensor, labels: torch.Tensor) -> Predicted:
    """Returns predictions from scores (G, S, n, L, L + 1) and labels (S, B)."""
    logs = _closed(scores, grid).log_softmax(-1)
    # Words in the order of the batch, which is that of the grid: (G, S, n, L, …) -> (G, S, B, …)
    logs = logs[:, :, grid >= 0]
    return _chosen(logs, torch.where(labels == NO_LABEL, NO_LABEL, labels + 1))


def _position_predictor(training: ItemBatches, target: int) -> torch.Tensor:
    """Returns a score for each relation: the best predictor of heads that reads no states.

    Probabilities are shared out among the places that a text has, so the fit is iterative: each
    step multiplies by found over expected counts (generalised iterative scaling, Darroch and
    Ratcliff 1972), which the likelihood never falls with.
    """
    found = torch.full((3 * (2 * _FARTHEST + 1) + 1,), 0.5, dtype=torch.float64)
    parts = []
    for batch in training.cut(_BATCH):
        grid, labels = batch.grid, batch.labels[target]
        assert grid is not None  # heads are predicted text by text
        is_labelled = (grid >= 0) & (labels[grid.clamp(min=0)] != NO_LABEL)
        relations = _relations(grid)[is_labelled]
        heads = labels[grid[is_labelled]] + 1
        right = relations.gather(1, heads[:, None])[:, 0]
        found += torch.bincount(right, minlength=len(found))
        parts.append((grid, is_labelled))
    scores = (found / found.sum()).log()
    for _ in range(_SCALING_STEPS):
        expected = torch.full_like(found, 0.5)
        for grid, is_labelled in parts:
            relations = _relations(grid)
            shares = _closed(scores[relations], grid).softmax(-1)[is_labelled]
            index = relations[is_labelled].flatten()
            expected += torch.bincount(index, shares.flatten(), len(found))
        scores = scores + found.log() - expected.log()
    return scores.float()
