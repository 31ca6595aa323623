"""Standardised features for fitting many heads at once.

A reader serves G heads that differ in what they read, each with C hyperparameter settings, so
parameters and features have the leading axes (G, C). Standardisation makes one learning rate fit
all taps; `export` returns its scale, which goes into the weights, so that scoring needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from adapterhub.specs import HeadSpec, Pooling
from adapterhub.training.features.encoding import Features

Part = Literal["train", "validation"]
Parameters = dict[str, torch.Tensor]
TapReader = Callable[[Part, int, Pooling], torch.Tensor]
"""Gives the features of one tap: (items, H) fp16 on the CPU."""

_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Mean and standard deviation of features, both (H,)."""

    mean: torch.Tensor
    deviation: torch.Tensor


class Reader(Protocol):
    """Reads the features of G heads."""

    heads: tuple[HeadSpec, ...]

    def parameters(self, settings: int) -> Parameters:
        """Returns the initial values of the reader's own parameters, each (G, C, …)."""
        ...

    def read(self, part: Part, rows: torch.Tensor, own: Parameters) -> torch.Tensor:
        """Returns standardised features (G, C or 1, B, H) fp32 of the rows (B,)."""
        ...

    def keep(self, groups: Sequence[int]) -> Reader:
        """Returns a reader for some of the heads."""
        ...

    def export(self, group: int, own: Parameters) -> tuple[Scale, Parameters]:
        """Returns the scale of one head's features, and its own tensors by their names in a file.

        Args:
            group: Index of the head.
            own: Its parameters, without the leading axes.
        """
        ...


class SingleTaps:
    """Reads one tap for each head; all settings of a head share its features."""

    def __init__(
        self,
        heads: Sequence[HeadSpec],
        taps: Sequence[dict[Part, torch.Tensor]],
        scales: Sequence[Scale],
    ) -> None:
        self.heads = tuple(heads)
        self._taps = tuple(taps)
        self._scales = tuple(scales)

    @classmethod
    def load(cls, heads: Sequence[HeadSpec], tap: TapReader, device: torch.device) -> SingleTaps:
        """Returns a reader of the taps that `heads` name."""
        taps: list[dict[Part, torch.Tensor]] = []
        scales = []
        for head in heads:
            train = tap("train", head.depths[0], head.pooling).to(device)
            held_out = tap("validation", head.depths[0], head.pooling).to(device)
            scale = measure(train)
            standardise(train, scale)
            standardise(held_out, scale)
            taps.append({"train": train, "validation": held_out})
            scales.append(scale)
        return cls(heads, taps, scales)

    def parameters(self, settings: int) -> Parameters:
        """Returns no parameters."""
        del settings
        return {}

    def read(self, part: Part, rows: torch.Tensor, own: Parameters) -> torch.Tensor:
        """Returns (G, 1, B, H)."""
        del own
        return torch.stack([tap[part].index_select(0, rows) for tap in self._taps]).float()[:, None]

    def keep(self, groups: Sequence[int]) -> SingleTaps:
        """Returns a reader for some of the heads."""
        return SingleTaps(
            [self.heads[group] for group in groups],
            [self._taps[group] for group in groups],
            [self._scales[group] for group in groups],
        )

    def export(self, group: int, own: Parameters) -> tuple[Scale, Parameters]:
        """Returns the scale of the head's tap."""
        del own
        return self._scales[group], {}


def stack_taps(
    heads: Sequence[HeadSpec], tap: TapReader, device: torch.device
) -> tuple[tuple[int, ...], dict[Part, torch.Tensor]]:
    """Returns the depths that heads of one pooling read, and their features: (D, N, H) each."""
    depths = tuple(sorted({depth for head in heads for depth in head.depths}))
    parts: tuple[Part, ...] = ("train", "validation")
    pooling = heads[0].pooling
    return depths, {
        part: torch.stack([tap(part, depth, pooling) for depth in depths]).to(device)
        for part in parts
    }


class MixedTaps:
    """Reads learned mixes of depths, with one pooling.

    All depths share one deviation, because a mix of depths with a deviation each could not be
    merged into one weight matrix.
    """

    def __init__(
        self,
        heads: Sequence[HeadSpec],
        depths: tuple[int, ...],
        taps: dict[Part, torch.Tensor],
        scales: Sequence[Scale],
    ) -> None:
        self.heads = tuple(heads)
        self._depths = depths
        self._taps = taps
        self._scales = tuple(scales)
        self._reads = reads_of(heads, depths, taps["train"].device)

    @classmethod
    def load(cls, heads: Sequence[HeadSpec], tap: TapReader, device: torch.device) -> MixedTaps:
        """Returns a reader of the depths that `heads` name; they have one pooling."""
        depths, taps = stack_taps(heads, tap, device)
        own = [measure(values) for values in taps["train"]]
        common = torch.stack([scale.deviation for scale in own]).square().mean(0).sqrt()
        scales = [Scale(scale.mean, common) for scale in own]
        for values in taps.values():
            for depth_values, scale in zip(values, scales, strict=True):
                standardise(depth_values, scale)
        return cls(heads, depths, taps, scales)

    def parameters(self, settings: int) -> Parameters:
        """Returns the logits of the mixes, zeros (G, C, D): all depths alike."""
        return {"mix": torch.zeros(len(self.heads), settings, len(self._depths))}

    def read(self, part: Part, rows: torch.Tensor, own: Parameters) -> torch.Tensor:
        """Returns (G, C, B, H)."""
        values = self._taps[part].index_select(1, rows).float()  # (D, B, H)
        shares = mix_shares(own["mix"], self._reads[:, None])
        return torch.einsum("gcd,dbh->gcbh", shares, values)

    def keep(self, groups: Sequence[int]) -> MixedTaps:
        """Returns a reader for some of the heads."""
        heads = [self.heads[group] for group in groups]
        return MixedTaps(heads, self._depths, self._taps, self._scales)

    def export(self, group: int, own: Parameters) -> tuple[Scale, Parameters]:
        """Returns the scale of the mixed features, and `mix.weights` of the depths read."""
        shares = mix_shares(own["mix"], self._reads[group])
        means = torch.stack([scale.mean for scale in self._scales])
        scale = Scale(shares @ means, self._scales[0].deviation)
        return scale, {"mix.weights": shares[self._reads[group]]}


def reads_of(
    heads: Sequence[HeadSpec], depths: Sequence[int], device: torch.device
) -> torch.Tensor:
    """Returns whether each head reads each depth: (G, D) bool."""
    reads = [[depth in head.depths for depth in depths] for head in heads]
    return torch.tensor(reads, device=device)


def mix_shares(mix: torch.Tensor, reads: torch.Tensor) -> torch.Tensor:
    """Returns mix weights from their logits (…, D), zero at depths that are not read."""
    return mix.masked_fill(~reads, -torch.inf).softmax(-1)


def measure(values: torch.Tensor) -> Scale:
    """Returns mean and standard deviation of features (N, H) fp16 per dimension, in fp32."""
    total = torch.zeros(values.shape[1], dtype=torch.float64, device=values.device)
    squares = torch.zeros_like(total)
    for chunk in torch.split(values, _ROWS_AT_ONCE):
        total += chunk.double().sum(0)
        squares += chunk.double().square().sum(0)
    mean = total / len(values)
    variance = (squares / len(values) - mean.square()).clamp(min=0)
    # A nearly constant dimension holds rounding errors only; dividing would amplify them.
    floor = 1e-4 * variance.mean().sqrt()
    deviation = torch.where(variance.sqrt() > floor, variance.sqrt(), torch.ones_like(variance))
    return Scale(mean.float(), deviation.float())


def standardise(values: torch.Tensor, scale: Scale) -> None:
    """Changes features (N, H) fp16 in place to zero mean and unit deviation."""
    for chunk in torch.split(values, _ROWS_AT_ONCE):
        chunk.copy_((chunk.float() - scale.mean) / scale.deviation)


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
        order = self._states[part].counts[rows].argsort(stable=True)
        chunks = torch.chunk(rows[order], _LENGTH_CHUNKS)
        features = torch.cat([self._pool(part, chunk, own) for chunk in chunks], dim=2)
        return features.index_select(2, order.argsort())

    def _pool(self, part: Part, rows: torch.Tensor, own: Parameters) -> torch.Tensor:
        """Returns (G, C, B, H) for rows of like length."""
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

    def export(self, group: int, own: Parameters) -> tuple[Scale, Parameters]:
        """Returns the scale of the features, and `pool.query`."""
        return self._scales[group], {"pool.query": own["query"]}
