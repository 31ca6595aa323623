"""What adapters change in the block, and branches side by side.

A linear map of the block, y = W x + b, becomes y = scale * (W x + b) + shift + B A x, where
scale, shift and the factors B A are there or not. Rows of a stack are the tokens of several
branches, one after the other: the product with W is one for all rows but those with weights of
their own; what each adapter adds is computed on its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from adapterhub.model.backbone.checkpoint import Block
from adapterhub.model.encoder.tokens import Bucket

ProductName = Literal["qkv", "out", "up", "down"]
NormName = Literal["attention_norm", "output_norm"]


class Packed(Protocol):
    """P tokens without padding, cut into runs of windows of equal length."""

    @property
    def tokens(self) -> int:
        """Returns the number P of tokens."""

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """Returns the runs of equal length, covering all tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """An adapter and the rows that it applies to.

    Attributes:
        adapter: The adapter.
        rows: Tokens of its branch.
    """

    adapter: Adapter
    rows: slice


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """What all adapters of a stack change in one pass.

    Attributes:
        parts: The rows of each branch that is changed at this depth, ascending, and how.
    """

    parts: tuple[tuple[slice, BlockChange], ...]

    def map(
        self, name: ProductName, block: Block, source: torch.Tensor, *, out: torch.Tensor
    ) -> None:
        """Writes one linear map of the block, changed by each adapter on its rows.

        Args:
            name: Which product.
            block: The backbone's weights.
            source: (P, in).
            out: (P, out of the product).
        """
        weight, bias = getattr(block, f"{name}_weight"), getattr(block, f"{name}_bias")
        found = ((rows, getattr(change, name)) for rows, change in self.parts)
        changed: list[tuple[slice, MapChange]] = [(rows, one) for rows, one in found if one]
        own = [rows for rows, change in changed if change.weight is not None]
        for rows in _others(own, out.shape[0]):
            torch.addmm(bias, source[rows], weight.t(), out=out[rows])
        for rows, change in changed:
            if change.weight is not None and change.bias is not None:
                torch.addmm(change.bias, source[rows], change.weight.t(), out=out[rows])
            change.apply(source[rows], out[rows])

    def norms(
        self, name: NormName, block: Block, rows: int
    ) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
        """Yields the layer norm of each part of `rows` rows: rows, weight, bias."""
        own: list[tuple[slice, Norm]] = [
            (part, norm) for part, change in self.parts if (norm := getattr(change, name))
        ]
        weight, bias = getattr(block, f"{name}_weight"), getattr(block, f"{name}_bias")
        for part in _others([part for part, _ in own], rows):
            yield part, weight, bias
        for part, norm in own:
            yield part, norm.weight, norm.bias


def changes_at(depth: int, adapters: Sequence[Applied]) -> Changes:
    """Returns what adapters change in the pass from `depth` to the next."""
    return Changes(
        tuple(
            (applied.rows, applied.adapter.changes[depth])
            for applied in adapters
            if depth in applied.adapter.changes
        )
    )


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Tokens of several branches, one after the other.

    Attributes:
        tokens: How many they are, P.
        buckets: Their runs of equal length.
        rows: The tokens of each branch.
    """

    tokens: int
    buckets: tuple[Bucket, ...]
    rows: tuple[slice, ...]


def stack_batches(batches: Sequence[Packed]) -> Stack:
    """Returns the layout of batches put one after the other."""
    buckets: list[Bucket] = []
    rows: list[slice] = []
    start = 0
    for batch in batches:
        rows.append(slice(start, start + batch.tokens))
        buckets += (Bucket(start + one.start, one.windows, one.length) for one in batch.buckets)
        start += batch.tokens
    return Stack(start, tuple(buckets), tuple(rows))


def _others(taken: Sequence[slice], rows: int) -> Iterator[slice]:
    """Yields the runs of `rows` rows that no slice takes; the slices ascend."""
    start = 0
    for one in taken:
        if one.start > start:
            yield slice(start, one.start)
        start = one.stop
    if start < rows:
        yield slice(start, rows)


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """The term B A x of one site.

    Attributes:
        columns: Where the site stands among the outputs of its product.
        ranks: Where its rank stands among the rows of the product's `down`.
        up: (R, outputs of the site), B with all scales in it, transposed.
    """

    columns: slice
    ranks: slice
    up: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class MapChange:
    """What an adapter changes in one matrix product of the block.

    Attributes:
        weight: (out, in) in place of the backbone's, or None.
        bias: (out,) in place of the backbone's; there is one where there is a weight.
        scale: (out,) factor of the product with its bias, or None.
        shift: (out,) added after it, or None.
        down: (in, R) of all low-rank terms side by side, A transposed, or None.
        low_rank: The terms.
    """

    weight: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    scale: torch.Tensor | None = None
    shift: torch.Tensor | None = None
    down: torch.Tensor | None = None
    low_rank: tuple[LowRank, ...] = ()

    def apply(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Changes `target` (P, out), which holds W x + b, for the inputs `source` (P, in)."""
        if self.scale is not None:
            target.mul_(self.scale)
        if self.shift is not None:
            target.add_(self.shift)
        if self.down is not None:
            inner = torch.mm(source, self.down)
            for term in self.low_rank:
                target[:, term.columns].addmm_(inner[:, term.ranks], term.up)

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yields what it holds on the device."""
        for part in (self.weight, self.bias, self.scale, self.shift, self.down):
            if part is not None:
                yield part
        yield from (term.up for term in self.low_rank)


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """A layer norm in place of the backbone's: `weight` (H,) and `bias` (H,)."""

    weight: torch.Tensor
    bias: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class BlockChange:
    """What an adapter changes at one depth; None where it changes nothing.

    Attributes:
        qkv: Query, key and value.
        out: The map after attention.
        up: The map into the feed-forward part.
        down: The map out of it.
        attention_norm: The norm after attention.
        output_norm: The norm at the end of the block.
    """

    qkv: MapChange | None = None
    out: MapChange | None = None
    up: MapChange | None = None
    down: MapChange | None = None
    attention_norm: Norm | None = None
    output_norm: Norm | None = None

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yields what it holds on the device."""
        for change in (self.qkv, self.out, self.up, self.down):
            if change is not None:
                yield from change.tensors()
        for norm in (self.attention_norm, self.output_norm):
            if norm is not None:
                yield from (norm.weight, norm.bias)


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """An adapter on a device, ready to run; immutable.

    Attributes:
        digest: Its identity.
        changes: What it changes, by depth; the depths of a tied adapter share one value.
    """

    digest: str
    changes: Mapping[int, BlockChange]

    @property
    def bytes(self) -> int:
        """Returns its size on the device, in bytes."""
        distinct = {id(change): change for change in self.changes.values()}
        tensors = (tensor for change in distinct.values() for tensor in change.tensors())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
