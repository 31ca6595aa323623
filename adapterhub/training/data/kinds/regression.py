"""Rows with a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from adapterhub.training.data.columns import Columns
from adapterhub.training.data.kinds.reader import Numbers, TextReader, Truth
from adapterhub.training.data.labels import Target
from adapterhub.training.data.records import Records
from adapterhub.training.data.values import is_missing, is_number, read_number


class RegressionReader(TextReader):
    """Reads a number per text."""

    kind = "regression"

    def suits(self, values: Sequence[object]) -> bool:
        """Returns whether all values are numbers: a label beside a score is mostly none."""
        return all(is_number(value) or is_missing(value) for value in values)

    def reading(self, records: Records, columns: Columns) -> Callable[[object], Truth]:
        """Returns what reads the number of a row."""
        del records, columns
        return read_number

    def labels(
        self, inputs: Sequence[tuple[str, ...]], targets: Sequence[Target], records: Records
    ) -> tuple[str, ...]:
        """Returns no labels, and checks that the values differ."""
        del inputs
        if len(set(targets)) < 2:
            records.refuse(f"all training rows have the value {targets[0]!r}")
        if len(set(np.asarray(targets, dtype=np.float32))) < 2:
            records.refuse("the values differ by less than float32 resolves; subtract their mean")
        return ()

    def truth(self, targets: Sequence[Target], labels: Sequence[str]) -> Numbers:
        """Returns values: (N,) float32."""
        del labels
        return np.array(targets, np.float32)
