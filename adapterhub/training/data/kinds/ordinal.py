"""Rows with one of several labels that have an order, such as stars."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

from adapterhub.errors import UsageError
from adapterhub.kinds import KINDS
from adapterhub.rows.source_row import SourceRow
from adapterhub.training.data.kinds.reader import check_named
from adapterhub.training.data.kinds.single_label import SingleLabelReader
from adapterhub.training.data.labels import first_of, order_of
from adapterhub.training.data.records import Records
from adapterhub.training.data.values import read_label
from adapterhub.training.options import TrainingOptions


class OrdinalReader(SingleLabelReader):
    """Reads a label per text; the order is that of the option `labels` or of their numbers."""

    kind = "ordinal"

    def in_order(
        self, labels: tuple[str, ...], records: Records, options: TrainingOptions
    ) -> tuple[str, ...]:
        """Returns the labels from the lowest to the highest."""
        check_named(labels, records, options)
        order = options.labels or order_of(labels)
        if not order:
            _refuse_odd(labels, records, options)
            raise UsageError(
                f"The order of the labels {first_of(labels)} is not known, since they are not the "
                f"same words with different numbers; give all of them from the lowest to the "
                f"highest, such as --labels bad,ok,good (in Python labels=('bad', 'ok', 'good'))."
            )
        return order

    def doubts(self, counts: Mapping[str, int]) -> Iterator[str]:
        """Yields nothing: the order is known."""
        del counts
        yield from ()


def _refuse_odd(labels: tuple[str, ...], records: Records, options: TrainingOptions) -> None:
    """Refuses the one label, if any, without which the others have an order.

    Raises:
        DataError: There is one; names a row that has it.
    """
    for label in labels:
        others = order_of(other for other in labels if other != label)
        if len(others) > 1:
            names = KINDS["ordinal"].targets if options.target is None else (options.target,)
            rows = (row for row in records.rows if label in _labels_in(row, names))
            records.refuse(
                f"the label '{label}' has no place in the order of the others, "
                f"{first_of(others)}; correct it, or give all labels from the "
                f"lowest to the highest with the option labels (--labels bad,ok,good)",
                next(rows, None),
            )


def _labels_in(row: SourceRow, columns: Iterable[str]) -> Iterator[str]:
    for column in columns:
        with contextlib.suppress(ValueError):
            yield read_label(row.values.get(column))
