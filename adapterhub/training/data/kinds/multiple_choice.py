"""Rows of a prompt and choices, with the place of the right choice as the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from adapterhub.choices.answers import read_answers
from adapterhub.choices.columns import (
    CHOICES,
    PROMPT,
    ChoiceColumns,
    choice_fields,
    find_choice_columns,
)
from adapterhub.choices.rows import ChoiceRow, read_choice_row
from adapterhub.inputs import missing_field
from adapterhub.kinds import KINDS
from adapterhub.rows.reading import SourceRow
from adapterhub.training.data.columns import Columns
from adapterhub.training.data.kinds.reader import Example, Numbers, Reader
from adapterhub.training.data.labels import Target
from adapterhub.training.data.records import Records, is_list
from adapterhub.training.data.values import plain
from adapterhub.training.options import TrainingOptions

_ANSWERS = "answers"


class MultipleChoiceReader(Reader):
    """Reads prompt, choices, and which of them is right: by place, by letter or by text."""

    kind = "multiple_choice"

    def claim(self, records: Records, options: TrainingOptions) -> str | None:
        """Returns the target of rows of a prompt and choices that have no text.

        A column of texts is what all other kinds read, so that they stay what they were.
        """
        names = records.columns
        if options.kind not in (None, self.kind):
            return None
        if options.kind is None and (options.text in names or options.tokens in names):
            return None
        found = find_choice_columns(names, _names(records, options))
        if not found.are_there:
            return None
        if options.kind is None and _may_be_spans(found, records):
            return None
        usual = (name for name in KINDS[self.kind].targets if name in names)
        return options.target or next(usual, None)

    def columns(self, columns: Columns, records: Records, options: TrainingOptions) -> Columns:
        """Returns the columns of prompt and choices.

        Raises:
            DataError: They are not there.
        """
        names = _names(records, options)
        found = find_choice_columns(records.columns, names)
        if not found.are_there:
            records.refuse(missing_field(names[bool(found.prompt)], records.rows[0].values))
        inputs = (*found.prompt, *found.choices)
        return replace(columns, inputs=inputs, choices=found, choice_names=names)

    def parse(self, records: Records, columns: Columns) -> list[Example]:
        """Returns the examples of all rows."""
        rows = [_read_row(records, record, columns) for record in records.rows]
        values = [plain(records.value(record, columns.target)) for record in records.rows]
        try:
            places = read_answers(values, rows)
        except ValueError as error:
            records.refuse(f"column '{columns.target}' {error}")
        for record, place in zip(records.rows, places, strict=True):
            if isinstance(place, str):
                records.refuse(f"column '{columns.target}' {place}", record)
        return [Example(row.inputs, str(place)) for row, place in zip(rows, places, strict=True)]

    def labels(
        self, inputs: Sequence[tuple[str, ...]], targets: Sequence[Target], records: Records
    ) -> tuple[str, ...]:
        """Returns no labels."""
        del inputs, targets, records
        return ()

    def truth(self, targets: Sequence[Target], labels: Sequence[str]) -> Numbers:
        """Returns the places of the right choices: (N,) int64."""
        del labels
        return np.array([int(str(target)) for target in targets], np.int64)


def _names(records: Records, options: TrainingOptions) -> tuple[str, ...]:
    """Returns the names by which the columns of prompt and choices are found."""
    text = options.text if "text" in options.model_fields_set else None
    given = {PROMPT: text, CHOICES: options.pair}
    return tuple(choice_fields(given, {}, records.columns).values())


def _may_be_spans(found: ChoiceColumns, records: Records) -> bool:
    """Returns whether the column of choices is called as that of answers to questions.

    Then only texts of which there are several are choices: answers have starts, or are alone.
    """
    if found.choices != (_ANSWERS,):
        return False
    value = records.rows[0].values.get(_ANSWERS)
    texts = value if is_list(value) else ()
    return len(texts) < 2 or not all(isinstance(text, str) for text in texts)


def _read_row(records: Records, record: SourceRow, columns: Columns) -> ChoiceRow:
    row = read_choice_row(record.values, columns.choice_names)
    if isinstance(row, str):
        records.refuse(row, record)
    return row
