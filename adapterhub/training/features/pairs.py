"""Pairs whose two texts are encoded separately: their features, and mixes of depths of them.

Both texts come from the cache of single texts, so a text of many pairs or tasks is encoded once.
Comparisons are computed only for the taps that are being fitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.errors import UsageError
from adapterhub.model.heads.pair_features import compare
from adapterhub.plan import Reading
from adapterhub.shapes import COMPARED_PARTS
from adapterhub.specs import HeadSpec, Pooling
from adapterhub.training.data.dataset import Dataset, Splits
from adapterhub.training.features.encoding import Features, FeatureSource, Layout, read_features
from adapterhub.training.features.standardized_features import (
    CopyScales,
    Parameters,
    Part,
    Scale,
    TapReader,
    measure,
    mix_shares,
    reads_of,
    stack_taps,
)
from adapterhub.training.options import TrainingOptions

_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class PairFeatures:
    """The features of N pairs.

    Attributes:
        reading: The two fields and the window.
        first: Of the first texts.
        second: Of the second texts.
    """

    reading: Reading
    first: Features
    second: Features

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Returns (N,) ones: each pair is one item."""
        return self.first.counts

    @property
    def hidden_size(self) -> int:
        """Returns the width of a comparison, 4H."""
        return self.first.hidden_size * COMPARED_PARTS

    def tap(self, depth: int, pooling: Pooling) -> torch.Tensor:
        """Returns the comparisons of all pairs in order at one tap: (N, 4H) fp16."""
        first, second = (side.tap(depth, pooling) for side in (self.first, self.second))
        values = torch.empty(len(first), self.hidden_size, dtype=torch.float16)
        for rows in _slices(len(first)):
            values[rows] = _halves(compare(first[rows].float(), second[rows].float()))
        return values


def read_pairs(
    splits: Splits, reading: Reading, *, layout: Layout, source: FeatureSource
) -> dict[Part, PairFeatures]:
    """Returns the features of the pairs of both splits; texts that are not cached are encoded.

    Args:
        splits: The rows, with two texts or a prompt and choices each.
        reading: Reads them apart.
        layout: What is cached of each single text.
        source: Where features come from.

    Raises:
        UsageError: The cache cannot be written.
    """
    parts: dict[Part, Dataset] = {"train": splits.train, "validation": splits.validation}
    texts = {(text,): None for part in parts.values() for row in part.items for text in row}
    # Encodes all missing texts in one run.
    read_features(tuple(texts), layout=layout, source=source)

    def side(part: Dataset, index: int) -> Features:
        return read_features([(row[index],) for row in part.items], layout=layout, source=source)

    return {
        name: PairFeatures(reading, side(part, 0), side(part, 1)) for name, part in parts.items()
    }


def pair_readings(
    options: TrainingOptions, fields: Sequence[str], *, together: bool = False
) -> tuple[bool, ...]:
    """Returns which encodings of the rows are tried: together (False), apart (True), or both.

    Args:
        options: Say which.
        fields: Of the task.
        together: Whether its kind reads both texts in one sequence.

    Raises:
        UsageError: The options ask for pairs apart, but rows have one text, or are read together.
    """
    if together:
        if options.pairs == "apart":
            raise UsageError("Option pairs is 'apart', but this kind reads both texts together.")
        return (False,)
    if len(fields) != 2:
        if options.pairs == "apart":
            raise UsageError("Option pairs is 'apart', but the rows have one text; it needs two.")
        return (False,)
    has_apart = options.pairs != "together" and set(options.poolings) != {"attentive"}
    return ((False,) if options.pairs != "apart" else ()) + ((True,) if has_apart else ())


class ComparedMix:
    """Reads comparisons of learned mixes of depths, with one pooling.

    Each text is mixed before the two are compared, as in scoring. Comparing is not linear, so the
    scale cannot follow the mix; it is that of the initial mix.
    """

    def __init__(
        self,
        heads: Sequence[HeadSpec],
        depths: tuple[int, ...],
        taps: dict[Part, torch.Tensor],
        scales: CopyScales,
    ) -> None:
        self.heads = tuple(heads)
        self._depths = depths
        self._taps = taps
        self._scales = scales
        self._reads = reads_of(heads, depths, taps["train"].device)

    @classmethod
    def load(
        cls,
        heads: Sequence[HeadSpec],
        tap: TapReader,
        device: torch.device,
        train_mask: torch.Tensor | None = None,
    ) -> ComparedMix:
        """Returns a reader of the depths that `heads` name, as in `SingleTaps.load`.

        The heads have one pooling.
        """

        def texts(part: Part, depth: int, pooling: Pooling) -> torch.Tensor:
            # The first half of a comparison are the features of the two texts.
            return _texts(tap(part, depth, pooling))

        depths, taps = stack_taps(heads, texts, device)
        reads = reads_of(heads, depths, device)
        start = mix_shares(torch.zeros_like(reads, dtype=torch.float32), reads)
        scales = [_scale(taps["train"], shares, train_mask) for shares in start]
        return cls(heads, depths, taps, CopyScales.stack(scales))

    def parameters(self, settings: int) -> Parameters:
        """Returns the logits of the mixes, zeros (G, C, D): all depths alike."""
        return {"mix": torch.zeros(len(self.heads), settings, len(self._depths))}

    def read(
        self, part: Part, rows: torch.Tensor, own: Parameters, copy: int | None = None
    ) -> torch.Tensor:
        """Returns (G, C, B, 4H), in cross-validation (G, C R, B, 4H) or of one copy."""
        values = self._taps[part].index_select(1, rows).float()  # (D, B, 2H)
        shares = mix_shares(own["mix"], self._reads[:, None])
        compared = _compare_halves(torch.einsum("gcd,dbh->gcbh", shares, values))
        return self._scales.apply(compared, copy)

    def keep(self, groups: Sequence[int]) -> ComparedMix:
        """Returns a reader for some of the heads."""
        heads = [self.heads[group] for group in groups]
        return ComparedMix(heads, self._depths, self._taps, self._scales.keep(groups))

    def export(self, group: int, own: Parameters, copy: int = 0) -> tuple[Scale, Parameters]:
        """Returns the scale of the compared mix, and `mix.weights` of the depths read."""
        reads = self._reads[group]
        return self._scales.of(group, copy), {"mix.weights": mix_shares(own["mix"], reads)[reads]}


def _texts(compared: torch.Tensor) -> torch.Tensor:
    return compared[:, : compared.shape[1] // 2]


def _compare_halves(texts: torch.Tensor) -> torch.Tensor:
    """Returns (…, 2H) -> (…, 4H)."""
    first, second = texts.chunk(2, dim=-1)
    return compare(first, second)


def _scale(texts: torch.Tensor, shares: torch.Tensor, train_mask: torch.Tensor | None) -> Scale:
    """Returns the scale of comparisons of a mix of (D, N, 2H)."""
    parts = [
        _halves(_compare_halves(torch.einsum("d,dbh->bh", shares, texts[:, rows].float())))
        for rows in _slices(texts.shape[1])
    ]
    return measure(torch.cat(parts), train_mask)


def _halves(values: torch.Tensor) -> torch.Tensor:
    limit = torch.finfo(torch.float16).max
    return values.clamp(-limit, limit).half()


def _slices(rows: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS_AT_ONCE) for start in range(0, rows, _ROWS_AT_ONCE))
