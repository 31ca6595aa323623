"""Cells of the target and of tokens -> lists, which CSV and TSV can only hold as texts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from adapterhub.rows.cells import cell_value
from adapterhub.rows.source_row import SourceRow
from adapterhub.training.data.records import Records
from adapterhub.training.options import TrainingOptions

_TARGETS = ("label", "labels", "score", "tags")
_TAGS = "tags"

_log = logging.getLogger("adapterhub")


def read_lists(records: Records, options: TrainingOptions) -> Records:
    """Returns the records with lists in the place of cells that hold one.

    Only the columns of the target and of tokens are read so: a text may look like a list. Tokens
    and tags of a file may also be words with spaces between. Labels with scores, as scoring
    predicts them, become the labels.

    Raises:
        DataError: Labels with scores are all of a task's, so that they do not say which a row has.
    """
    names = (options.target,) if options.target is not None else _TARGETS
    columns = [name for name in (*names, options.tokens) if name not in _texts(options)]
    rows = [
        _with(row, {name: _cell(row.values.get(name)) for name in columns}) for row in records.rows
    ]
    tags = options.target or _TAGS
    # In rows from Python a text in the place of a list is more likely a mistake.
    if records.by_line and (options.kind == "tagging" or (not options.kind and tags == _TAGS)):
        rows = [_with(row, _words(row, (options.tokens, tags))) for row in rows]
    for name in names:
        rows = _without_scores(replace(records, rows=tuple(rows)), name)
    return replace(records, rows=tuple(rows))


def _texts(options: TrainingOptions) -> tuple[str | None, ...]:
    return options.text, options.pair, options.split_column


def _with(row: SourceRow, values: Mapping[str, object]) -> SourceRow:
    changed = {
        name: value
        for name, value in values.items()
        if name in row.values and value is not row.values[name]
    }
    return replace(row, values={**row.values, **changed}) if changed else row


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = cell_value(str.__str__(value))
    return value if found is None else found


def _words(row: SourceRow, columns: Sequence[str]) -> dict[str, object]:
    """Returns the words of tokens and tags that are texts with spaces between the words."""
    values = [row.values.get(column) for column in columns]
    if not all(isinstance(value, str) for value in values):
        return {}
    return {name: str(value).split() for name, value in zip(columns, values, strict=True)}


def _without_scores(records: Records, column: str) -> list[SourceRow]:
    """Returns the rows with labels in the place of predictions, which have scores too."""
    found = [row.values.get(column) for row in records.rows]
    lists = [value for value in found if isinstance(value, list | tuple)]
    items = [item for value in lists for item in value]
    if not items or not all(map(_is_prediction, items)):
        return list(records.rows)
    if len(lists) > 1 and {len(value) for value in lists} != {1} and _are_equal(map(len, lists)):
        records.refuse(
            f"column '{column}' lists {len(lists[0])} labels with their scores in every row, as "
            f"scoring with top_k (--top-k, --all) does, which does not say which of them a text "
            f"has; score without it"
        )
    _log.warning(
        "The labels with scores in column '%s' are predictions; all that a row lists are taken for "
        "its labels.",
        column,
    )
    return [
        _with(row, {column: [_label_of(item) for item in value]})
        if isinstance(value, list | tuple)
        else row
        for row, value in zip(records.rows, found, strict=True)
    ]


def _label_of(item: object) -> object:
    return item["label"] if isinstance(item, Mapping) else item


def _is_prediction(item: object) -> bool:
    return isinstance(item, Mapping) and set(item) == {"label", "score"}


def _are_equal(sizes: Iterable[int]) -> bool:
    return len(set(sizes)) == 1
