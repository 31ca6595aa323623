"""Rows with one label, few of each, or a sentence that describes a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from adapterhub.kinds import Kind
from adapterhub.training.data.columns import DESCRIPTION, TEXT, Columns
from adapterhub.training.data.kinds.single_label import SingleLabelReader
from adapterhub.training.data.records import Records
from adapterhub.training.options import TrainingOptions

_MANY = 50


class PrototypeReader(SingleLabelReader):
    """Reads a label per text, or per description where there are no texts."""

    kind: ClassVar[Kind] = "prototype"

    def columns(self, columns: Columns, records: Records, options: TrainingOptions) -> Columns:
        """Returns which columns to read: descriptions where there is no column of texts."""
        names = records.columns
        is_given = "text" in options.model_fields_set
        if is_given or TEXT in names or DESCRIPTION not in names:
            return columns
        return replace(columns, inputs=(DESCRIPTION,))

    def doubts(self, counts: Mapping[str, int]) -> Iterator[str]:
        """Yields that trained heads are better where there are many examples."""
        yield from super().doubts(counts)
        label, most = max(counts.items(), key=lambda one: one[1])
        if most > _MANY:
            yield (
                f"The label {label!r} has {most:,} examples. From about {_MANY} a label on, a head "
                f"that is trained (--kind single_label) is mostly better."
            )
