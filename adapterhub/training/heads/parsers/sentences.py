"""Batches of sentences of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]

# Sentences are sorted by length within chunks of this many batches: like lengths share a batch,
# and batches still differ from epoch to epoch.
_SORTED_BATCHES = 16


def sentence_batches(
    sizes: Indices, rows: Sequence[int], *, units: int, draw: np.random.Generator | None = None
) -> Iterator[list[int]]:
    """Yields rows in batches of about `units` units with their padding; like lengths go together.

    Args:
        sizes: (N,) units of each row.
        rows: Which rows.
        units: Units per batch at most, unless a row alone has more.
        draw: Of a random order; None sorts all rows by length.
    """
    if draw is None:
        yield from _cut(sorted(rows, key=lambda row: int(sizes[row])), sizes, units)
        return
    order = [rows[place] for place in draw.permutation(len(rows)).tolist()]
    at_once = max(1, round(_SORTED_BATCHES * units / max(1.0, float(sizes[order].mean()))))
    batches: list[list[int]] = []
    for start in range(0, len(order), at_once):
        part = sorted(order[start : start + at_once], key=lambda row: int(sizes[row]))
        batches += _cut(part, sizes, units)
    for place in draw.permutation(len(batches)).tolist():
        yield batches[place]


def _cut(rows: Sequence[int], sizes: Indices, units: int) -> Iterator[list[int]]:
    """Yields parts of rows that are sorted by length; rows without units are left out."""
    batch: list[int] = []
    for row in rows:
        if not sizes[row]:
            continue
        if batch and int(sizes[row]) * (len(batch) + 1) > units:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
