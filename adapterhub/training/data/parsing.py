"""Records -> examples: validates every value."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from adapterhub.inputs import is_invisible
from adapterhub.rows.reading import SourceRow
from adapterhub.store.jsonsafe import shown
from adapterhub.training.data.columns import Columns
from adapterhub.training.data.records import Records, is_list
from adapterhub.training.data.tagging import Marks, TaggedWords, find_scheme
from adapterhub.training.data.values import (
    as_flag,
    is_flag,
    normalized,
    parts_of,
    plain,
    read_label,
    read_labels,
    read_number,
    read_tag,
    read_text,
    read_word,
)
from adapterhub.training.data.words.tree_rows import read_tree
from adapterhub.training.data.words.trees import ParsedWords

_log = logging.getLogger("adapterhub")

Truth = str | tuple[str, ...] | float | TaggedWords | ParsedWords


@dataclass(frozen=True, slots=True)
class Example:
    """One row with its target.

    Attributes:
        inputs: One string per field; empty for tagging and parsing, whose text is joined from the
            words.
        truth: A label, labels, a number, or tagged or parsed words.
    """

    inputs: tuple[str, ...]
    truth: Truth


def parse_records(records: Records, columns: Columns) -> list[Example]:
    """Returns the examples of all rows.

    Raises:
        DataError: A value is missing or invalid; names the line.
    """
    if columns.kind == "parsing":
        return [Example((), read_tree(records, record, columns)) for record in records.rows]
    if columns.kind == "tagging":
        try:
            marks = find_scheme(Counter(_tags(records, columns)))
        except ValueError as error:
            records.refuse(f"column '{columns.target}': {error}")
        return [_parse_words(records, record, columns, marks) for record in records.rows]
    read = _READERS[columns.kind]
    if columns.kind == "multi_label":
        _refuse_missing(records, columns)
    if columns.kind == "multi_label" and _are_indicators(records, columns):
        read = partial(_read_indicators, labels=columns.labels)
    return [_parse_texts(records, record, columns, read) for record in records.rows]


def _parse_texts(
    records: Records, record: SourceRow, columns: Columns, read: Callable[[object], Truth]
) -> Example:
    texts = []
    column = columns.target
    target = records.value(record, column)
    try:
        for column in columns.inputs:
            texts.append(read_text(records.value(record, column)))
        column = columns.target
        return Example(tuple(texts), read(target))
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
        records.refuse(
            'tokens and tags must be lists, such as ["Oslo", "is"] and ["B-place", "O"], in a '
            "CSV file also words with spaces between",
            record,
        )
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
    if is_invisible("".join(texts)):
        records.refuse("all tokens are spaces or other invisible signs", record)
    try:
        return Example((), TaggedWords(tuple(texts), marks([read_tag(tag) for tag in tags])))
    except ValueError as error:
        records.refuse(str(error), record)


_MISSING = ("nan", "none", "na", "n/a", "#n/a", "<na>", "null")


def _refuse_missing(records: Records, columns: Columns) -> None:
    """Refuses cells that say that a value is missing, where others hold lists.

    Raises:
        DataError: There is such a cell.
    """
    values = [record.values.get(columns.target) for record in records.rows]
    if not any(map(is_list, values)):
        return
    for record, value in zip(records.rows, values, strict=True):
        if isinstance(value, str) and value.strip().lower() in _MISSING:
            records.refuse(
                f"column '{columns.target}' is {shown(value)} where other rows have lists; write "
                f'[] for no label, or ["{value.strip()}"] if it is one',
                record,
            )


# Multi-label targets may be one 0 or 1 per label, instead of the labels that a text has.


def _are_indicators(records: Records, columns: Columns) -> bool:
    """Returns whether the rows have one 0 or 1 for each label of an existing task.

    Raises:
        DataError: They have one value per label, but which label each is for is not known.
    """
    values = [record.values.get(columns.target) for record in records.rows]
    rows = [parts for parts in map(parts_of, values) if parts]
    flags = bool(rows) and all(is_flag(part) for row in rows for part in row)
    sizes = {len(row) for row in rows}
    doubled = any(len(set(map(_key, row))) < len(row) for row in rows)
    if flags and columns.labels and sizes == {len(columns.labels)}:
        # Labels may be called 0 and 1 themselves; then a list without repetition is one of those.
        if doubled or not {"0", "1"} <= set(columns.labels):
            names = ", ".join(columns.labels[:8]) + (", …" if len(columns.labels) > 8 else "")
            _log.warning(
                "The 0 and 1 in column '%s' are read in the order of the task's labels: %s.",
                columns.target,
                names,
            )
            return True
    elif _are_vectors(rows, sizes, flags=flags, doubled=doubled):
        example = shown([plain(part) for part in rows[0]])
        records.refuse(
            f"column '{columns.target}' has one value per label, such as {example}, and does not "
            f"say which label each is for; write the names of the labels that a text has, such as "
            f'["sports", "politics"], and [] for none, or name each value, such as '
            f'{{"sports": 1, "politics": 0}}'
        )
    return False


def _read_indicators(value: object, *, labels: Sequence[str]) -> tuple[str, ...]:
    """Returns the labels whose place in a list holds 1.

    Args:
        value: Zeros and ones, one per label, or nothing.
        labels: The labels in order.
    """
    return tuple(
        label for label, flag in zip(labels, parts_of(value) or (), strict=False) if as_flag(flag)
    )


def _are_vectors(
    rows: Sequence[Sequence[object]], sizes: set[int], *, flags: bool, doubled: bool
) -> bool:
    """Returns whether lists hold one value per label: a set of labels holds each label once."""
    if flags:
        same = len(rows) > 1 and len({frozenset(map(_key, row)) for row in rows}) == 1
        # [1] and [0], and nothing but [1, 0] and [0, 1]; [3, 17] are numbers of labels.
        return doubled or (sizes == {1} and not same) or (sizes == {2} and same)
    if any(_is_flag_row(row) for row in rows):
        return True
    if not doubled or len(sizes) > 1:
        return False
    keys = {_key(part) for row in rows for part in row}
    return len(keys) <= 2 or all(isinstance(key, bool | int | float) for key in keys)


def _is_flag_row(row: Sequence[object]) -> bool:
    """Returns whether a row is zeros and ones, of which one is repeated."""
    return all(map(is_flag, row)) and len(set(map(_key, row))) < len(row)


def _key(value: object) -> Hashable:
    value = plain(value)
    if is_flag(value):
        return int(as_flag(value))
    if isinstance(value, str):
        return value.strip()
    return value if isinstance(value, Hashable) else id(value)
