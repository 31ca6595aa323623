"""Attentive pooling while it is fitted: token states in memory, one query per candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from adapterhub.specs import HeadSpec
from adapterhub.training.features.encoding import Features
from adapterhub.training.features.standardized_features import Parameters, Part, Scale, measure

_LENGTH_CHUNKS = 4


@dataclass(frozen=True, slots=True, eq=False)
class TokenStates:
    """The token states of one part at G depths.

    Attributes:
        states: (G, P, H) fp16.
        starts: (N,) int64, the first token of each row.
        counts: (N,) int64, tokens of each row.
    """

    states: torch.Tensor
    starts: torch.Tensor
    counts: torch.Tensor

    @classmethod
    def load(cls, features: Features, device: torch.device) -> TokenStates:
        """Returns the states of all depths that were kept."""
        depths = features.layout.depths
        states = torch.stack([features.tap(depth, "attentive") for depth in depths])
        counts = torch.from_numpy(features.counts)
        starts = counts.cumsum(0) - counts
        return cls(states.to(device), starts.to(device), counts.to(device))

    def means(self, group: int) -> torch.Tensor:
        """Returns the mean state of each row at one depth: (N, H) fp16."""
        return torch.segment_reduce(
            self.states[group].float(), "mean", lengths=self.counts, axis=0
        ).half()


class AttentiveTokens:
    """Heads that weigh the tokens of a text by a learned query, one head per depth.

    A query starts at zero, where the weights are alike and the feature is the mean; features
    are standardised as means are.
    """

    def __init__(
        self,
        heads: Sequence[HeadSpec],
        states: dict[Part, TokenStates],
        places: Sequence[int],
        scales: Sequence[Scale],
    ) -> None:
        self.heads = tuple(heads)
        self._states = states
        self._places = tuple(places)
        self._scales = tuple(scales)

    @classmethod
    def load(
        cls, heads: Sequence[HeadSpec], train: TokenStates, validation: TokenStates
    ) -> AttentiveTokens:
        """Returns a reader of token states, whose depths are those of `heads` in order."""
        scales = [measure(train.means(group)) for group in range(len(heads))]
        states: dict[Part, TokenStates] = {"train": train, "validation": validation}
        return cls(heads, states, range(len(heads)), scales)

    def parameters(self, settings: int) -> Parameters:
        """Returns the queries, zeros (G, C, H)."""
        hidden_size = self._states["train"].states.shape[2]
        return {"query": torch.zeros(len(self.heads), settings, hidden_size)}

    def read(self, part: Part, rows: torch.Tensor, own: Parameters) -> torch.Tensor:
        """Returns (G, C, B, H)."""
        # Rows of like lengths are padded together, or most of the work would be on padding.
        order = self._states[part].counts[rows].argsort(stable=True)
        chunks = torch.chunk(rows[order], _LENGTH_CHUNKS)
        features = torch.cat([self._pool(part, chunk, own) for chunk in chunks], dim=2)
        return features.index_select(2, order.argsort())

    def _pool(self, part: Part, rows: torch.Tensor, own: Parameters) -> torch.Tensor:
        """Returns (G, C, B, H) for rows of like lengths."""
        tokens = self._states[part]
        counts = tokens.counts[rows]
        steps = torch.arange(int(counts.max()), device=rows.device)
        places = tokens.starts[rows, None] + steps  # (B, L)
        beyond = steps >= counts[:, None]
        places = places.masked_fill(beyond, 0)
        pooled = []
        for group, place in enumerate(self._places):
            states = tokens.states[place][places].float()  # (B, L, H)
            query = own["query"][group] * states.shape[2] ** -0.5
            # (B, L, H) @ (H, C) -> (B, L, C) -> (B, C, L)
            weights = (states @ query.T).transpose(1, 2)
            weights = weights.masked_fill(beyond[:, None], -torch.inf).softmax(-1)
            # (B, C, L) @ (B, L, H) -> (B, C, H) -> (C, B, H)
            features = (weights @ states).transpose(0, 1)
            scale = self._scales[group]
            pooled.append((features - scale.mean) / scale.deviation)
        return torch.stack(pooled)

    def keep(self, groups: Sequence[int]) -> AttentiveTokens:
        """Returns a reader for some of the heads."""
        return AttentiveTokens(
            [self.heads[group] for group in groups],
            self._states,
            [self._places[group] for group in groups],
            [self._scales[group] for group in groups],
        )

    def fold(self, group: int, own: Parameters) -> tuple[Scale, Parameters]:
        """Returns the scale of the head's features, and `pool.query`."""
        return self._scales[group], {"pool.query": own["query"]}
