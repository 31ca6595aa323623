"""Rows as items whose features are read: each pair of a prompt and a choice, or each text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

SIDES = 2
"""Texts of a pair."""


class RowItems(Protocol):
    """The items of N rows; those of a row are adjacent."""

    def to(self, device: torch.device) -> RowItems:
        """Returns them on a device."""
        ...

    def of_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Returns the items of some rows (B,), row by row: (I,) int64."""
        ...

    def by_row(self, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Returns the logits of rows (B,) from those of their items: (…, I, K) -> (…, B, …)."""
        ...

    def repeat(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the values of rows for each of their items: (…, N) -> (…, items)."""
        ...


@dataclass(frozen=True, slots=True)
class PairItems:
    """The items of rows of two texts, each of which is one item."""

    def to(self, device: torch.device) -> PairItems:
        """Returns them as they are: they have no tensors."""
        del device
        return self

    def of_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Returns the items of some rows (B,): (2 B,) int64."""
        return (SIDES * rows[:, None] + torch.arange(SIDES, device=rows.device)).flatten()

    def by_row(self, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Returns the logits of the two texts of each row behind one another.

        Args:
            logits: (…, 2 B, K) of `of_rows(rows)`.
            rows: (B,) their indices.

        Returns:
            (…, B, 2 K).
        """
        return logits.reshape(*logits.shape[:-2], len(rows), SIDES * logits.shape[-1])

    def repeat(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the values of rows for each of their texts: (…, N) -> (…, 2 N)."""
        return values.repeat_interleave(SIDES, dim=-1)


@dataclass(frozen=True, slots=True, eq=False)
class ChoiceItems:
    """The items of N rows; those of a row are adjacent.

    Attributes:
        starts: (N,) int64, the first item of each row.
        counts: (N,) int64, the number of choices of each row.
        most: The most choices of any row, of all parts of a data set.
    """

    starts: torch.Tensor
    counts: torch.Tensor
    most: int

    @classmethod
    def of(cls, numbers: Sequence[int], *, most: int) -> ChoiceItems:
        """Returns the items of rows with so many choices each."""
        counts = torch.tensor(numbers, dtype=torch.int64)
        return cls(counts.cumsum(0) - counts, counts, most)

    def to(self, device: torch.device) -> ChoiceItems:
        """Returns them on a device."""
        return ChoiceItems(self.starts.to(device), self.counts.to(device), self.most)

    def of_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Returns the items of some rows (B,), row by row: (I,) int64."""
        places = self.starts[rows, None] + torch.arange(self.most, device=rows.device)
        return places[self._is_choice(rows)]

    def by_row(self, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Returns the logits of the choices of rows, -inf where a row has fewer than the most.

        Args:
            logits: (…, I, 1) of `of_rows(rows)`.
            rows: (B,) their indices.

        Returns:
            (…, B, most).
        """
        lead = logits.shape[:-2]
        matrix = logits.new_full((*lead, len(rows), self.most), -torch.inf)
        matrix[..., self._is_choice(rows)] = logits[..., 0]
        return matrix

    def repeat(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the values of rows for each of their items: (…, N) -> (…, items)."""
        return values.repeat_interleave(self.counts, dim=-1)

    def _is_choice(self, rows: torch.Tensor) -> torch.Tensor:
        """Returns which places of (B, most) hold a choice."""
        return torch.arange(self.most, device=rows.device) < self.counts[rows, None]
