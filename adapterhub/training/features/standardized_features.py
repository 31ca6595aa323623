"""Standardised features for fitting many heads at once.

A reader serves G heads that differ in what they read, each with C hyperparameter settings, so
parameters and features have the leading axes (G, C). Standardisation makes one learning rate fit
all taps; `export` returns its scale, which goes into the weights, so that scoring needs none.

In cross-validation each setting has R adjacent copies, and each copy standardises features by the
rows that it is fitted on: statistics of a held-out row would tell about that row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from adapterhub.specs import HeadSpec, Pooling

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


@dataclass(frozen=True, slots=True, eq=False)
class CopyScales:
    """The scales of G heads in each of R copies.

    Attributes:
        mean: (G, R, H).
        deviation: (G, R, H).
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    @classmethod
    def stack(cls, scales: Sequence[Scale]) -> CopyScales:
        """Returns the scales of heads, each (R, H), or (H,) where there is one copy."""
        means = torch.stack([by_copy(scale.mean) for scale in scales])
        return cls(means, torch.stack([by_copy(scale.deviation) for scale in scales]))

    def apply(self, features: torch.Tensor, copy: int | None) -> torch.Tensor:
        """Returns standardised features: (G, C R or 1, B, H) -> (G, C R or R, B, H).

        Args:
            features: Raw; of all copies, which are adjacent, or of one.
            copy: Which one; None for all.
        """
        mean, deviation = self.mean, self.deviation
        if copy is not None:
            mean, deviation = mean[:, copy, None], deviation[:, copy, None]
        times = max(1, features.shape[1] // mean.shape[1]) if copy is None else 1
        mean, deviation = mean.repeat(1, times, 1), deviation.repeat(1, times, 1)
        return (features - mean[:, :, None]) / deviation[:, :, None]

    def keep(self, groups: Sequence[int]) -> CopyScales:
        """Returns those of some of the heads."""
        return CopyScales(self.mean[list(groups)], self.deviation[list(groups)])

    def of(self, group: int, copy: int) -> Scale:
        """Returns the scale of one head in one copy."""
        return Scale(self.mean[group, copy], self.deviation[group, copy])


class Reader(Protocol):
    """Reads the features of G heads."""

    heads: tuple[HeadSpec, ...]

    def parameters(self, settings: int) -> Parameters:
        """Returns the initial values of the reader's own parameters, each (G, C, …)."""
        ...

    def read(
        self, part: Part, rows: torch.Tensor, own: Parameters, copy: int | None = None
    ) -> torch.Tensor:
        """Returns standardised features fp32 of the rows (B,).

        (G, C, B, H), or (G, 1, B, H) where all settings share them; in cross-validation
        (G, C R, B, H) or (G, R, B, H).

        Args:
            part: Whose rows.
            rows: Their indices.
            own: The reader's parameters.
            copy: The one copy of cross-validation that reads; None for all of them.
        """
        ...

    def keep(self, groups: Sequence[int]) -> Reader:
        """Returns a reader for some of the heads."""
        ...

    def export(self, group: int, own: Parameters, copy: int = 0) -> tuple[Scale, Parameters]:
        """Returns the scale of one head's features, and its own tensors by their names in a file.

        Args:
            group: Index of the head.
            own: Its parameters, without the leading axes.
            copy: Its copy.
        """
        ...


class SingleTaps:
    """Reads one tap for each head; all settings of a head share its features."""

    def __init__(
        self,
        heads: Sequence[HeadSpec],
        taps: Sequence[dict[Part, torch.Tensor]],
        scales: CopyScales,
    ) -> None:
        self.heads = tuple(heads)
        self._taps = tuple(taps)
        self._scales = scales

    @classmethod
    def load(
        cls,
        heads: Sequence[HeadSpec],
        tap: TapReader,
        device: torch.device,
        train_mask: torch.Tensor | None = None,
    ) -> SingleTaps:
        """Returns a reader of the taps that `heads` name.

        Args:
            heads: With one depth each.
            tap: Reads their features.
            device: Where they are put.
            train_mask: In cross-validation (R, N), one where a copy is fitted on a row.
        """
        taps: list[dict[Part, torch.Tensor]] = []
        scales = []
        for head in heads:
            train = tap("train", head.depths[0], head.pooling).to(device)
            held_out = tap("validation", head.depths[0], head.pooling).to(device)
            scale = measure(train, train_mask)
            if train_mask is None:
                # One scale for all: once here instead of at every step.
                standardise(train, scale)
                standardise(held_out, scale)
            taps.append({"train": train, "validation": held_out})
            scales.append(scale)
        return cls(heads, taps, CopyScales.stack(scales))

    def parameters(self, settings: int) -> Parameters:
        """Returns no parameters."""
        del settings
        return {}

    def read(
        self, part: Part, rows: torch.Tensor, own: Parameters, copy: int | None = None
    ) -> torch.Tensor:
        """Returns (G, 1, B, H), in cross-validation (G, R, B, H) or of one copy."""
        del own
        values = torch.stack([tap[part].index_select(0, rows) for tap in self._taps]).float()
        one_copy = self._scales.mean.shape[1] == 1
        return values[:, None] if one_copy else self._scales.apply(values[:, None], copy)

    def keep(self, groups: Sequence[int]) -> SingleTaps:
        """Returns a reader for some of the heads."""
        return SingleTaps(
            [self.heads[group] for group in groups],
            [self._taps[group] for group in groups],
            self._scales.keep(groups),
        )

    def export(self, group: int, own: Parameters, copy: int = 0) -> tuple[Scale, Parameters]:
        """Returns the scale of the head's tap."""
        del own
        return self._scales.of(group, copy), {}


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
    def load(
        cls,
        heads: Sequence[HeadSpec],
        tap: TapReader,
        device: torch.device,
        train_mask: torch.Tensor | None = None,
    ) -> MixedTaps:
        """Returns a reader of the depths that `heads` name, as in `SingleTaps.load`.

        The heads have one pooling.
        """
        depths, taps = stack_taps(heads, tap, device)
        own = [measure(values, train_mask) for values in taps["train"]]
        common = torch.stack([scale.deviation for scale in own]).square().mean(0).sqrt()
        scales = [Scale(scale.mean, common) for scale in own]
        for values in taps.values() if train_mask is None else ():
            for depth_values, scale in zip(values, scales, strict=True):
                standardise(depth_values, scale)
        return cls(heads, depths, taps, scales)

    def parameters(self, settings: int) -> Parameters:
        """Returns the logits of the mixes, zeros (G, C, D): all depths alike."""
        return {"mix": torch.zeros(len(self.heads), settings, len(self._depths))}

    def read(
        self, part: Part, rows: torch.Tensor, own: Parameters, copy: int | None = None
    ) -> torch.Tensor:
        """Returns (G, C, B, H), in cross-validation (G, C R, B, H) or of one copy."""
        values = self._taps[part].index_select(1, rows).float()  # (D, B, H)
        shares = mix_shares(own["mix"], self._reads[:, None])
        features = torch.einsum("gcd,dbh->gcbh", shares, values)
        if self._scales[0].mean.dim() == 1:
            return features
        mean = torch.stack([scale.mean for scale in self._scales])  # (D, R, H)
        deviation = self._scales[0].deviation  # (R, H)
        if copy is not None:
            mean, deviation = mean[:, copy, None], deviation[copy, None]
        count, _, depths = shares.shape
        copied = shares.view(count, -1, len(deviation), depths)  # (G, C, R, D)
        mixed = torch.einsum("gcrd,drh->gcrh", copied, mean).flatten(1, 2)
        every = deviation.repeat(copied.shape[1], 1)
        return (features - mixed[:, :, None]) / every[:, None]

    def keep(self, groups: Sequence[int]) -> MixedTaps:
        """Returns a reader for some of the heads."""
        heads = [self.heads[group] for group in groups]
        return MixedTaps(heads, self._depths, self._taps, self._scales)

    def export(self, group: int, own: Parameters, copy: int = 0) -> tuple[Scale, Parameters]:
        """Returns the scale of the mixed features, and `mix.weights` of the depths read."""
        shares = mix_shares(own["mix"], self._reads[group])
        means = torch.stack([by_copy(scale.mean)[copy] for scale in self._scales])
        scale = Scale(shares @ means, by_copy(self._scales[0].deviation)[copy])
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


def by_copy(values: torch.Tensor) -> torch.Tensor:
    """Returns values (R, H) of copies as they are, and those of all (H,) as (1, H)."""
    return values.view(-1, values.shape[-1])


def measure(values: torch.Tensor, train_mask: torch.Tensor | None = None) -> Scale:
    """Returns mean and standard deviation of features (N, H) fp16 per dimension, in fp32.

    Args:
        values: The features.
        train_mask: (R, N), one where a copy of cross-validation is fitted on a row; the scale is
            (R, H) then, of the rows of each copy.
    """
    if train_mask is None:
        total = torch.zeros(values.shape[1], dtype=torch.float64, device=values.device)
        squares = torch.zeros_like(total)
        for chunk in torch.split(values, _ROWS_AT_ONCE):
            total += chunk.double().sum(0)
            squares += chunk.double().square().sum(0)
        count: torch.Tensor | int = len(values)
    else:
        shape = (len(train_mask), values.shape[1])
        total = torch.zeros(shape, dtype=torch.float64, device=values.device)
        squares = torch.zeros_like(total)
        masks = torch.split(train_mask.double(), _ROWS_AT_ONCE, dim=1)
        for chunk, mask in zip(torch.split(values, _ROWS_AT_ONCE), masks, strict=True):
            total += mask @ chunk.double()
            squares += mask @ chunk.double().square()
        count = train_mask.double().sum(1, keepdim=True)
    mean = total / count
    variance = (squares / count - mean.square()).clamp(min=0)
    # A nearly constant dimension holds rounding errors only; dividing would amplify them.
    floor = 1e-4 * variance.mean(-1, keepdim=True).sqrt()
    deviation = torch.where(variance.sqrt() > floor, variance.sqrt(), torch.ones_like(variance))
    return Scale(mean.float(), deviation.float())


def standardise(values: torch.Tensor, scale: Scale) -> None:
    """Changes features (N, H) fp16 in place to zero mean and unit deviation."""
    for chunk in torch.split(values, _ROWS_AT_ONCE):
        chunk.copy_((chunk.float() - scale.mean) / scale.deviation)
