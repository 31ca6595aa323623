"""What a training run says of its rows: how the choice is made, and what figures are worth."""

from __future__ import annotations

from collections.abc import Iterator

from adapterhub.training.data import Splits
from adapterhub.training.options import FEWEST_HELD_OUT
from adapterhub.training.splits import shared_rows

# Of less, a figure hardly moves: short texts such as greetings occur in both parts of many sets.
_SHARED = 0.01


def split_notes(splits: Splits) -> Iterator[str]:
    """Yields how the choice is made, where rows are few, and what its figures are worth."""
    rows = len(splits.validation)
    if splits.folds:
        yield (
            f"Chosen by cross-validation: heads fitted on the other {max(splits.folds)} of "
            f"{max(splits.folds) + 1} parts answered each of the {rows} rows. The head that is "
            f"kept was fitted on all of them."
        )
    else:
        shared = shared_rows(splits.train.inputs, splits.validation.inputs)
        if shared >= max(1, rows * _SHARED):
            yield (
                f"{shared} of {rows} validation rows are training rows too (but for case, spaces "
                f"and the order of pairs), so figures on them flatter."
            )
    if rows < FEWEST_HELD_OUT:
        yield (
            f"Few rows: figures on {rows} rows can be off by {doubt(rows):.0f} points; on 400 "
            f"rows by {doubt(400):.0f}, on 2,500 by {doubt(2_500):.0f}."
        )


def doubt(rows: int) -> float:
    """Returns how many points a rate on a number of rows can be off: two standard errors."""
    return float(100 / rows**0.5)
