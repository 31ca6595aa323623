"""Rows with one label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, cast

import numpy as np

from adapterhub.kinds import Kind
from adapterhub.training.data.columns import Columns, choice
from adapterhub.training.data.kinds.reader import Numbers, TextReader, Truth
from adapterhub.training.data.labels import Target
from adapterhub.training.data.records import Records
from adapterhub.training.data.values import read_label

_FEW_NUMBERS = 5


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
        if len(counts) > _FEW_NUMBERS and all(map(str.isdecimal, counts)):
            yield (
                f"The labels are {len(counts)} numbers, taken as classes without order; to predict "
                f"numbers, {choice('regression')}."
            )
