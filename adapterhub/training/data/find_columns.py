"""Which columns are read, and the kind of task that they make."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from adapterhub.cells import is_unread_list
from adapterhub.errors import UsageError
from adapterhub.kinds import KINDS, USUAL_TARGETS, Kind, KindRow
from adapterhub.store.jsonsafe import shown
from adapterhub.training.data.columns import ONE_EACH, TEXT, TEXT_PAIR, Columns, choice
from adapterhub.training.data.kinds.table import READERS
from adapterhub.training.data.records import Records, is_list
from adapterhub.training.data.values import (
    LIST_SEPARATOR,
    NUMBER,
    are_decimal_commas,
    find_separator,
    is_flag,
    is_missing,
    is_number,
    plain,
    values_of,
)
from adapterhub.training.options import TrainingOptions

_ROLES = "the text (or tokens), its pair, the heads, the target"


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
    columns = Columns(kind, _inputs(records, options, kind, fields), target)
    columns = READERS[kind].columns(columns, records, options)
    _check_options(options, KINDS[kind])
    used = columns.used
    for column in used:
        records.value(records.rows[0], column)
        if used.count(column) > 1:
            raise UsageError(f"Column '{column}' would be read as two things of: {_ROLES}.")
    placed = columns.placed or ()
    return replace(columns, unread=_unread(records, (*used, *placed, options.split_column)))


def _check_options(options: TrainingOptions, row: KindRow) -> None:
    """Checks that options of some kinds are not given for another one.

    Raises:
        UsageError: One is.
    """
    fits: dict[str, Callable[[KindRow], bool]] = {
        "value_range": lambda one: one.has_range or one.names_numbers,
        "dimensions": lambda one: one.of_vectors,
        "tree": lambda one: one.has_tree,
        "parents": lambda one: one.has_tree,
        "labels": lambda one: one.names_labels,
    }
    for name, of_kind in fits.items():
        if getattr(options, name) not in (None, (), {}) and not of_kind(row):
            kinds = " and ".join(one.name for one in KINDS.values() if of_kind(one))
            raise UsageError(f"Option {name} is for {kinds}, but the data make {row.a_task}.")


def _inputs(
    records: Records, options: TrainingOptions, kind: Kind, fields: Sequence[str] | None
) -> tuple[str, ...]:
    """Returns the column of words, that of the text, or those of a pair."""
    if KINDS[kind].of_words:
        return (options.tokens,)
    if KINDS[kind].fields == (1,) and not KINDS[kind].of_vectors:
        if options.pair is not None:
            raise UsageError(f"Option pair is for two texts; {KINDS[kind].a_task} reads one.")
        return (options.text,)
    if options.pair is not None:
        return (options.text, options.pair)
    # Of any row: without it in the first one, the second text of all others would be ignored.
    is_pair = fields != (TEXT,) and any(TEXT_PAIR in one.values for one in records.rows)
    return (options.text, TEXT_PAIR) if is_pair else (options.text,)


def _unread(records: Records, used: Sequence[str | None]) -> tuple[str, ...]:
    names = (name for record in records.rows for name in record.values)
    return tuple(name for name in dict.fromkeys(str(plain(n)) for n in names) if name not in used)


def _find_target(records: Records, options: TrainingOptions) -> tuple[Kind, str]:
    for kind, reader in READERS.items():
        claimed = reader.claim(records, options)
        if claimed is not None:
            return kind, claimed
    target = options.target or _usual_target(records, options)
    values = values_of(records, target)
    if options.kind is not None:
        READERS[options.kind].check_values(values, target)
        return options.kind, target
    records.value(records.rows[0], target)
    if target in (options.text, options.pair):
        raise UsageError(f"Column '{target}' would be read as two things of: {_ROLES}.")
    return _kind_of(values, target, tagged=options.tokens in records.columns), target


def _usual_target(records: Records, options: TrainingOptions) -> str:
    """Returns the target among the usual names, those that suit the kind first.

    Raises:
        DataError: None is there.
    """
    names = records.columns
    if options.tokens in names and "tags" in names and options.kind in (None, "tagging"):
        return "tags"
    usual = tuple(USUAL_TARGETS) if options.kind is None else KINDS[options.kind].targets
    found = [name for name in usual if name in names]
    if not found:
        expected = (
            f"{', '.join(map(repr, usual[:-1]))} or {usual[-1]!r}" if usual[1:] else repr(*usual)
        )
        hint = "; kinds that read other columns are given by name (--kind)"
        if options.kind is not None:
            several = KINDS[options.kind].names_numbers
            hint = ", or a column for each number (--target a,b)" if several else ""
        records.refuse(
            f"there is no target column {expected}; columns are {', '.join(names[:8])}. "
            f"Name it with the option target (--target COLUMN){hint}."
        )
    if options.kind is None:
        return found[0]
    suits = READERS[options.kind].suits
    return next((name for name in found if suits(values_of(records, name))), found[0])


# More different numbers than this may be values as well as labels.
_MOST_NUMBERS = 20
# Numbers as people write them, which only a person can tell from labels.
_WRITTEN_NUMBER = re.compile(r"[-+\u2212]?\s*[$€£¥]?\s*\d[\d.,'\u00a0\u202f ]*\s*[%$€£¥]?")


def _kind_of(values: Sequence[object], target: str, *, tagged: bool) -> Kind:
    """Returns the kind of task, from the name of the target and from all of its values.

    Raises:
        UsageError: They say nothing, or not the same.
    """
    found = [value for value in values if not is_missing(value)]
    value = found[0] if found else None
    if isinstance(value, Mapping) and not all(map(_has_flags, found)):
        raise UsageError(
            f"Column '{target}' holds numbers with names, such as {shown(value)}; "
            f"{choice('numbers')}."
        )
    if is_list(value) or isinstance(value, Mapping | set | frozenset):
        return "tagging" if tagged else "multi_label"
    if not isinstance(value, str | int | float):
        raise UsageError(
            f"The kind of task cannot be determined from {shown(value)} in column '{target}'; "
            f"{choice(*KINDS)}."
        )
    usual = USUAL_TARGETS.get(target)
    if usual == "regression":
        _check_values(found, target)
        return usual
    if usual == "multi_label":
        _check_sets(values, target)
        return usual
    if all(map(is_number, found)):
        return _kind_of_numbers(found, target, is_label=usual == "single_label")
    _check_labels([value for value in found if isinstance(value, str)], target)
    return "single_label"


def _has_flags(value: object) -> bool:
    """Returns whether a mapping says of labels whether a row has them, or is none at all."""
    numbers = isinstance(value, Mapping) and all(map(is_number, value.values()))
    return not numbers or all(map(is_flag, cast("Mapping[str, object]", value).values()))


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
            f'be read; write ["a", "b"] and {choice("multi_label")}, or {ONE_EACH}.'
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
            f"or {ONE_EACH}."
        )
    if len(counts) > max(_MOST_NUMBERS, len(texts) / 2):
        raise UsageError(
            f"Column '{target}' holds {len(counts)} different texts in {len(texts)} rows, such as "
            f"{shown(texts[0])}, which do not look like labels; name another column with the "
            f"option target, or {ONE_EACH}."
        )


def _check_written_numbers(counts: Mapping[str, int], target: str, *, decimal: bool) -> None:
    """Checks that labels are not mostly numbers, some of which are written as people do.

    Raises:
        UsageError: They are.
    """
    numbers = [text for text in counts if _WRITTEN_NUMBER.fullmatch(text)]
    rows = sum(counts[number] for number in numbers)
    if (decimal or len(numbers) > _MOST_NUMBERS) and 2 * rows >= sum(counts.values()):
        odd = next((text for text in counts if not NUMBER.fullmatch(text)), None)
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
        is_list(value) or is_missing(value) or (isinstance(value, str) and LIST_SEPARATOR in value)
        for value in values
    )
    READERS["multi_label"].check_values(values, target)
    if not several:
        found = [value for value in values if not is_missing(value)]
        numbers: tuple[Kind, ...] = ("regression",) if all(map(is_number, found)) else ()
        raise UsageError(
            f"Column '{target}' holds one label per row, such as {shown(values[0])}; "
            f"{choice(*numbers, 'single_label', 'multi_label')}."
        )
