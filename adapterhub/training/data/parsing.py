"""Records -> examples: validates every value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from adapterhub.rows.reading import SourceRow
from adapterhub.training.data.columns import Columns
from adapterhub.training.data.records import Records, is_list
from adapterhub.training.data.tagging import Marks, TaggedWords, find_scheme
from adapterhub.training.data.values import (
    normalized,
    read_label,
    read_labels,
    read_number,
    read_tag,
    read_text,
    read_word,
)

Truth = str | tuple[str, ...] | float | TaggedWords


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
    if columns.kind == "tagging":
        try:
            marks = find_scheme(Counter(_tags(records, columns)))
        except ValueError as error:
            records.refuse(f"column '{columns.target}': {error}")
        return [_parse_words(records, record, columns, marks) for record in records.rows]
    return [_parse_texts(records, record, columns) for record in records.rows]


def _parse_texts(records: Records, record: SourceRow, columns: Columns) -> Example:
    texts = []
    column = columns.target
    target = records.value(record, column)
    try:
        for column in columns.inputs:
            texts.append(read_text(records.value(record, column)))
        column = columns.target
        return Example(tuple(texts), _READERS[columns.kind](target))
    except ValueError as error:
        records.refuse(f"column '{column}' {error}", record)


_READERS: dict[str, Callable[[object], Truth]] = {
    "single_label": read_label,
    "multi_label": read_labels,
    "regression": read_number,
}


def _tags(records: Records, columns: Columns) -> Iterator[str]:
    for record in records.rows:
        tags = records.value(record, columns.target)
        texts = (tag for tag in (tags if is_list(tags) else ()) if isinstance(tag, str))
        yield from map(normalized, texts)


def _parse_words(records: Records, record: SourceRow, columns: Columns, marks: Marks) -> Example:
    tags = records.value(record, columns.target)
    words = records.value(record, columns.inputs[0])
    if not is_list(words) or not is_list(tags):
        records.refuse("tokens and tags must be lists; a CSV file cannot hold them", record)
    if len(words) != len(tags):
        records.refuse(f"there are {len(words)} tokens, but {len(tags)} tags", record)
    if not len(words):
        records.refuse("there are no tokens", record)
    texts = []
    for index, word in enumerate(words):
        try:
            texts.append(read_word(word))
        except ValueError as error:
            records.refuse(f"token {index} {error}", record)
    if all(text.isspace() for text in texts):
        records.refuse("all tokens are spaces", record)
    try:
        return Example((), TaggedWords(tuple(texts), marks([read_tag(tag) for tag in tags])))
    except ValueError as error:
        records.refuse(str(error), record)
