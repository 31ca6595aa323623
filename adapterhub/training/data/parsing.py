"""Records -> examples: chooses the columns, validates every value, and lists the labels."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from unicodedata import normalize

import numpy as np

from adapterhub.errors import UsageError
from adapterhub.inputs import is_invisible, text_problem
from adapterhub.rows.reading import SourceRow
from adapterhub.specs import MAX_LABELS, Kind
from adapterhub.store.jsonsafe import shown
from adapterhub.training.data.records import Records, is_list
from adapterhub.training.data.tagging import (
    Span,
    TaggedWords,
    are_word_labels,
    mark_words,
    repair_tags,
    tag_labels,
)
from adapterhub.training.options import TrainingOptions

# Scoring reads these fields whatever the columns of a training file are called, so that all
# tasks on one text share one pass.
TEXT = "text"
TEXT_PAIR = "text_pair"
_ROLES = "the text (or tokens), its pair, the target"


@dataclass(frozen=True, slots=True)
class Columns:
    """What is read from each record.

    Attributes:
        kind: Kind of the task.
        inputs: The text column, or two for a pair; for tagging the column of words.
        target: The column of the target.
    """

    kind: Kind
    inputs: tuple[str, ...]
    target: str

    @property
    def fields(self) -> tuple[str, ...]:
        """Returns the input fields of the task in scoring."""
        return (TEXT,) if len(self.inputs) == 1 else (TEXT, TEXT_PAIR)


def find_columns(records: Records, options: TrainingOptions) -> Columns:
    """Returns which columns to read, by the options, the names, and the first row's target.

    Raises:
        DataError: A column is missing.
        UsageError: The kind cannot be determined, or the options do not fit it.
    """
    kind, target = _find_target(records, options)
    if kind == "tagging":
        inputs: tuple[str, ...] = (options.tokens,)
    elif options.pair is not None:
        inputs = (options.text, options.pair)
    else:
        # Of any row: without it in the first one, the second text of all others would be ignored.
        is_pair = any(TEXT_PAIR in record.values for record in records.rows)
        inputs = (options.text, TEXT_PAIR) if is_pair else (options.text,)
    if options.value_range is not None and kind != "regression":
        raise UsageError(f"Option value_range is for regression, but the data make a {kind} task.")
    used = (*inputs, target)
    for column in used:
        records.value(records.rows[0], column)
        if used.count(column) > 1:
            raise UsageError(f"Column '{column}' would be read as two things of: {_ROLES}.")
    return Columns(kind, inputs, target)


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
                f"there is no target column {expected}; columns are {', '.join(names[:8])}. "
                f"Name it with the option target."
            )
        target = found[0]
    if options.kind is not None:
        return options.kind, target
    records.value(records.rows[0], target)
    values = (record.values.get(target) for record in records.rows)
    value = next((value for value in values if value is not None), None)
    return _kind_of(value, target, usual, tagged=options.tokens in names), target


def _fits(kind: Kind, options: TrainingOptions) -> bool:
    if options.kind in (None, kind):
        return True
    # Integers may be labels or values, whatever their column's name suggests.
    return {options.kind, kind} <= {"single_label", "regression"}


def _kind_of(value: object, target: str, usual: dict[str, Kind], *, tagged: bool) -> Kind:
    if is_list(value):
        return "tagging" if tagged else "multi_label"
    if isinstance(value, Real) and not isinstance(value, Integral):
        return "regression"
    if isinstance(value, str | Integral):
        kind = usual.get(target, "single_label")
        return "single_label" if kind == "tagging" else kind
    raise UsageError(
        f"The kind of task cannot be determined from {shown(value)} in column '{target}'; "
        f"set the option kind."
    )


_MAX_LABEL = 256
_MAX_TAG = _MAX_LABEL - len("B-")
_LIST_SEPARATOR = "|"
_LARGEST = 1e15
"""Largest regression target: its square is far within float32 too."""

Truth = str | tuple[str, ...] | float | TaggedWords
Marks = Callable[[Sequence[str]], tuple[str, ...]]
"""Converts the tags of one row to BIO."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row with its target.

    Attributes:
        inputs: One string per field; empty for tagging, whose text is joined from the words.
        truth: A label, labels, a number, or tagged words.
    """

    inputs: tuple[str, ...]
    truth: Truth


def parse_records(records: Records, columns: Columns) -> list[Example]:
    """Returns the examples of all rows.

    Raises:
        DataError: A value is missing or invalid; names the line.
    """
    is_tagging = columns.kind == "tagging"
    # By all rows, so that one invalid row of entities is not taken for word labels.
    marks = mark_words if is_tagging and are_word_labels(_tags(records, columns)) else repair_tags
    return [_parse(records, record, columns, marks) for record in records.rows]


def _tags(records: Records, columns: Columns) -> Iterator[str]:
    for record in records.rows:
        tags = records.value(record, columns.target)
        yield from (str(tag).strip() for tag in (tags if is_list(tags) else ()))


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
        # A table with an empty cell has whole numbers as 1.0.
        if not float(value).is_integer():
            raise ValueError(
                f"is {shown(value)}, not a label; to predict numbers, use kind 'regression'"
            )
        return str(int(float(value)))
    problem = text_problem(value)
    if problem is not None:
        raise ValueError(problem)
    # The same label, however its accents are encoded.
    label = normalize("NFC", str(value).strip())
    if len(label) > _MAX_LABEL:
        raise ValueError(f"is {len(label)} characters long; a label has {_MAX_LABEL} at most")
    return label


def _labels(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part for part in value.split(_LIST_SEPARATOR) if part.strip()]
    if not is_list(value):
        raise ValueError(
            f"is {shown(value)}; expected a list of labels, or in a CSV file labels separated by "
            f"'{_LIST_SEPARATOR}'"
        )
    return tuple(dict.fromkeys(_label(part) for part in value))


def _number(value: object) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, str | Real):
        raise ValueError(f"is {shown(value)}; expected a number")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"is {shown(value)}; expected a number") from None
    if isinstance(value, str) and "_" in value:
        raise ValueError(f"is {shown(value)}; expected a number")
    if not math.isfinite(number):
        raise ValueError(f"is {number}; expected a finite number")
    if abs(number) > _LARGEST:
        raise ValueError(f"is {number}; the largest absolute value is {_LARGEST:g}")
    return number


def _tagged_words(
    records: Records, record: SourceRow, words: object, tags: object, marks: Marks
) -> TaggedWords:
    if not is_list(words) or not is_list(tags):
        records.refuse("tokens and tags must be lists; a CSV file cannot hold them", record)
    if len(words) != len(tags):
        records.refuse(f"there are {len(words)} tokens, but {len(tags)} tags", record)
    if not len(words):
        records.refuse("there are no tokens", record)
    for index, word in enumerate(words):
        # A space can be a token where text is tagged by character, a direction mark elsewhere.
        blank = isinstance(word, str) and word != "" and is_invisible(word)
        problem = None if blank else text_problem(word)
        if problem is not None:
            records.refuse(f"token {index} {problem}", record)
    texts = tuple(str(word) for word in words)
    if is_invisible("".join(texts)):
        records.refuse("all tokens are spaces or other invisible signs", record)
    try:
        return TaggedWords(texts, marks([_tag(tag) for tag in tags]))
    except ValueError as error:
        records.refuse(str(error), record)


def _tag(value: object) -> str:
    if not isinstance(value, str):
        hint = "; write the names of tags, not their numbers" if isinstance(value, Integral) else ""
        raise ValueError(f"the tag {shown(value)} is no text{hint}")
    tag = value.strip()
    if len(tag) > _MAX_TAG:
        raise ValueError(f"a tag is {len(tag)} characters long; {_MAX_TAG} are allowed")
    return tag


Target = str | tuple[str, ...] | float | tuple[Span, ...]


def labels_of(target: Target) -> tuple[str, ...]:
    """Returns the labels of one target; for tagging its entity types as `B-x`."""
    if isinstance(target, str):
        return (target,)
    if isinstance(target, tuple):
        return tuple(f"B-{part.entity}" if isinstance(part, Span) else part for part in target)
    return ()


def find_labels(kind: Kind, targets: Sequence[Target], records: Records) -> tuple[str, ...]:
    """Returns the labels of a task, in the order of its outputs.

    Args:
        kind: Kind of the task.
        targets: Of all training rows.
        records: Where they come from, for messages.

    Raises:
        DataError: All targets are equal, or there are too many different ones.
    """
    found = {label for target in targets for label in labels_of(target)}
    if kind == "regression":
        if len(set(targets)) < 2:
            records.refuse(f"all training rows have the value {targets[0]!r}")
        if len(set(np.asarray(targets, dtype=np.float32))) < 2:
            records.refuse("the values differ by less than float32 resolves; subtract their mean")
        return ()
    fewest = 2 if kind == "single_label" else 1
    if len(found) < fewest:
        names = f"only the label '{next(iter(found))}'" if found else "no labels at all"
        records.refuse(f"the training rows hold {names}; nothing can be learned")
    labels = tag_labels(found) if kind == "tagging" else tuple(sorted(found, key=_naturally))
    if len(labels) > MAX_LABELS:
        records.refuse(
            f"the training rows hold {len(labels)} labels, at most {MAX_LABELS} are allowed; if "
            f"they are numbers to be predicted, the kind is 'regression'"
        )
    return labels


def _naturally(label: str) -> list[tuple[bool, int, str]]:
    # Natural order, "2" before "10": digits compare as numbers, and come before letters.
    parts = re.findall(r"([0-9]+)|([^0-9]+)", label)
    return [(not digits, int(digits or 0), digits or other) for digits, other in parts]
