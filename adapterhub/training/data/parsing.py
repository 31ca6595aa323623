"""Records -> examples: validates every value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from unicodedata import normalize

import numpy as np

from adapterhub.inputs import text_problem
from adapterhub.rows.reading import SourceRow
from adapterhub.store.jsonsafe import shown
from adapterhub.training.data.columns import Columns
from adapterhub.training.data.records import Records, is_list
from adapterhub.training.data.tagging import TaggedWords, are_word_labels, mark_words, repair_tags

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
        # A space can be a token where text is tagged by character.
        problem = None if isinstance(word, str) and word.isspace() else text_problem(word)
        if problem is not None:
            records.refuse(f"token {index} {problem}", record)
    texts = tuple(str(word) for word in words)
    if all(text.isspace() for text in texts):
        records.refuse("all tokens are spaces", record)
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
