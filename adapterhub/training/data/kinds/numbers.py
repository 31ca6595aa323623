"""Rows with several numbers, each with a name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np

from adapterhub.rows.source_row import SourceRow
from adapterhub.training.data.columns import Columns
from adapterhub.training.data.kinds.reader import Numbers, TextReader, Truth, check_named
from adapterhub.training.data.labels import Target, find_labels, names_of
from adapterhub.training.data.records import Records
from adapterhub.training.data.values import NamedNumber, read_numbers
from adapterhub.training.options import TrainingOptions


class NumbersReader(TextReader):
    """Reads the numbers of a text: a mapping, a list, or one column for each."""

    kind = "numbers"

    def columns(self, columns: Columns, records: Records, options: TrainingOptions) -> Columns:
        """Returns which columns to read, with the names of numbers that are listed without."""
        del records
        return replace(columns, labels=options.labels)

    def reading(self, records: Records, columns: Columns) -> Callable[[object], Truth]:
        """Returns what reads the numbers of a row."""
        del records
        return partial(read_numbers, names=columns.labels)

    def labels(
        self, inputs: Sequence[tuple[str, ...]], targets: Sequence[Target], records: Records
    ) -> tuple[str, ...]:
        """Returns the names in the order in which they come, and checks that values differ."""
        del inputs

        def ordered(found: Iterable[str]) -> tuple[str, ...]:
            del found
            return tuple(dict.fromkeys(name for target in targets for name in names_of(target)))

        names = find_labels(self.kind, targets, records, ordered=ordered)
        for name, values in zip(names, self.truth(targets, names).T, strict=True):
            if len(np.unique(values[~np.isnan(values)])) < 2:
                records.refuse(
                    f"all training rows that have '{name}' have the same value, up to what "
                    f"float32 resolves; nothing can be learned of it",
                    next((row for row in records.rows if name in _names_in(row)), None),
                )
        return names

    def in_order(
        self, labels: tuple[str, ...], records: Records, options: TrainingOptions
    ) -> tuple[str, ...]:
        """Returns the names in the order of the option, if it is given."""
        check_named(labels, records, options)
        missing = [name for name in options.labels if name not in labels]
        if missing:
            records.refuse(f"no training row has '{missing[0]}', which the option labels names")
        return options.labels or labels

    def truth(self, targets: Sequence[Target], labels: Sequence[str]) -> Numbers:
        """Returns values: (N, K) float32, NaN where a row lacks one."""
        index = {label: place for place, label in enumerate(labels)}
        matrix = np.full((len(targets), len(labels)), np.nan, np.float32)
        for row, target in enumerate(targets):
            for one in cast("tuple[NamedNumber, ...]", target):
                matrix[row, index[one.name]] = one.value
        return matrix


def _names_in(row: SourceRow) -> Iterator[str]:
    for value in row.values.values():
        with contextlib.suppress(ValueError):
            yield from (one.name for one in read_numbers(value, ()))
