"""The reader of every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from adapterhub.kinds import Kind
from adapterhub.training.data.columns import Columns
from adapterhub.training.data.kinds.embedding import EmbeddingReader
from adapterhub.training.data.kinds.label_tree import LabelTreeReader
from adapterhub.training.data.kinds.multi_label import MultiLabelReader
from adapterhub.training.data.kinds.multiple_choice import MultipleChoiceReader
from adapterhub.training.data.kinds.numbers import NumbersReader
from adapterhub.training.data.kinds.ordinal import OrdinalReader
from adapterhub.training.data.kinds.parsing import ParsingReader
from adapterhub.training.data.kinds.prototype import PrototypeReader
from adapterhub.training.data.kinds.question_answering import QuestionAnsweringReader
from adapterhub.training.data.kinds.reader import Example, Reader
from adapterhub.training.data.kinds.regression import RegressionReader
from adapterhub.training.data.kinds.single_label import SingleLabelReader
from adapterhub.training.data.kinds.tagging import TaggingReader
from adapterhub.training.data.labels import Target
from adapterhub.training.data.records import Records
from adapterhub.training.options import TrainingOptions


class LabelledRows(Protocol):
    """Training rows: their texts, their targets, and how they are read."""

    @property
    def inputs(self) -> Sequence[tuple[str, ...]]:
        """Returns the texts of each row."""
        ...

    @property
    def targets(self) -> Sequence[Target]:
        """Returns the target of each row."""
        ...

    @property
    def columns(self) -> Columns | None:
        """Returns how they are read."""
        ...


READERS: Mapping[Kind, Reader] = {
    reader.kind: reader
    for reader in (
        SingleLabelReader(),
        MultiLabelReader(),
        RegressionReader(),
        TaggingReader(),
        ParsingReader(),
        MultipleChoiceReader(),
        QuestionAnsweringReader(),
        EmbeddingReader(),
        PrototypeReader(),
        LabelTreeReader(),
        OrdinalReader(),
        NumbersReader(),
    )
}


def parse_records(records: Records, columns: Columns) -> list[Example]:
    """Returns the examples of all rows.

    Raises:
        DataError: A value is missing or invalid; names the line.
    """
    return READERS[columns.kind].parse(records, columns)


def find_all_labels(
    kind: Kind, rows: LabelledRows, records: Records, options: TrainingOptions
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Returns the labels of a new task in the order of its outputs, and the label above each.

    Args:
        kind: Of the task.
        rows: All training rows.
        records: Where they come from, for messages.
        options: May give an order.

    Raises:
        DataError: The rows have no such labels, others than the options name, or make no tree.
        UsageError: Nothing says which order or tree.
    """
    reader = READERS[kind]
    names = reader.labels(rows.inputs, rows.targets, records)
    parents = reader.parents(names, rows.columns, records)
    inner = set(parents.values())
    leaves = tuple(name for name in names if name not in inner)
    return reader.in_order(leaves, records, options), parents
