"""Rows with one label."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, cast

import numpy as np

from adapterhub.kinds import Kind
from adapterhub.training.data.columns import Columns, choice
from adapterhub.training.data.kinds.reader import Numbers, TextReader, Truth
from adapterhub.training.data.labels import Target, order_of
from adapterhub.training.data.records import Records
from adapterhub.training.data.values import read_label

_FEW_NUMBERS = 5
_FEWEST_STEPS = 3
_STARS = re.compile("stars?|\u661f", re.IGNORECASE)


class SingleLabelReader(TextReader):
    """Reads a label per text."""

    kind: ClassVar[Kind] = "single_label"

    def reading(self, records: Records, columns: Columns) -> Callable[[object], Truth]:
        """Returns what reads the label of a row."""
        del records, columns
        return read_label

    def truth(self, targets: Sequence[Target], labels: Sequence[str]) -> Numbers:
        """Returns label indices: (N,) int64."""
        index = {label: place for place, label in enumerate(labels)}
        return np.array([index[cast("str", target)] for target in targets], np.int64)

    def doubts(self, counts: Mapping[str, int]) -> Iterator[str]:
        """Yields what labels, with their rows, may be meant for otherwise."""
        if len(counts) < _FEWEST_STEPS or not order_of(counts):
            return
        if all(map(str.isdecimal, counts)):
            many = f"; to predict numbers, {choice('regression')}" * (len(counts) > _FEW_NUMBERS)
            yield (
                f"The labels are {len(counts)} numbers, taken as classes without order{many}; if "
                f"they have an order, as stars do, {choice('ordinal')}."
            )
        elif all(map(_STARS.search, counts)):
            yield f"The labels are taken as classes without order; for theirs, {choice('ordinal')}."
