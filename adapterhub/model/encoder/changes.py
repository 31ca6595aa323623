"""Compiled adapters: their changes of the block, and the layout of stacked branches.

A linear map of the block, y = W x + b, becomes y = scale * (W x + b) + shift + B A x; scale, shift
and the factors B A are optional. The rows of a stack are the tokens of several branches: one
product with W serves all rows except those with own weights, and the terms of each adapter are
computed on its rows only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch

from adapterhub.model.encoder.linear import Linear
from adapterhub.model.encoder.tokens import Bucket, TokenBatch
from adapterhub.model.encoder.weights import Block, Norm

T = TypeVar("T")
ProductName = Literal["qkv", "out", "up", "down"]
NormName = Literal["attention_norm", "output_norm"]


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """An adapter and the rows that it applies to.

    Attributes:
        adapter: The adapter.
        rows: The tokens of its branch.
    """

    adapter: Adapter
    rows: slice


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """The changes of all adapters of a stack in one pass.

    Attributes:
        parts: The rows of each branch that changes at this depth, ascending, and its change.
    """

    parts: tuple[tuple[slice, BlockChange], ...]

    def map(
        self, name: ProductName, block: Block, source: torch.Tensor, *, buffer: torch.Tensor
    ) -> torch.Tensor:
        """Returns a linear map of the block, (P, out), changed by each adapter on its rows.

        Args:
            name: The linear map.
            block: The backbone's weights.
            source: (P, in).
            buffer: (P, out), of any values; the result may be in it.
        """
        found = ((rows, getattr(change, name)) for rows, change in self.parts)
        changed: list[tuple[slice, MapChange]] = [(rows, one) for rows, one in found if one]
        own = [(rows, change.own) for rows, change in changed if change.own is not None]
        result = _map_parts(_split(own, getattr(block, name), source.shape[0]), source, buffer)
        for rows, change in changed:
            change.apply(source[rows], result[rows])
        return result

    def norms(self, name: NormName, block: Block, rows: int) -> list[tuple[slice, Norm]]:
        """Returns the layer norm of each part of `rows` rows."""
        own: list[tuple[slice, Norm]] = [
            (part, norm) for part, change in self.parts if (norm := getattr(change, name))
        ]
        return _split(own, getattr(block, name), rows)


def changes_at(depth: int, adapters: Sequence[Applied]) -> Changes:
    """Returns the changes of adapters in the pass from `depth` to `depth` + 1."""
    return Changes(
        tuple(
            (applied.rows, applied.adapter.changes[depth])
            for applied in adapters
            if depth in applied.adapter.changes
        )
    )


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """The tokens of several branches, concatenated.

    Attributes:
        tokens: Their number P.
        buckets: Their runs of equal length.
        rows: The tokens of each branch.
    """

    tokens: int
    buckets: tuple[Bucket, ...]
    rows: tuple[slice, ...]


Packed = TokenBatch | Stack
"""P tokens without padding, in runs of windows of equal length."""


def stack_batches(batches: Sequence[TokenBatch]) -> Stack:
    """Returns the layout of concatenated batches."""
    buckets: list[Bucket] = []
    rows: list[slice] = []
    start = 0
    for batch in batches:
        rows.append(slice(start, start + batch.tokens))
        buckets += (Bucket(start + one.start, one.windows, one.length) for one in batch.buckets)
        start += batch.tokens
    return Stack(start, tuple(buckets), tuple(rows))


def _split(own: Sequence[tuple[slice, T]], shared: T, rows: int) -> list[tuple[slice, T]]:
    """Returns the parts of `rows` rows, ascending: those of `own`, and `shared` for all others."""
    parts: list[tuple[slice, T]] = []
    start = 0
    for part, value in own:
        if part.start > start:
            parts.append((slice(start, part.start), shared))
        parts.append((part, value))
        start = part.stop
    if start < rows:
        parts.append((slice(start, rows), shared))
    return parts


def _map_parts(
    parts: Sequence[tuple[slice, Linear]], source: torch.Tensor, buffer: torch.Tensor
) -> torch.Tensor:
    """Returns the linear map of each part of the rows of `source`."""
    if len(parts) == 1:
        return parts[0][1](source, buffer=buffer)
    for rows, linear in parts:
        target = buffer[rows]
        found = linear(source[rows], buffer=target)
        if found is not target:
            target.copy_(found)
    return buffer


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """The term B A x of one site.

    Attributes:
        columns: The site's outputs among those of its product.
        ranks: The site's ranks among those of the product's `down`.
        up: (R, outputs of the site), B transposed, with all scales multiplied in.
    """

    columns: slice
    ranks: slice
    up: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class MapChange:
    """The change of an adapter in one matrix product of the block.

    Attributes:
        own: The linear map that replaces the backbone's, or None.
        scale: (out,) factor of W x + b, or None.
        shift: (out,) added to the scaled product, or None.
        down: (in, R), A transposed of all low-rank terms, concatenated, or None.
        low_rank: The low-rank terms.
    """

    own: Linear | None = None
    scale: torch.Tensor | None = None
    shift: torch.Tensor | None = None
    down: torch.Tensor | None = None
    low_rank: tuple[LowRank, ...] = ()

    def apply(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Changes `target` (P, out) in place, W x + b of the inputs `source` (P, in)."""
        if self.scale is not None:
            target.mul_(self.scale)
        if self.shift is not None:
            target.add_(self.shift)
        if self.down is not None:
            inner = torch.mm(source, self.down)
            for term in self.low_rank:
                target[:, term.columns].addmm_(inner[:, term.ranks], term.up)

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yields its tensors."""
        if self.own is not None:
            yield from self.own.tensors()
        for part in (self.scale, self.shift, self.down):
            if part is not None:
                yield part
        yield from (term.up for term in self.low_rank)


@dataclass(frozen=True, slots=True, eq=False)
class BlockChange:
    """The changes of an adapter at one depth; None for an unchanged part.

    Attributes:
        qkv: Query, key and value.
        out: The output map of attention.
        up: The first map of the feed-forward part.
        down: Its second map.
        attention_norm: The layer norm after attention.
        output_norm: The layer norm at the end of the block.
    """

    qkv: MapChange | None = None
    out: MapChange | None = None
    up: MapChange | None = None
    down: MapChange | None = None
    attention_norm: Norm | None = None
    output_norm: Norm | None = None

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yields its tensors."""
        for change in (self.qkv, self.out, self.up, self.down):
            if change is not None:
                yield from change.tensors()
        for norm in (self.attention_norm, self.output_norm):
            if norm is not None:
                yield from norm.tensors()


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """A compiled adapter on a device; immutable.

    Attributes:
        digest: Its identity.
        changes: Its changes by depth; the depths of a tied adapter share one value.
    """

    digest: str
    changes: Mapping[int, BlockChange]

    @property
    def bytes(self) -> int:
        """Returns its size on the device, in bytes."""
        distinct = {id(change): change for change in self.changes.values()}
        tensors = (tensor for change in distinct.values() for tensor in change.tensors())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
