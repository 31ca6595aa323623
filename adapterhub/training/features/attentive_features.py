"""Attentive pooling with learned queries: token states, standardised as their means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from adapterhub.specs import HeadSpec
from adapterhub.training.features.encoding import Features
from adapterhub.training.features.standardized_features import (
    CopyScales,
    Parameters,
    Part,
    Scale,
    measure,
)

# Rows are padded within chunks of like length; more chunks pad less but launch more kernels.
_LENGTH_CHUNKS = 4


@dataclass(frozen=True, slots=True, eq=False)
class TokenStates:
    """The token states of one split at G depths.

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
        """Returns the states at all depths of `features`."""
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
    """Reads attentive pooling with learned queries, one head per depth.

    A zero query is mean pooling; queries start there, and features are standardised as means.
    """

    def __init__(
        self,
        heads: Sequence[HeadSpec],
        states: dict[Part, TokenStates],
        places: Sequence[int],
        scales: CopyScales,
    ) -> None:
        self.heads = tuple(heads)
        self._states = states
        self._places = tuple(places)
        self._scales = scales

    @classmethod
    def load(
        cls,
        heads: Sequence[HeadSpec],
        train: TokenStates,
        validation: TokenStates,
        train_mask: torch.Tensor | None = None,
    ) -> AttentiveTokens:
        """Returns a reader of token states, whose depths are those of `heads` in order."""
        scales = [measure(train.means(group), train_mask) for group in range(len(heads))]
        states: dict[Part, TokenStates] = {"train": train, "validation": validation}
        return cls(heads, states, range(len(heads)), CopyScales.stack(scales))

    def parameters(self, settings: int) -> Parameters:
        """Returns the queries, zeros (G, C, H)."""
        hidden_size = self._states["train"].states.shape[2]
        return {"query": torch.zeros(len(self.heads), settings, hidden_size)}

    def read(
        self, part: Part, rows: torch.Tensor, own: Parameters, copy: int | None = None
    ) -> torch.Tensor:
        """Returns (G, C, B, H), in cross-validation (G, C R, B, H) or of one copy."""
        order = self._states[part].counts[rows].argsort(stable=True)
        chunks = torch.chunk(rows[order], _LENGTH_CHUNKS)
        features = torch.cat([self._pool(part, chunk, own) for chunk in chunks], dim=2)
        return self._scales.apply(features, copy).index_select(2, order.argsort())

    def _pool(self, part: Part, rows: torch.Tensor, own: Parameters) -> torch.Tensor:
        """Returns raw features (G, C, B, H) for rows of like length."""
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
            pooled.append((weights @ states).transpose(0, 1))
        return torch.stack(pooled)

    def keep(self, groups: Sequence[int]) -> AttentiveTokens:
        """Returns a reader for some of the heads."""
        return AttentiveTokens(
            [self.heads[group] for group in groups],
            self._states,
            [self._places[group] for group in groups],
            self._scales.keep(groups),
        )

    def export(self, group: int, own: Parameters, copy: int = 0) -> tuple[Scale, Parameters]:
        """Returns the scale of the features, and `pool.query`."""
        return self._scales.of(group, copy), {"pool.query": own["query"]}
