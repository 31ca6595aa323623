"""The reader of every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapterhub.kinds import Kind
from adapterhub.training.data.columns import Columns
from adapterhub.training.data.kinds.embedding import EmbeddingReader
from adapterhub.training.data.kinds.label_tree import LabelTreeReader
from adapterhub.training.data.kinds.multi_label import MultiLabelReader
from adapterhub.training.data.kinds.multiple_choice import MultipleChoiceReader
from adapterhub.training.data.kinds.parsing import ParsingReader
from adapterhub.training.data.kinds.prototype import PrototypeReader
from adapterhub.training.data.kinds.question_answering import QuestionAnsweringReader
from adapterhub.training.data.kinds.reader import Example, Reader
from adapterhub.training.data.kinds.regression import RegressionReader
from adapterhub.training.data.kinds.single_label import SingleLabelReader
from adapterhub.training.data.kinds.tagging import TaggingReader
from adapterhub.training.data.labels import Target
from adapterhub.training.data.records import Records

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
    )
}


def parse_records(records: Records, columns: Columns) -> list[Example]:
    """Returns the examples of all rows.

    Raises:
        DataError: A value is missing or invalid; names the line.
    """
    return READERS[columns.kind].parse(records, columns)


def find_all_labels(
    kind: Kind,
    inputs: Sequence[tuple[str, ...]],
    targets: Sequence[Target],
    columns: Columns | None,
    records: Records,
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Returns the labels of a new task, of a tree its leaves, and the label above each.

    Args:
        kind: Of the task.
        inputs: Of all training rows.
        targets: Of all training rows.
        columns: How rows are read.
        records: Where they come from, for messages.

    Raises:
        DataError: The rows have no such labels, or they make no tree.
        UsageError: Nothing says which tree.
    """
    names = READERS[kind].labels(inputs, targets, records)
    parents = READERS[kind].parents(names, columns, records)
    inner = set(parents.values())
    return tuple(name for name in names if name not in inner), parents
