"""Warnings about the rows that choose and measure: cross-validation, shared rows, few rows."""

from __future__ import annotations

from collections.abc import Iterator

from adapterhub.training.data.dataset import Splits
from adapterhub.training.data.splits import shared_rows
from adapterhub.training.options import FEWEST_HELD_OUT

# Below this share metrics hardly change: many sets have short texts, such as greetings, in both.
_SHARED = 0.01


def split_notes(splits: Splits) -> Iterator[str]:
    """Yields warnings about the validation set: cross-validation, shared rows, few rows."""
    rows = len(splits.validation)
    if splits.folds:
        yield (
            f"Chosen by cross-validation with {max(splits.folds) + 1} folds: each of the {rows} "
            f"rows was predicted by heads fitted on the other folds. The final head is fitted "
            f"on all rows."
        )
    elif splits.left_out is not None:
        yield _left_out(rows, len(splits.train))
    else:
        shared = shared_rows(splits.train.inputs, splits.validation.inputs)
        if shared >= max(1, rows * _SHARED):
            yield (
                f"{shared} of {rows} validation rows are also training rows (ignoring case, spaces "
                f"and the order of pairs), so the metrics are too optimistic."
            )
    if splits.test is not None:
        known = (*splits.train.inputs, *splits.validation.inputs)
        shared = shared_rows(known, splits.test.inputs)
        if shared >= max(1, len(splits.test) * _SHARED):
            yield (
                f"{shared} of {len(splits.test)} test rows are also training or validation rows "
                f"(ignoring case, spaces and the order of pairs), so the metrics are too "
                f"optimistic."
            )
    yield from splits.notes
    fewest = min(rows, rows if splits.test is None else len(splits.test))
    if 0 < fewest < FEWEST_HELD_OUT:
        yield (
            f"Few rows: the 95 % confidence interval of a metric on {fewest} rows is about "
            f"±{two_standard_errors(fewest):.0f} points; on 400 rows it is ±5, on 2,500 rows ±2."
        )


def _left_out(rows: int, examples: int) -> str:
    if not rows:
        return (
            "There are no figures: no label has two examples, of which one could be left out. "
            "Depth, pooling and temperature are the usual ones."
        )
    return (
        f"Leave-one-out: each of {rows:,} of the {examples:,} examples was predicted without "
        f"itself among the examples of its label."
    )


def two_standard_errors(rows: int) -> float:
    """Returns two standard errors, in points, of a rate on so many rows, at its maximum (0.5)."""
    return float(100 / rows**0.5)
