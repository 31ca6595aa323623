"""What was read of a data set, as is said before training: columns, labels, rows, and doubts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, cast

from adapterhub.errors import UsageError
from adapterhub.kinds import KINDS, USUAL_TARGETS, Kind
from adapterhub.training.data.columns import Columns, choice
from adapterhub.training.data.kinds.table import READERS
from adapterhub.training.data.labels import Target, names_of, near_equal
from adapterhub.training.data.records import Records, is_list
from adapterhub.training.data.values import as_flag, is_flag, values_of

LEFT_OUT = "leave-one-out"
"""How the rows are called that are each measured without themselves among the examples."""
_MOST_SHOWN = 12
_LONGEST = 40
_MISSING = ("-1", "nan", "null", "n/a", "#n/a", "<na>")
_MANY_LABELS, _FEW_ROWS = 20, 10


@dataclass(frozen=True, slots=True)
class DataSummary:
    """What was read of a data set.

    Attributes:
        kind: Kind of the task.
        labels: Training rows by label, the most frequent first; for tagging entities by type,
            for parsing words by relation, for multiple choice rows by place.
        train_rows: Number of training rows.
        validation_rows: Number of validation rows; in cross-validation all rows.
        validated_by: `validation`, `cross-validation`, or LEFT_OUT.
        test_rows: Number of rows that are only measured on.
        columns: The columns that are read.
        unread: All others.
        values: Regression: smallest, mean and largest value.
        warnings: What may be meant otherwise.
        outside_rows: Number of rows out of scope that choose when the task does not answer, and of
            those that measure it.
    """

    kind: Kind
    labels: Mapping[str, int]
    train_rows: int
    validation_rows: int
    validated_by: str
    test_rows: int
    columns: tuple[str, ...]
    unread: tuple[str, ...]
    values: tuple[float, float, float] | None
    warnings: tuple[str, ...]
    outside_rows: tuple[int, int] = (0, 0)

    def lines(self) -> Iterator[str]:
        """Yields lines about all of it but the warnings."""
        unread = f"; not read: {_listed(self.unread)}" if self.unread else ""
        yield f"Read as {self.kind}: columns {_listed(self.columns)}{unread}."
        test = f", {self.test_rows:,} test rows" if self.test_rows else ""
        if self.validated_by == LEFT_OUT:
            left_out = f"{self.validation_rows:,} of them measured by leaving each out"
            yield f"{self.train_rows:,} examples, {left_out}{test}."
        elif self.validated_by == "validation":
            held_out = f"{self.validation_rows:,} validation rows"
            yield f"{self.train_rows:,} training rows, {held_out}{test}."
        else:
            yield f"{self.train_rows:,} rows, for training and {self.validated_by}{test}."
        if any(self.outside_rows):
            choosing, measuring = self.outside_rows
            yield (
                f"{choosing + measuring:,} rows out of scope: {choosing:,} to choose when the task "
                f"does not answer, {measuring:,} to measure that."
            )
        if self.values is not None:
            low, mean, high = self.values
            yield f"Values from {low:g} to {high:g}, mean {mean:.4g}."
            return
        row = KINDS[self.kind]
        if not row.has_labels:
            return
        if row.total:
            yield f"{sum(self.labels.values()):,} {row.total}."
        name, unit = row.counted
        shown = [f"{_short(label)} ({count:,})" for label, count in self.labels.items()]
        yield f"{len(shown):,} {name} ({unit}): {_listed(shown)}."

    def as_dict(self) -> dict[str, Any]:
        """Returns it as values of JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_SHOWN
    return ", ".join(names[:_MOST_SHOWN]) + (f", and {more:,} more" if more > 0 else "")


def _short(label: str) -> str:
    """Returns a label for a line of text."""
    text = "".join(sign if sign.isprintable() else "\ufffd" for sign in label)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def summarize(
    kind: Kind,
    targets: Sequence[Target],
    *,
    columns: Columns | None,
    validation_rows: int,
    validated_by: str,
    test_rows: int,
) -> DataSummary:
    """Returns what was read of a data set.

    Args:
        kind: Kind of the task.
        targets: Of all training rows.
        columns: Which columns were read.
        validation_rows: Number of validation rows.
        validated_by: How they are used.
        test_rows: Number of rows that are only measured on.
    """
    counts = Counter(name for target in targets for name in names_of(target))
    values = None
    warnings = [] if columns is None else list(columns.hints)
    if KINDS[kind].has_range:
        numbers = cast("Sequence[float]", targets)
        values = (min(numbers), fmean(numbers), max(numbers))
    else:
        warnings += _label_warnings(counts, len(targets), kind)
    return DataSummary(
        kind=kind,
        labels=dict(counts.most_common()),
        train_rows=len(targets),
        validation_rows=validation_rows,
        validated_by=validated_by,
        test_rows=test_rows,
        columns=() if columns is None else tuple(columns.roles.values()),
        unread=() if columns is None else columns.unread,
        values=values,
        warnings=tuple(warnings),
    )


def _label_warnings(counts: Mapping[str, int], rows: int, kind: Kind) -> Iterator[str]:
    for same in near_equal(counts):
        names = " and ".join(f"{label!r} ({counts[label]:,})" for label in same)
        yield (
            f"Labels {names} are different labels, but differ only in case, spaces, dashes, "
            f"quotes, accents or the like; write them alike if they are one."
        )
    for label in counts:
        # Of two labels -1 and 1, none is a stand-in.
        if label.lower() in _MISSING and set(counts) != {"-1", "1"}:
            yield (
                f"The label {label!r} ({counts[label]:,}) is how empty cells and rows without a "
                f"label are often written; leave such rows out if it is no label."
            )
    is_few = len(counts) > _MANY_LABELS and rows < _FEW_ROWS * len(counts)
    if is_few and not (KINDS[kind].of_words or KINDS[kind].prototypes):
        yield (
            f"{len(counts):,} labels in {rows:,} rows: {rows / len(counts):.2g} rows per label are "
            f"few to learn from, and training takes time and memory in proportion to the labels."
        )
    yield from READERS[kind].doubts(counts)


_MOST_CHOICES = 10
_CHOICES = ("choices", "options", "endings", "candidates", "alternatives")
_CHOICE = re.compile(
    r"(choice|option|ending|answer|sol|solution|candidate|opt)_?([0-9]|[a-e])|(op_?)?[a-e]"
)


def note_unread(records: Records, columns: Columns, *, guessed: bool) -> Columns:
    """Returns the columns with hints at what those that are not read may be meant for.

    Args:
        records: The rows.
        columns: Which columns are read.
        guessed: Whether the kind was not given.

    Raises:
        UsageError: The rows may be multiple choice.
    """
    if guessed and columns.choices is None:
        _refuse_choices(records, columns)
    return replace(columns, hints=tuple(_hints(records, columns)))


def _refuse_choices(records: Records, columns: Columns) -> None:
    """Refuses what may be multiple choice: a target that says which of a row's texts is right.

    Raises:
        UsageError: It is.
    """
    targets = values_of(records, columns.target)
    numbered = tuple(name for name in columns.unread if _CHOICE.fullmatch(name.lower()))
    groups = [(name,) for name in columns.unread] + [numbered] * (len(numbered) > 1)
    for names in groups:
        rows = [_choices(record.values, names) for record in records.rows]
        if _are_chosen(targets, rows, is_named=len(names) > 1 or names[0] in _CHOICES):
            raise UsageError(
                f"This looks like multiple choice: '{columns.target}' says which of "
                f"{' and '.join(map(repr, names))} is right, and they would not be read; "
                f"{choice('multiple_choice', 'single_label')}, which reads the text alone. Name "
                f"the column of choices with the option pair (--pair-column), if it is another."
            )


def _choices(values: Mapping[str, object], names: Sequence[str]) -> tuple[object, ...]:
    """Returns the choices of a row, in one column or in several."""
    if len(names) != 1:
        return tuple(values.get(name) for name in names)
    value = values.get(names[0])
    if isinstance(value, Mapping):
        value = next((part for part in value.values() if is_list(part)), None)
    return tuple(value) if is_list(value) else ()


def _are_chosen(
    targets: Sequence[object], rows: Sequence[tuple[object, ...]], *, is_named: bool
) -> bool:
    """Returns whether every target is one of the row's choices, or its place or letter."""
    sizes = {len(row) for row in rows}
    texts = all(isinstance(part, str) for row in rows for part in row)
    if not texts or min(sizes) < 2 or max(sizes) > _MOST_CHOICES:
        return False
    # The same in all rows they say nothing, unless the column is called so.
    if len(set(rows)) == 1 and not is_named:
        return False
    if all(target in row for target, row in zip(targets, rows, strict=True)):
        return True
    letters = {letter: place for place, letter in enumerate("ABCDEFGHIJ")}
    places = [letters.get(str(target).strip(), str(target).strip()) for target in targets]
    if not all(str(place).isdecimal() for place in places):
        return False
    found = {int(place) for place in places}
    first = min(found)
    covered = found == set(range(first, first + max(sizes))) and len(sizes) == 1
    return max(found) <= max(sizes) and first <= 1 and (is_named or covered)


def _hints(records: Records, columns: Columns) -> Iterator[str]:
    """Yields what columns that are not read may be meant for."""
    flags = []
    of_words = KINDS[columns.kind].of_words
    for name in columns.unread:
        values = values_of(records, name)
        if name in USUAL_TARGETS and columns.target and not of_words:
            yield (
                f"Column '{name}' is not read, since '{columns.target}' is the target; the option "
                f"target chooses another one (--target {name})."
            )
        elif len(columns.inputs) == 1 and not of_words and _are_texts(values):
            yield (
                f"Column '{name}' holds texts and is not read; if the task is about two texts, "
                f"name it with the option pair (--pair {name})."
            )
        elif all(map(is_flag, values)) and len(set(map(as_flag, values))) == 2:
            flags.append(name)
        elif any(map(is_list, values)) and not columns.heads:
            yield f"Column '{name}' holds lists and is not read."
    if len(flags) > 1:
        yield (
            f"Columns {', '.join(flags[:8])}{', …' if len(flags) > 8 else ''} hold only 0 and 1 "
            f"and are not read; for a multi_label task write one list with the labels of each row."
        )


def _are_texts(values: Sequence[object]) -> bool:
    """Returns whether values are mostly texts of several words that differ."""
    texts = [value for value in values if isinstance(value, str) and " " in value.strip()]
    return len(texts) > len(values) / 2 and len(set(texts)) > len(texts) / 2
