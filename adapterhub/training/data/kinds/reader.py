"""How the labelled rows of a kind are read: their columns, values, labels and targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from adapterhub.kinds import KINDS, Kind, MetricName
from adapterhub.training.data.answers.answer_rows import AnswerSpan
from adapterhub.training.data.columns import Columns
from adapterhub.training.data.labels import Target, find_labels, first_of
from adapterhub.training.data.records import Records
from adapterhub.training.data.tagging import TaggedWords
from adapterhub.training.data.values import NamedNumber, read_text
from adapterhub.training.data.words.trees import ParsedWords
from adapterhub.training.options import TrainingOptions

Truth = (
    str
    | tuple[str, ...]
    | float
    | TaggedWords
    | ParsedWords
    | tuple[AnswerSpan, ...]
    | tuple[NamedNumber, ...]
)
Numbers = npt.NDArray[np.float32] | npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Example:
    """One row with its target.

    Attributes:
        inputs: One string per field; empty for tagging and parsing, whose text is joined from the
            words.
        truth: A label, labels, a number or several, tagged or parsed words, or answers.
        group: Rows of one group are all for training or all held out; empty where equal inputs are
            a group.
    """

    inputs: tuple[str, ...]
    truth: Truth
    group: str = ""


class Reader(ABC):
    """Reads the labelled rows of one kind."""

    kind: ClassVar[Kind]

    def claim(self, records: Records, options: TrainingOptions) -> str | None:
        """Returns the target if columns or options mean this kind, whatever the target holds.

        Args:
            records: The rows.
            options: Names of columns, and the kind.

        Raises:
            UsageError: They mean another kind too.
        """
        del records, options
        return None

    def suits(self, values: Sequence[object]) -> bool:
        """Returns whether a column of a usual name may be the target of this kind, when given."""
        del values
        return True

    def check_values(self, values: Sequence[object], target: str) -> None:
        """Checks the values of the column `target`, when the kind is given.

        Raises:
            UsageError: They are written in a form that would be read as something else.
        """
        del values, target

    def columns(self, columns: Columns, records: Records, options: TrainingOptions) -> Columns:
        """Returns which columns to read, given those of texts or words and of the target.

        Args:
            columns: Those that most kinds read.
            records: The rows.
            options: Names of columns.
        """
        del records, options
        return columns

    @abstractmethod
    def parse(self, records: Records, columns: Columns) -> list[Example]:
        """Returns the examples of all rows.

        Raises:
            DataError: A value is missing or invalid; names the line.
        """

    def labels(
        self, inputs: Sequence[tuple[str, ...]], targets: Sequence[Target], records: Records
    ) -> tuple[str, ...]:
        """Returns the labels of a task, in the order of its outputs.

        Args:
            inputs: Of all training rows.
            targets: Of all training rows.
            records: Where they come from, for messages.

        Raises:
            DataError: All targets are equal, or there are too many different ones.
        """
        del inputs
        return find_labels(self.kind, targets, records)

    def parents(
        self, names: Sequence[str], columns: Columns | None, records: Records
    ) -> dict[str, str]:
        """Returns the tree in which the labels of a new task stand: the label above each.

        Args:
            names: The labels.
            columns: How rows are read.
            records: Where they come from, for messages.

        Raises:
            DataError: They make no tree.
            UsageError: Nothing says which tree.
        """
        del names, columns, records
        return {}

    def in_order(
        self, labels: tuple[str, ...], records: Records, options: TrainingOptions
    ) -> tuple[str, ...]:
        """Returns the labels of a task in the order that they mean.

        Args:
            labels: As `labels` returns them.
            records: Where they come from, for messages.
            options: May give the order.

        Raises:
            DataError: The options do not name all of them.
            UsageError: The order cannot be known.
        """
        del records, options
        return labels

    def truth(self, targets: Sequence[Target], labels: Sequence[str]) -> Numbers:
        """Returns targets as numbers, as `Dataset.truth` has them.

        Raises:
            TypeError: They are of words.
        """
        del labels
        raise TypeError(f"the {len(targets)} targets of a {self.kind} task are not one per row")

    def metrics(self, targets: Sequence[Target]) -> tuple[MetricName, ...]:
        """Returns the metrics that can choose among candidates, the default first.

        Args:
            targets: Of all training rows.
        """
        del targets
        return KINDS[self.kind].metrics

    def doubts(self, counts: Mapping[str, int]) -> Iterator[str]:
        """Yields what labels, with their rows, may be meant for otherwise."""
        del counts
        yield from ()


class TextReader(Reader):
    """Reads rows of a text or a pair with one value each."""

    def parse(self, records: Records, columns: Columns) -> list[Example]:
        """Returns the examples of all rows."""
        read = self.reading(records, columns)
        examples = []
        for record in records.rows:
            texts = []
            column = columns.target
            target = records.value(record, column)
            try:
                for column in columns.inputs:
                    texts.append(read_text(records.value(record, column)))
                column = columns.target
                examples.append(Example(tuple(texts), read(target)))
            except ValueError as error:
                records.refuse(f"column '{column}' {error}", record)
        return examples

    @abstractmethod
    def reading(self, records: Records, columns: Columns) -> Callable[[object], Truth]:
        """Returns what reads the target of a row; it raises ValueError for a value that is none.

        Raises:
            DataError: The targets of all rows cannot be read so.
        """


def check_named(labels: Sequence[str], records: Records, options: TrainingOptions) -> None:
    """Checks that the option `labels`, where it is given, names all labels of the training rows.

    Raises:
        DataError: It does not.
    """
    given = options.labels
    other = next((label for label in labels if label not in given), None)
    if given and other is not None:
        records.refuse(
            f"the training rows have '{other}', which the option labels does not name; it names "
            + first_of(given)
        )
