"""The reader of every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapterhub.kinds import Kind
from adapterhub.training.data.columns import Columns
from adapterhub.training.data.kinds.embedding import EmbeddingReader
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


def ordered_labels(
    kind: Kind,
    inputs: Sequence[tuple[str, ...]],
    targets: Sequence[Target],
    records: Records,
    options: TrainingOptions,
) -> tuple[str, ...]:
    """Returns the labels of a new task in the order of its outputs.

    Raises:
        DataError: The rows make no labels, or others than the options name.
        UsageError: The order cannot be known.
    """
    reader = READERS[kind]
    return reader.in_order(reader.labels(inputs, targets, records), records, options)
