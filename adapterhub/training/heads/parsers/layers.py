"""The biaffine layers of a parser while they are trained: loss, predictions, export."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from adapterhub.model.heads.biaffine import BiaffineWeights, arc_scores, relation_scores
from adapterhub.training.data.words.units import NONE
from adapterhub.training.evaluation.calibration import find_temperature
from adapterhub.training.features.standardized_features import Scale

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Units (n, W), sizes (B,) and targets (n, 2) of some sentences; see `BiaffineLayers.loss`."""

_IGNORED = -100


@dataclass(frozen=True, slots=True)
class ParserShape:
    """The shape of a parser.

    Attributes:
        hidden_size: Width H of the features.
        arc_width: Width A of the vectors that score heads.
        relation_width: Width R of the vectors that score relations.
        dropout: On the features, and on what the hidden layer makes of them.
    """

    hidden_size: int
    arc_width: int
    relation_width: int
    dropout: float


class BiaffineLayers(nn.Module):
    """A parser on standardised features, whose first relations are those of the training set.

    Source: Dozat and Manning, "Deep Biaffine Attention for Neural Dependency Parsing", 2017.
    """

    def __init__(self, shape: ParserShape, prior: torch.Tensor, draw: torch.Generator) -> None:
        """Makes the layers.

        Args:
            shape: Their widths.
            prior: (K,) logits of the frequencies of relations.
            draw: Of the initial weights.
        """
        super().__init__()
        self.shape = shape
        arc, relation = shape.arc_width, shape.relation_width
        width = 2 * (arc + relation)
        first = torch.randn(width, shape.hidden_size, generator=draw) / shape.hidden_size**0.5
        self.first = nn.Parameter(first)
        self.first_bias = nn.Parameter(torch.zeros(width))
        self.root = nn.Parameter(torch.randn(arc + relation, generator=draw) * 0.1)
        # Products of two layers: zeros here are no saddle, since the layer below is not zero.
        self.arcs = nn.Parameter(torch.zeros(arc + 1, arc))
        relations = torch.zeros(len(prior), relation + 1, relation + 1)
        relations[:, -1, -1] = prior
        self.relations = nn.Parameter(relations)

    @property
    def weights(self) -> BiaffineWeights:
        """Returns the weights that score pairs of units."""
        return BiaffineWeights(self.root, self.arcs, self.relations)

    def units(self, features: torch.Tensor, draw: torch.Generator | None = None) -> torch.Tensor:
        """Returns the hidden layer of units: (n, H) standardised -> (n, W).

        Args:
            features: Of the units.
            draw: Of dropout; None for none.
        """
        hidden = functional.linear(self._drop(features, draw), self.first, self.first_bias)
        return self._drop(functional.gelu(hidden), draw)

    def loss(self, units: torch.Tensor, sizes: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the mean negative log-likelihood of head, and of relation given the true head.

        Args:
            units: (n, W) of all sentences of a batch, one behind another.
            sizes: (B,) units of each.
            targets: (n, 2) head from 1 or 0 for the root, and relation; `NONE` counts nothing.
        """
        arcs, relations = self.scores(units, sizes, targets)
        return _loss(arcs, targets[:, 0]) + _loss(relations, _relations(targets))

    def scores(
        self, units: torch.Tensor, sizes: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the scores of heads (n, L + 1), and of relations to the true head (n, K).

        Args:
            units: As in `loss`.
            sizes: As in `loss`.
            targets: As in `loss`.
        """
        heads = _among_all(targets[:, 0].clamp(min=0), sizes)
        return self._arcs(units, sizes), relation_scores(units, heads, self.weights)

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Divides the scores by the temperatures with the least loss on held-out sentences.

        The predicted trees stay the same: of all heads of a word, and of all relations, the scores
        change in one proportion.

        Args:
            batches: Units, sizes and targets of all sentences, as in `loss`.
        """
        arcs, relations = [], []
        for units, sizes, targets in batches:
            of_heads, of_relations = self.scores(units, sizes, targets)
            arcs.append((of_heads, targets[:, 0]))
            relations.append((of_relations, _relations(targets)))
        self.arcs.div_(_temperature(arcs))
        self.relations.div_(_temperature(relations))

    def predictions(self, units: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        """Returns the best head of each unit, and its best relation to that: (n, 2) int64.

        Args:
            units: As in `loss`.
            sizes: As in `loss`.
        """
        heads = self._arcs(units, sizes).argmax(1)
        scores = relation_scores(units, _among_all(heads, sizes), self.weights)
        return torch.stack([heads, scores.argmax(1)], dim=1)

    def export(self, scale: Scale) -> dict[str, torch.Tensor]:
        """Returns the tensors of a head file, for raw features.

        Args:
            scale: Of the features.
        """
        weight = self.first.detach() / scale.deviation
        tensors = {
            "head.hidden.weight": weight,
            "head.hidden.bias": self.first_bias.detach() - weight @ scale.mean,
            "head.root": self.root.detach(),
            "head.arcs": self.arcs.detach(),
            "head.relations": self.relations.detach(),
        }
        return {name: value.cpu().clone().contiguous() for name, value in tensors.items()}

    def _arcs(self, units: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        """Returns the scores of heads of all units: (n, L + 1), L units in the longest sentence."""
        lengths = torch.arange(int(sizes.max()), device=sizes.device)
        there = lengths < sizes[:, None]  # (B, L)
        padded = units.new_zeros(*there.shape, units.shape[1])
        padded[there] = units
        scores = arc_scores(padded, self.weights)
        among = functional.pad(there, (1, 0), value=True)
        return scores.masked_fill(~among[:, None], -torch.inf)[there]

    def _drop(self, values: torch.Tensor, draw: torch.Generator | None) -> torch.Tensor:
        """Returns values after dropout; the mask is drawn on the CPU, equal on all devices."""
        part = self.shape.dropout
        if draw is None or not part:
            return values
        kept = torch.rand(values.shape, generator=draw).ge_(part).to(values.device)
        return values * kept / (1 - part)


def _among_all(heads: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Returns heads among the units of all sentences, from 1; 0 stays the root."""
    starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    return torch.where(heads > 0, heads + starts, 0)


def _relations(targets: torch.Tensor) -> torch.Tensor:
    """Returns the true relations (n,); `NONE` where the head is not known."""
    return torch.where(targets[:, 0] == NONE, NONE, targets[:, 1])


def _loss(scores: torch.Tensor, targets: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Returns the cross-entropy of the targets that are not `NONE`."""
    wanted = targets.masked_fill(targets == NONE, _IGNORED)
    total = functional.cross_entropy(scores, wanted, ignore_index=_IGNORED, reduction="sum")
    return total if reduction == "sum" else total / (targets != NONE).sum().clamp(min=1)


def _temperature(parts: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    return find_temperature(
        lambda value: float(sum(_loss(scores / value, own, "sum") for scores, own in parts))
    )
