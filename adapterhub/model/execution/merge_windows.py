"""Windows -> rows: a long text has several windows and gets one answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adapterhub.model.encoder.tokens import Row, Window
from adapterhub.model.heads.heads import Array


def mean_of_windows(
    values: Array,
    order: Sequence[Window],
    counts: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
) -> Array:
    """Returns the mean logits of the windows of each row in `places`: (windows, K) -> (N, K)."""
    rows = np.fromiter((window.row for window in order), np.int64, len(order))
    if len(rows) == len(places):
        by_row = np.argsort(rows)
        single: Array = values[by_row]
        return single
    firsts = np.fromiter((window.first for window in order), np.int64, len(order))
    by_row = np.lexsort((firsts, rows))
    own = counts[places]
    starts = np.cumsum(own) - own
    sums: Array = np.add.reduceat(values[by_row], starts, axis=0)
    mean: Array = np.divide(sums, own[:, None], dtype=np.float32)
    return mean


def tokens_of_rows(
    values: Array, order: Sequence[Window], rows: Sequence[Row]
) -> tuple[Array, ...]:
    """Returns each row's token logits, each token's from the window that shows most around it.

    Args:
        values: (P, K) of all windows, special tokens included.
        order: The windows in packed order.
        rows: All rows.
    """
    merged = [np.zeros((len(row.ids), values.shape[1]), np.float32) for row in rows]
    context = [np.full(len(row.ids), -1, np.int64) for row in rows]
    start = 0
    for window in order:
        size = window.last - window.first
        logits = values[start + 1 : start + 1 + size]  # after [CLS]
        start += len(window.ids)
        if size == len(rows[window.row].ids):
            merged[window.row] = logits
            continue
        places = np.arange(size)
        around = np.minimum(places, size - 1 - places)
        part = slice(window.first, window.last)
        better = around > context[window.row][part]
        merged[window.row][part][better] = logits[better]
        context[window.row][part][better] = around[better]
    return tuple(merged)
