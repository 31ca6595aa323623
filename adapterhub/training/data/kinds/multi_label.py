"""Rows with any number of labels."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import cast

import numpy as np

from adapterhub.errors import UsageError
from adapterhub.store.jsonsafe import shown
from adapterhub.training.data.columns import ONE_EACH, Columns
from adapterhub.training.data.kinds.reader import Numbers, TextReader, Truth
from adapterhub.training.data.labels import Target
from adapterhub.training.data.records import Records, is_list
from adapterhub.training.data.values import (
    LIST_SEPARATOR,
    as_flag,
    find_separator,
    is_flag,
    parts_of,
    plain,
    read_labels,
)

_log = logging.getLogger("adapterhub")


class MultiLabelReader(TextReader):
    """Reads the labels of a text: a list, a cell that holds several, or zeros and ones."""

    kind = "multi_label"

    def check_values(self, values: Sequence[object], target: str) -> None:
        """Checks that no other separator than ours runs through the cells of a CSV file.

        Raises:
            UsageError: One does.
        """
        counts = Counter(value.strip() for value in values if isinstance(value, str))
        separator = find_separator(counts)
        if separator not in (None, LIST_SEPARATOR):
            raise UsageError(
                f"The labels in column '{target}' have {shown(separator)} between them; write "
                f"'{LIST_SEPARATOR}' instead, or {ONE_EACH}."
            )

    def reading(self, records: Records, columns: Columns) -> Callable[[object], Truth]:
        """Returns what reads the labels of a row."""
        _refuse_missing(records, columns)
        if _are_indicators(records, columns):
            return partial(_read_indicators, labels=columns.labels)
        return read_labels

    def truth(self, targets: Sequence[Target], labels: Sequence[str]) -> Numbers:
        """Returns which labels each row has: (N, K) float32 zeros and ones."""
        index = {label: place for place, label in enumerate(labels)}
        matrix = np.zeros((len(targets), len(labels)), np.float32)
        for row, target in enumerate(targets):
            matrix[row, [index[label] for label in cast("tuple[str, ...]", target)]] = 1
        return matrix


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
