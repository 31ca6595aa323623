"""Rows of a prompt and choices as pairs of texts, and the logits of pairs as those of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapterhub.choices.rows import choice_counts, choice_pairs

Array = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class RowChoices:
    """N rows of a prompt and choices, as M pairs of the prompt and one choice.

    Attributes:
        pairs: The pairs, row by row.
        choices: The choices of each row.
        counts: (N,) their number.
    """

    pairs: Sequence[tuple[str, ...]]
    choices: tuple[tuple[str, ...], ...]
    counts: Places

    @classmethod
    def of(cls, inputs: Sequence[tuple[str, ...]]) -> RowChoices:
        """Returns rows of strings, the prompt first."""
        counts = np.array(choice_counts(inputs), np.int64)
        return cls(choice_pairs(inputs), tuple(row[1:] for row in inputs), counts)

    @property
    def starts(self) -> Places:
        """Returns the first pair of each row: (N,) int64."""
        starts: Places = np.cumsum(self.counts) - self.counts
        return starts

    def rows_of(self, pairs: Sequence[int]) -> tuple[int, ...]:
        """Returns the rows whose pairs these are; a row has all of its pairs among them or none."""
        found = np.isin(self.starts, np.asarray(pairs, np.int64))
        return tuple(np.flatnonzero(found).tolist())

    def split(self, values: Array, rows: Sequence[int]) -> tuple[Array, ...]:
        """Returns the logits of each row: the (m, K) of the pairs of some rows -> (choices, K)."""
        if not rows:
            return ()
        return tuple(np.split(values, np.cumsum(self.counts[list(rows)])[:-1]))


def padded(values: Sequence[Array]) -> Array:
    """Returns the first logit of each choice, -inf where a row has fewer: (N, most choices) fp32.

    Args:
        values: Of each row, (choices, 1).
    """
    counts = np.array(list(map(len, values)), np.int64)
    matrix = np.full((len(counts), int(counts.max(initial=0))), -np.inf, np.float32)
    if len(counts):
        matrix[np.arange(matrix.shape[1]) < counts[:, None]] = np.concatenate(values)[:, 0]
    return matrix
