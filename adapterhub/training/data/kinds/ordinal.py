"""Rows with one of several labels that have an order, such as stars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from adapterhub.errors import UsageError
from adapterhub.training.data.kinds.reader import check_named
from adapterhub.training.data.kinds.single_label import SingleLabelReader
from adapterhub.training.data.labels import order_of
from adapterhub.training.data.records import Records
from adapterhub.training.options import TrainingOptions

_MOST_SHOWN = 8


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
            shown = ", ".join(labels[:_MOST_SHOWN]) + (", …" if labels[_MOST_SHOWN:] else "")
            raise UsageError(
                f"The order of the labels {shown} is not known, since they are not the same words "
                f"with different numbers; give all of them from the lowest to the highest, such as "
                f"--labels bad,ok,good (in Python labels=('bad', 'ok', 'good'))."
            )
        return order

    def doubts(self, counts: Mapping[str, int]) -> Iterator[str]:
        """Yields nothing: the order is known."""
        del counts
        yield from ()
