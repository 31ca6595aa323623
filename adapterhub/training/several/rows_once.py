"""The rows of several tasks: each source read once, each task with the rows that it can use."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

from adapterhub.errors import UsageError
from adapterhub.kinds import KINDS
from adapterhub.rows.tables import parts_of_table
from adapterhub.training.data.records import Records, read_records
from adapterhub.training.data.values import LIST_SEPARATOR, is_missing
from adapterhub.training.options import TrainingOptions
from adapterhub.training.several.entries import TaskEntry

_log = logging.getLogger("adapterhub")


@dataclass(frozen=True, slots=True)
class RowsOnce:
    """The rows of the tasks, each source read once.

    Attributes:
        read: What was read, by path or by the identity of the object.
    """

    read: dict[object, object] = field(default_factory=dict)

    def of_training(self, entry: TaskEntry, options: TrainingOptions) -> object:
        """Returns the rows of a task.

        Raises:
            UsageError: It has none.
            DataError: They cannot be read.
        """
        if entry.data is None:
            raise UsageError("It has no data; give the task, or all tasks, a file or rows.")
        return self._own(entry.data, entry, options)

    def held_out(self, entry: TaskEntry, options: TrainingOptions) -> TrainingOptions:
        """Returns options with the rows of the validation and the test set, where they name any.

        Raises:
            DataError: They cannot be read.
        """
        given = {"validation": options.validation, "test": options.test}
        found = {
            name: self._own(data, entry, options)
            for name, data in given.items()
            if data is not None
        }
        return options.model_copy(update=found) if found else options

    def _own(self, data: object, entry: TaskEntry, options: TrainingOptions) -> object:
        key = str(data) if isinstance(data, str | Path) else id(data)
        if key not in self.read:
            # The parts of a data set are its splits, which `prepare` reads.
            is_split = parts_of_table(data) is not None
            self.read[key] = data if is_split else read_records(data)
        found = self.read[key]
        if not entry.other_targets or not isinstance(found, Records):
            return found
        target = str(options.target)
        if not any(target in row.values for row in found.rows):
            found.value(found.rows[0], target)  # refuses it, while all columns can be named
        return _with_target(_without_others(found, entry, options), entry.name, options)


def _without_others(records: Records, entry: TaskEntry, options: TrainingOptions) -> Records:
    """Returns the rows of a task without the targets of the other tasks of its entry."""
    own = (options.target, options.text, options.pair, options.tokens, options.heads)
    others = {name for name in entry.other_targets if name not in (*own, options.split_column)}
    rows = (
        replace(row, values={name: row.values[name] for name in row.values if name not in others})
        for row in records.rows
    )
    return replace(records, rows=tuple(rows))


def _with_target(records: Records, task: str, options: TrainingOptions) -> Records:
    """Returns the rows that have the target of a task; all where none has, which is refused later.

    Of a task with several labels per row, an empty cell is a target: no label.
    """
    target = str(options.target)
    values = [row.values.get(target) for row in records.rows]
    texts = [value for value in values if isinstance(value, str)]
    by_target = {row.target: row for row in KINDS.values()}
    kind = by_target.get(target) if options.kind is None else KINDS[options.kind]
    is_set = (kind is not None and kind.linear == "sets") or any(LIST_SEPARATOR in t for t in texts)
    rows = tuple(
        row
        for row, value in zip(records.rows, values, strict=True)
        if not is_missing(value) or (is_set and isinstance(value, str))
    )
    if not rows or len(rows) == len(records.rows):
        return records
    left_out = len(records.rows) - len(rows)
    _log.warning(
        "%s: %s of %s rows of %s have no '%s' and are left out.",
        *(task, f"{left_out:,}", f"{len(records.rows):,}", records.source, target),
    )
    return replace(records, rows=rows)
