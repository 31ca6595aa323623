"""Records -> examples: which columns are read, and what every value must be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TypeGuard

import numpy as np

from adapterhub.errors import UsageError
from adapterhub.inputs import text_problem
from adapterhub.rows.reading import SourceRow
from adapterhub.specs import Kind
from adapterhub.store.jsonsafe import shown
from adapterhub.training.options import TrainingOptions
from adapterhub.training.records import Records
from adapterhub.training.tagging import TaggedWords, are_word_labels, mark_words, repair_tags

# Scoring reads these fields whatever the columns of a training file are called, so that all
# tasks on one text share one pass.
TEXT = "text"
TEXT_PAIR = "text_pair"

_MAX_LABEL = 256
_LIST_SEPARATOR = "|"

Truth = str | tuple[str, ...] | float | TaggedWords
Marks = Callable[[Sequence[str]], tuple[str, ...]]
"""Makes BIO of the tags of one row."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What is read from each record.

    Attributes:
        kind: What the task answers.
        inputs: The text column, or two for a pair; for tagging the column of words.
        target: The column of the answer.
    """

    kind: Kind
    inputs: tuple[str, ...]
    target: str

    @property
    def fields(self) -> tuple[str, ...]:
        """Returns the fields that the task will read when it scores."""
        return (TEXT,) if len(self.inputs) == 1 else (TEXT, TEXT_PAIR)


@dataclass(frozen=True, slots=True)
class Example:
    """One row with its answer.

    Attributes:
        inputs: One string per field; empty for tagging, whose text is made of the words.
        truth: A label, labels, a number, or tagged words.
    """

    inputs: tuple[str, ...]
    truth: Truth


def find_columns(records: Records, options: TrainingOptions) -> Columns:
    """Returns which columns to read, by the options and the first row.

    Raises:
        DataError: A column is missing.
        UsageError: The kind cannot be told.
    """
    names = records.columns
    kind, target = _find_target(records, options)
    if kind == "tagging":
        inputs: tuple[str, ...] = (options.tokens,)
    elif options.pair is not None:
        inputs = (options.text, options.pair)
    else:
        inputs = (options.text, TEXT_PAIR) if TEXT_PAIR in names else (options.text,)
    for column in (*inputs, target):
        records.value(records.rows[0], column)
    return Columns(kind, inputs, target)


def parse_records(records: Records, columns: Columns) -> list[Example]:
    """Returns the examples of all rows.

    Raises:
        DataError: A value is missing or is not what it must be; names the line.
    """
    is_tagging = columns.kind == "tagging"
    # Of all rows, since one wrong row of entities shall not pass for one of word labels.
    marks = mark_words if is_tagging and are_word_labels(_tags(records, columns)) else repair_tags
    return [_parse(records, record, columns, marks) for record in records.rows]


def _tags(records: Records, columns: Columns) -> Iterator[str]:
    for record in records.rows:
        tags = records.value(record, columns.target)
        yield from map(str, tags if _is_list(tags) else ())


def _find_target(records: Records, options: TrainingOptions) -> tuple[Kind, str]:
    names = records.columns
    usual: dict[str, Kind] = {
        "label": "single_label",
        "labels": "multi_label",
        "score": "regression",
        "tags": "tagging",
    }
    target = options.target
    if target is None:
        found = [name for name in usual if name in names and _fits(usual[name], options)]
        if options.tokens in names and "tags" in names and options.kind in (None, "tagging"):
            found = ["tags"]
        if not found:
            wanted = next((n for n, kind in usual.items() if kind == options.kind), None)
            expected = f"'{wanted}'" if wanted else "'label', 'labels', 'score' or 'tags'"
            records.refuse(
                f"there is no column {expected} with the answers; columns are "
                f"{', '.join(names[:8])}. Say which one with the option target."
            )
        target = found[0]
    if options.kind is not None:
        return options.kind, target
    value = records.value(records.rows[0], target)
    return _kind_of(value, target, usual, tagged=options.tokens in names), target


def _fits(kind: Kind, options: TrainingOptions) -> bool:
    if options.kind in (None, kind):
        return True
    # Whole numbers or words may be read as another kind than their column's name says.
    return {options.kind, kind} <= {"single_label", "regression"}


def _kind_of(value: object, target: str, usual: dict[str, Kind], *, tagged: bool) -> Kind:
    if _is_list(value):
        return "tagging" if tagged else "multi_label"
    if isinstance(value, Real) and not isinstance(value, Integral):
        return "regression"
    if isinstance(value, str | Integral):
        kind = usual.get(target, "single_label")
        return "single_label" if kind == "tagging" else kind
    raise UsageError(
        f"The kind of task cannot be told from {shown(value)} in column '{target}'; "
        f"say it with the option kind."
    )


def _parse(records: Records, record: SourceRow, columns: Columns, marks: Marks) -> Example:
    target = records.value(record, columns.target)
    if columns.kind == "tagging":
        words = records.value(record, columns.inputs[0])
        return Example((), _tagged_words(records, record, words, target, marks))
    texts = []
    for column in columns.inputs:
        value = records.value(record, column)
        problem = text_problem(value)
        if problem is not None:
            records.refuse(f"column '{column}' {problem}", record)
        texts.append(str(value))
    try:
        if columns.kind == "regression":
            return Example(tuple(texts), _number(target))
        if columns.kind == "multi_label":
            return Example(tuple(texts), _labels(target))
        return Example(tuple(texts), _label(target))
    except ValueError as error:
        records.refuse(f"column '{columns.target}' {error}", record)


def _label(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        raise ValueError(
            f"is {shown(value)}, not a label; numbers to be predicted are kind 'regression'"
        )
    problem = text_problem(value)
    if problem is not None:
        raise ValueError(problem)
    label = str(value).strip()
    if len(label) > _MAX_LABEL:
        raise ValueError(f"is {len(label)} characters long; a label has {_MAX_LABEL} at most")
    return label


def _labels(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part for part in value.split(_LIST_SEPARATOR) if part.strip()]
    if not _is_list(value):
        raise ValueError(
            f"is {shown(value)}; expected a list of labels, or in a CSV file labels with "
            f"'{_LIST_SEPARATOR}' between them"
        )
    return tuple(dict.fromkeys(_label(part) for part in value))


def _number(value: object) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, str | Real):
        raise ValueError(f"is {shown(value)}; expected a number")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"is {shown(value)}; expected a number") from None
    if not math.isfinite(number):
        raise ValueError(f"is {number}; expected a finite number")
    return number


def _tagged_words(
    records: Records, record: SourceRow, words: object, tags: object, marks: Marks
) -> TaggedWords:
    if not _is_list(words) or not _is_list(tags):
        records.refuse("tokens and tags must be lists; a CSV file cannot hold them", record)
    if len(words) != len(tags):
        records.refuse(f"there are {len(words)} tokens, but {len(tags)} tags", record)
    if not len(words):
        records.refuse("there are no tokens", record)
    for index, word in enumerate(words):
        # A space can be a token of its own where text is tagged by character.
        problem = None if isinstance(word, str) and word.isspace() else text_problem(word)
        if problem is not None:
            records.refuse(f"token {index} {problem}", record)
    texts = tuple(str(word) for word in words)
    if all(text.isspace() for text in texts):
        records.refuse("all tokens are spaces", record)
    try:
        return TaggedWords(texts, marks([str(tag) for tag in tags]))
    except ValueError as error:
        records.refuse(str(error), record)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list | tuple | np.ndarray)
