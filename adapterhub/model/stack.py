"""Branches side by side: one matrix product for all of them, small terms for each.

Rows of a stack are the tokens of several branches, one branch after the other. The product with
the block's weights is one for all rows but those with own weights; what each adapter adds is
computed on its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from adapterhub.model.adapters import Adapter, BlockChange, MapChange, Norm
from adapterhub.model.tokens import Bucket
from adapterhub.model.weights import Block

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
