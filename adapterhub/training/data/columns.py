"""Which columns are read, and the kind of task that they make."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapterhub.errors import UsageError
from adapterhub.rows.cells import is_unread_list
from adapterhub.specs import KINDS, TOKEN_KINDS, Kind, Role
from adapterhub.store.jsonsafe import shown
from adapterhub.training.data.records import Records, is_list
from adapterhub.training.data.values import (
    LIST_SEPARATOR,
    are_decimal_commas,
    find_separator,
    plain,
)
from adapterhub.training.options import TrainingOptions

# Scoring reads these fields whatever the columns of a training file are called, so that all
# tasks on one text share one pass.
TEXT = "text"
TEXT_PAIR = "text_pair"
OFFSETS = "offsets"
"""The column of the start and end of each word in the text."""
HEADS = "head"
"""The usual column of heads."""
RELATIONS = "deprel"
"""The usual column of the relations of words to their heads."""
_ROLES = "the text (or tokens), its pair, the heads, the target"


@dataclass(frozen=True, slots=True)
class Columns:
    """What is read from each record.

    Attributes:
        kind: Kind of the task.
        inputs: The text column, or two for a pair; for tagging the column of words.
        target: The column of the target.
        labels: Those of an existing task, in its order; empty for a new one.
        unread: All other columns.
        hints: What some of them may be meant for; see `summary`.
        heads: Parsing: the column of heads; empty otherwise.
        placed: Parsing: the column of texts, if there is any, and that of the offsets of words.
    """

    kind: Kind
    inputs: tuple[str, ...]
    target: str
    labels: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    heads: str = ""
    placed: tuple[str, str] | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """Returns the input fields of the task in scoring."""
        return (TEXT,) if len(self.inputs) == 1 else (TEXT, TEXT_PAIR)

    @property
    def roles(self) -> dict[Role, str]:
        """Returns the column that is read, by what it is."""
        roles: tuple[Role, ...] = ("tokens",) if self.kind in TOKEN_KINDS else ("text", "pair")
        heads: dict[Role, str] = {"heads": self.heads} if self.heads else {}
        return {**dict(zip(roles, self.inputs, strict=False)), **heads, "target": self.target}


def find_columns(
    records: Records, options: TrainingOptions, fields: Sequence[str] | None = None
) -> Columns:
    """Returns which columns to read, by the options, the names, and the target's values.

    Args:
        records: The rows.
        options: Names of columns, and the kind.
        fields: Those of an existing task; one of a single text reads no pair. None for a new one.

    Raises:
        DataError: A column is missing.
        UsageError: The kind cannot be determined, or the options do not fit it.
    """
    kind, target = _find_target(records, options)
    if kind in TOKEN_KINDS:
        inputs: tuple[str, ...] = (options.tokens,)
    elif options.pair is not None:
        inputs = (options.text, options.pair)
    else:
        # Of any row: without it in the first one, the second text of all others would be ignored.
        is_pair = fields != (TEXT,) and any(TEXT_PAIR in one.values for one in records.rows)
        inputs = (options.text, TEXT_PAIR) if is_pair else (options.text,)
    if options.value_range is not None and kind != "regression":
        raise UsageError(f"Option value_range is for regression, but the data make a {kind} task.")
    heads = options.heads if kind == "parsing" else ""
    used = (*inputs, heads, target) if heads else (*inputs, target)
    for column in used:
        records.value(records.rows[0], column)
        if used.count(column) > 1:
            raise UsageError(f"Column '{column}' would be read as two things of: {_ROLES}.")
    placed = _placed_words(records, options) if heads else None
    unread = _unread(records, (*used, *(placed or ()), options.split_column))
    return Columns(kind, inputs, target, unread=unread, heads=heads, placed=placed)


def _placed_words(records: Records, options: TrainingOptions) -> tuple[str, str] | None:
    """Returns the columns of texts and of the offsets of words; None where there is no text."""
    has_text = any(options.text in record.values for record in records.rows)
    return (options.text, OFFSETS) if has_text else None


def _unread(records: Records, used: Sequence[str | None]) -> tuple[str, ...]:
    names = (name for record in records.rows for name in record.values)
    return tuple(name for name in dict.fromkeys(str(plain(n)) for n in names) if name not in used)


USUAL: dict[str, Kind] = {
    "label": "single_label",
    "labels": "multi_label",
    "score": "regression",
    "tags": "tagging",
}
"""Kinds by the usual names of their targets."""


def _find_target(records: Records, options: TrainingOptions) -> tuple[Kind, str]:
    target = options.target
    if options.kind is None and options.heads != HEADS:  # who names heads means a tree
        return "parsing", target or RELATIONS
    if target is None and _are_trees(records, options):
        return "parsing", RELATIONS
    if target is None:
        target = _usual_target(records, options)
    values = [plain(record.values.get(target)) for record in records.rows]
    if options.kind is not None:
        if options.kind == "multi_label":
            _check_separator(values, target)
        return options.kind, target
    records.value(records.rows[0], target)
    if target in (options.text, options.pair):
        raise UsageError(f"Column '{target}' would be read as two things of: {_ROLES}.")
    return _kind_of(values, target, tagged=options.tokens in records.columns), target


def _are_trees(records: Records, options: TrainingOptions) -> bool:
    """Returns whether rows of words without a target are dependency trees.

    Raises:
        UsageError: They have heads and tags, and neither kind nor target is given.
    """
    names = records.columns
    has_trees = {options.tokens, options.heads, RELATIONS} <= set(names)
    if options.kind is not None:
        return has_trees and options.kind == "parsing"
    if has_trees and "tags" in names:
        raise UsageError(
            f"The rows have tags and dependency trees; {choice('tagging', 'parsing')}."
        )
    # A label beside the words of a text was the target before there was parsing, and still is.
    return has_trees and not any(name in names for name in USUAL)


def _usual_target(records: Records, options: TrainingOptions) -> str:
    """Returns the target among the usual names, those that suit the kind first.

    Raises:
        DataError: None is there.
    """
    names = records.columns
    if options.tokens in names and "tags" in names and options.kind in (None, "tagging"):
        return "tags"
    usual = tuple(USUAL) if options.kind is None else _NAMES[options.kind]
    found = [name for name in usual if name in names]
    if not found:
        expected = (
            f"{', '.join(map(repr, usual[:-1]))} or {usual[-1]!r}" if usual[1:] else repr(*usual)
        )
        records.refuse(
            f"there is no target column {expected}; columns are {', '.join(names[:8])}. "
            f"Name it with the option target (--target COLUMN)."
        )
    if options.kind == "regression":
        # A label beside a score is mostly no number.
        for name in found:
            values = [plain(record.values.get(name)) for record in records.rows]
            if all(_is_number(value) or _is_missing(value) for value in values):
                return name
    return found[0]


_NAMES: Mapping[Kind, tuple[str, ...]] = {
    "single_label": ("label", "labels", "tags", "score"),
    "multi_label": ("labels", "label", "tags"),
    "regression": ("label", "score", "labels"),
    "tagging": ("tags",),
    "parsing": (RELATIONS,),
}
"""Usual names of targets by a kind that is given."""


# More different numbers than this may be values as well as labels.
_MOST_NUMBERS = 20
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
# Numbers as people write them, which only a person can tell from labels.
_WRITTEN_NUMBER = re.compile(r"[-+\u2212]?\s*[$€£¥]?\s*\d[\d.,'\u00a0\u202f ]*\s*[%$€£¥]?")


def _kind_of(values: Sequence[object], target: str, *, tagged: bool) -> Kind:
    """Returns the kind of task, from the name of the target and from all of its values.

    Raises:
        UsageError: They say nothing, or not the same.
    """
    found = [value for value in values if not _is_missing(value)]
    value = found[0] if found else None
    if is_list(value) or isinstance(value, Mapping | set | frozenset):
        return "tagging" if tagged else "multi_label"
    if not isinstance(value, str | int | float):
        raise UsageError(
            f"The kind of task cannot be determined from {shown(value)} in column '{target}'; "
            f"{choice(*KINDS)}."
        )
    usual = USUAL.get(target)
    if usual == "regression":
        _check_values(found, target)
        return usual
    if usual == "multi_label":
        _check_sets(values, target)
        return usual
    if all(map(_is_number, found)):
        return _kind_of_numbers(found, target, is_label=usual == "single_label")
    _check_labels([value for value in found if isinstance(value, str)], target)
    return "single_label"


def _kind_of_numbers(numbers: Sequence[object], target: str, *, is_label: bool) -> Kind:
    """Returns the kind of numbers: fractions are values, few whole numbers are labels.

    Raises:
        UsageError: They may be either.
    """
    distinct = {float(str(number)) for number in numbers}
    fraction = next((number for number in numbers if not float(str(number)).is_integer()), None)
    if fraction is None and len(distinct) <= _MOST_NUMBERS:
        return "single_label"
    if fraction is not None:
        typed = not any(isinstance(number, str) for number in numbers)
        if typed or (not is_label and len(distinct) > _MOST_NUMBERS):
            return "regression"
    example = shown(numbers[0] if fraction is None else fraction)
    raise UsageError(
        f"Column '{target}' holds {len(distinct)} different numbers, such as {example}, which may "
        f"be values or labels; {choice('regression', 'single_label')}."
    )


def _check_labels(texts: Sequence[str], target: str) -> None:
    """Checks that texts are labels, one per row.

    Raises:
        UsageError: They look like numbers, like several labels, or like anything else.
    """
    counts = Counter(map(str.strip, texts))
    unread = next(filter(is_unread_list, counts), None)
    if unread is not None:
        raise UsageError(
            f"Column '{target}' holds values such as {shown(unread)}, which is a list that cannot "
            f'be read; write ["a", "b"] and {choice("multi_label")}, or {_ONE_EACH}.'
        )
    separator = find_separator(counts)
    # The separator of 28 numbered labels, as in `3,14`, is none within numbers.
    decimal = separator == "," and are_decimal_commas(counts)
    if decimal or separator is None:
        _check_written_numbers(counts, target, decimal=decimal)
    if separator is not None:
        joined = next(text for text in counts if separator in text)
        how = "" if separator == LIST_SEPARATOR else f" and write '{LIST_SEPARATOR}' instead"
        raise UsageError(
            f"Column '{target}' holds values such as {shown(joined)}, which look like several "
            f"labels with {shown(separator)} between them; {choice('multi_label')}{how}, "
            f"or {_ONE_EACH}."
        )
    if len(counts) > max(_MOST_NUMBERS, len(texts) / 2):
        raise UsageError(
            f"Column '{target}' holds {len(counts)} different texts in {len(texts)} rows, such as "
            f"{shown(texts[0])}, which do not look like labels; name another column with the "
            f"option target, or {_ONE_EACH}."
        )


def _check_written_numbers(counts: Mapping[str, int], target: str, *, decimal: bool) -> None:
    """Checks that labels are not mostly numbers, some of which are written as people do.

    Raises:
        UsageError: They are.
    """
    numbers = [text for text in counts if _WRITTEN_NUMBER.fullmatch(text)]
    rows = sum(counts[number] for number in numbers)
    if (decimal or len(numbers) > _MOST_NUMBERS) and 2 * rows >= sum(counts.values()):
        odd = next((text for text in counts if not _NUMBER.fullmatch(text)), None)
        raise UsageError(
            f"Column '{target}' holds {len(numbers)} different numbers, such as '{numbers[0]}', "
            f"but {shown(odd)} is not written as one; correct such rows and "
            f"{choice('regression', 'single_label')}."
        )


def _check_values(values: Sequence[object], target: str) -> None:
    """Checks that a column called `score` holds numbers, at least mostly.

    Raises:
        UsageError: It does not.
    """
    others = [value for value in values if isinstance(value, str) and value.strip().isalpha()]
    if 2 * len(others) > len(values) and len(set(others)) > 1:
        raise UsageError(
            f"Column '{target}' holds {shown(others[0])}, which is no number; write numbers, such "
            f"as 3.5, or {choice('single_label')}."
        )


def _check_sets(values: Sequence[object], target: str) -> None:
    """Checks that cells of a column called `labels` hold several with our separator, or none.

    Raises:
        UsageError: Each holds one.
    """
    several = any(
        is_list(value) or _is_missing(value) or (isinstance(value, str) and LIST_SEPARATOR in value)
        for value in values
    )
    _check_separator(values, target)
    if not several:
        found = [value for value in values if not _is_missing(value)]
        numbers: tuple[Kind, ...] = ("regression",) if all(map(_is_number, found)) else ()
        raise UsageError(
            f"Column '{target}' holds one label per row, such as {shown(values[0])}; "
            f"{choice(*numbers, 'single_label', 'multi_label')}."
        )


def _check_separator(values: Sequence[object], target: str) -> None:
    """Checks that no other separator than ours runs through the cells of a CSV file.

    Raises:
        UsageError: One does.
    """
    counts = Counter(value.strip() for value in values if isinstance(value, str))
    separator = find_separator(counts)
    if separator not in (None, LIST_SEPARATOR):
        raise UsageError(
            f"The labels in column '{target}' have {shown(separator)} between them; write "
            f"'{LIST_SEPARATOR}' instead, or {_ONE_EACH}."
        )


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value.strip()) is not None
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_missing(value: object) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def choice(*kinds: Kind) -> str:
    """Returns what to write to choose one of some kinds."""
    flags = [f"--kind {kind} (in Python kind='{kind}')" for kind in kinds]
    return f"choose {', '.join(flags[:-1])}{' or ' if flags[1:] else ''}{flags[-1]}"


_ONE_EACH = "--kind single_label (in Python kind='single_label') if each is one label"
