"""Rows of two texts that mean the same, or with how alike they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from adapterhub.kinds import KINDS, MetricName
from adapterhub.training.data.columns import TEXT_PAIR, Columns
from adapterhub.training.data.kinds.reader import Example, Numbers, Reader
from adapterhub.training.data.labels import Target
from adapterhub.training.data.records import Records
from adapterhub.training.data.values import as_flag, is_flag, read_number, read_text
from adapterhub.training.options import TrainingOptions

SAME, OTHER = 1.0, 0.0
"""The targets of pairs that mean the same, and of others; a pair without a target is the former."""
_OF_SCORES: tuple[MetricName, ...] = ("spearman",)


def are_scored(targets: Sequence[Target] | Numbers) -> bool:
    """Returns whether targets say how alike two texts are, not only whether they mean the same."""
    return any(float(str(target)) not in (SAME, OTHER) for target in targets)


class EmbeddingReader(Reader):
    """Reads pairs of texts, with a score, with a label of 0 or 1, or without either."""

    kind = "embedding"

    def claim(self, records: Records, options: TrainingOptions) -> str | None:
        """Returns the column of scores or labels, or an empty name where there is none."""
        if options.kind != self.kind:
            return None
        if options.target is not None:
            return options.target
        return next((name for name in KINDS[self.kind].targets if name in records.columns), "")

    def columns(self, columns: Columns, records: Records, options: TrainingOptions) -> Columns:
        """Returns the columns of both texts, also where the task is there and reads one of them.

        Raises:
            DataError: There is no second text.
        """
        pair = options.pair or TEXT_PAIR
        if pair not in records.columns:
            records.refuse(
                f"there is no column '{pair}', and an embedding is learned from pairs of texts "
                f"that mean the same; name the second text with the option pair (--pair COLUMN). "
                f"Columns are {', '.join(records.columns[:8])}"
            )
        return replace(columns, inputs=(options.text, pair))

    def parse(self, records: Records, columns: Columns) -> list[Example]:
        """Returns the examples of all rows; the pairs of one first text are a group."""
        examples = []
        for record in records.rows:
            texts, column = [], ""
            try:
                for column in columns.inputs:
                    texts.append(read_text(records.value(record, column)))
                column = columns.target
                truth = _read_target(records.value(record, column)) if column else SAME
            except ValueError as error:
                records.refuse(f"column '{column}' {error}", record)
            examples.append(Example(tuple(texts), truth, texts[0]))
        return examples

    def labels(
        self, inputs: Sequence[tuple[str, ...]], targets: Sequence[Target], records: Records
    ) -> tuple[str, ...]:
        """Returns no labels, and checks that there are texts that mean the same."""
        if are_scored(targets):
            if len(set(targets)) < 2:
                records.refuse(f"all training rows have the score {targets[0]!r}")
            return ()
        same = [row for row, target in zip(inputs, targets, strict=True) if target == SAME]
        if not any(first != second for first, second in same):
            what = "two equal texts" if same else "the score or label 0"
            records.refuse(
                f"no training row is a pair of different texts that mean the same: all "
                f"{len(targets):,} have {what}; nothing can be learned"
            )
        return ()

    def truth(self, targets: Sequence[Target], labels: Sequence[str]) -> Numbers:
        """Returns how alike the texts of each pair are: (N,) float32."""
        del labels
        return np.array(targets, np.float32)

    def metrics(self, targets: Sequence[Target]) -> tuple[MetricName, ...]:
        """Returns what targets tell: whether partners are found, or how cosines follow scores."""
        if are_scored(targets):
            return _OF_SCORES
        recalls = tuple(name for name in KINDS[self.kind].metrics if name not in _OF_SCORES)
        known = set(targets)
        return recalls * (SAME in known) + _OF_SCORES * ({SAME, OTHER} <= known)


def _read_target(value: object) -> float:
    """Returns how alike two texts are.

    Raises:
        ValueError: It is no number.
    """
    if is_flag(value):
        return SAME if as_flag(value) else OTHER
    try:
        return read_number(value)
    except ValueError as error:
        raise ValueError(
            f"{error}: 1 where the two texts mean the same and 0 where not, or how alike they are"
        ) from error
