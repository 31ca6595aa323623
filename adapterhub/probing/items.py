"""What probes predict: the items of the splits, by the tokens that each one reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Split = Literal["training", "choosing", "measuring"]

SPLITS: tuple[Split, ...] = get_args(Split)
"""Rows that train; rows that choose epoch and regularisation; rows that measure."""

ROOT = -1
"""The label of a word whose head is the root."""
NO_LABEL = -2
"""The label of a word that may be the head of others but is itself not predicted."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ProbeItems:
    """The items of one split: what M predictions read, and their labels.

    Attributes:
        lengths: (N,) tokens of each text, special ones included, in the order of the texts.
        places: (M, S) token indices that each item reads, among all tokens of the split: S is 1
            for a word, 2 for a word and its head. None where the mean over all tokens of a text is
            read; then M is N.
        sentences: (M,) the text of each item, ascending.
        labels: (M,) the label's index. Where heads are predicted, the index of the head among the
            items of the same text, `ROOT` or `NO_LABEL`.
        control: (M,) the same for the control task.
        types: (M,) the item's type: all of one type have the same label in the control task.
        novel: (M,) bool, whether the item's type is not in the training rows.
    """

    lengths: Indices
    places: Indices | None
    sentences: Indices
    labels: Indices
    control: Indices
    types: Indices
    novel: npt.NDArray[np.bool_]

    @property
    def items(self) -> int:
        """Returns the number M of items."""
        return len(self.labels)

    @property
    def predicted(self) -> int:
        """Returns the number of items that have a label."""
        return int((self.labels != NO_LABEL).sum())

    @property
    def tokens(self) -> int:
        """Returns the number of tokens of the split."""
        return int(self.lengths.sum())
