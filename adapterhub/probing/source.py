"""What is predicted of the rows of a data set, and from which columns."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from adapterhub.errors import UsageError
from adapterhub.kinds import KINDS, USUAL_TARGETS, Kind
from adapterhub.probing.options import ProbeOptions, What
from adapterhub.probing.sentence_pairs import sentence_pairs
from adapterhub.rows.conllu import is_treebank
from adapterhub.rows.formats import find_format
from adapterhub.rows.reading import SourceRow, read_file
from adapterhub.store.jsonsafe import shown
from adapterhub.training.data.columns import RELATIONS, Columns
from adapterhub.training.data.find_columns import find_columns
from adapterhub.training.data.kinds.reader import Example
from adapterhub.training.data.kinds.table import parse_records
from adapterhub.training.data.records import Records, read_lists, read_parts, read_records
from adapterhub.training.data.summary import note_unread
from adapterhub.training.data.values import plain
from adapterhub.training.options import TrainingOptions

_HELD_OUT = 0.4
"""Part of the rows that does not train where only one file is given; a half of it chooses, the
other measures."""

_ORDER = "order of its first two sentences"
"""The column that paragraphs get, by which they are spread over the splits."""

_TAGS = ("tags", "upos")
_KINDS: Mapping[What, Kind] = {
    "label": "single_label",
    "tag": "tagging",
    "relation": "parsing",
    "head": "parsing",
    "order": "single_label",
}


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The records of a data set, and how they are read.

    Attributes:
        records: All rows.
        what: What is predicted.
        columns: Which columns are read.
        reading: The options by which training reads and splits the same rows.
    """

    records: Records
    what: What
    columns: Columns
    reading: TrainingOptions

    @property
    def target(self) -> str:
        """Returns the column of what is predicted, or `order`."""
        if self.what == "head":
            return self.columns.heads
        return self.what if self.what == "order" else self.columns.target

    def parse_other(self, data: object) -> list[Example]:
        """Returns the examples of other rows for the same probes.

        Raises:
            DataError: They cannot be read, or have no such columns.
        """
        records = _read(data)
        if self.what == "order":
            records = _with_orders(records, self.reading)
        records = _lists(records, self.reading, self.what)
        columns = find_columns(records, self.reading)
        if columns.fields != self.columns.fields:
            records.refuse(
                f"its rows have the fields {' and '.join(columns.fields)}, those that train "
                f"{' and '.join(self.columns.fields)}"
            )
        return parse_records(records, columns)


def open_source(data: object, options: ProbeOptions) -> Source:
    """Returns the records of a data set, with what is predicted of them.

    Args:
        data: As `train` takes it; for the order of sentences also a text file, a paragraph a line.
        options: Columns and target.

    Raises:
        DataError: The data cannot be read, or a column is missing.
        UsageError: What is predicted is not clear, or cannot be probed.
    """
    reading = options.for_rows()
    what = options.what
    if what in (None, "order") and _is_text_file(data):
        what, records = "order", _read(data)
    else:
        records, reading = read_parts(data, reading)
    if reading.validation is None and reading.split_column is None:
        reading = reading.model_copy(update={"validation_fraction": _HELD_OUT})
    what = what or _guess(records, reading)
    if what == "order":
        records = _with_orders(records, reading)
        target: str | None = _ORDER
    else:
        # That of heads names relations too: `heads` is the option for the column of heads.
        given = None if what == "head" and options.target == options.heads else options.target
        target = given or _usual_target(records, what)
    reading = reading.model_copy(update={"target": target, "kind": _KINDS[what]})
    records = _lists(records, reading, what)
    columns = find_columns(records, reading)
    if options.what is None and what == "label":
        note_unread(records, columns, guessed=True)  # refuses multiple choice
    if what == "label":
        _refuse_fractions(records, columns)
    return Source(records, what, columns, reading)


def _guess(records: Records, reading: TrainingOptions) -> What:
    """Returns what is predicted where the options do not say it.

    Raises:
        UsageError: The columns may mean several things, or nothing that can be probed.
    """
    names = records.columns
    has_label = reading.text in names and any(
        name in names for name in USUAL_TARGETS if name != "tags"
    )
    if reading.tokens in names and not (has_label and reading.target is None):
        trees: dict[str | None, What] = {RELATIONS: "relation", reading.heads: "head"}
        if reading.target in trees:
            return trees[reading.target]
        if reading.target is not None or "tags" in names:
            return "tag"
        known = [f"--what tag --target {name}" for name in _TAGS if name in names]
        known += ["--what relation"] if RELATIONS in names else []
        known += ["--what head"] if reading.heads in names else []
        ways = ", ".join(known) or "--what tag --target COLUMN"
        raise UsageError(
            f"{records.source} has words, and does not say what is predicted of them: choose "
            f"{ways} (in Python what='tag', target='upos')."
        )
    try:
        columns = find_columns(records, reading)
    except UsageError as error:
        problem = str(error).partition("; ")[0]
        raise UsageError(
            f"{problem}; a probe predicts one label of a text, and --what label (in Python "
            f"what='label') takes every value for a label."
        ) from error
    if columns.kind != "single_label":
        _refuse(records, columns)
    return "label"


def _refuse(records: Records, columns: Columns) -> NoReturn:
    """Refuses targets that are no labels.

    Raises:
        UsageError: Always; says what to do instead.
    """
    found = "numbers; write the ranges that they fall into, such as low, middle and high"
    if KINDS[columns.kind].of_words:
        raise UsageError(
            f"{records.source} has words beside its texts, and does not say what is predicted: "
            f"choose --what label, or --what tag, relation or head (in Python what='label')."
        )
    if columns.kind == "multi_label":
        found = "several labels of a text; probe them one at a time, as yes or no"
    raise UsageError(
        f"A probe predicts one label of a text, and column '{columns.target}' of {records.source} "
        f"holds {found}."
    )


def _refuse_fractions(records: Records, columns: Columns) -> None:
    """Refuses labels that are fractions, which `what` may have declared to be labels.

    Raises:
        UsageError: One is.
    """
    values = (plain(row.values.get(columns.target)) for row in records.rows)
    if any(
        isinstance(value, float) and math.isfinite(value) and not value.is_integer()
        for value in values
    ):
        _refuse(records, columns)


def _usual_target(records: Records, what: What) -> str | None:
    """Returns the usual column of a target that is there; None where training finds it."""
    if what == "tag":
        return next((name for name in _TAGS if name in records.columns), _TAGS[0])
    return None


def _with_orders(records: Records, reading: TrainingOptions) -> Records:
    """Returns the paragraphs that have two sentences, with the order of their first pair.

    Raises:
        DataError: None has, or a row has no text.
    """
    rows = []
    for row in records.rows:
        text = records.value(row, reading.text)
        if not isinstance(text, str):
            records.refuse(f"column '{reading.text}' is {shown(text)}; expected a text", row)
        pair = next(sentence_pairs(text, seed=reading.seed), None)
        if pair is not None:
            rows.append(
                replace(row, values={reading.text: text, _ORDER: pair.label, **_part(row, reading)})
            )
    if not rows:
        records.refuse(
            f"no text of column '{reading.text}' has two sentences; the order of sentences needs "
            f"paragraphs, one in a row or line"
        )
    return replace(records, rows=tuple(rows))


def _lists(records: Records, reading: TrainingOptions, what: What) -> Records:
    """Returns rows with lists for texts of lists, and heads with relations, which are not read."""
    records = read_lists(records, reading)
    if what != "head" or reading.target is not None or RELATIONS in records.columns:
        return records
    records.value(records.rows[0], reading.heads)  # refuses rows without heads
    rows = []
    for row in records.rows:
        heads: Any = row.values.get(reading.heads)
        is_list = hasattr(heads, "__len__") and not isinstance(heads, str)
        relations = ["dep"] * len(heads) if is_list else None
        rows.append(replace(row, values={**row.values, RELATIONS: relations}))
    return replace(records, rows=tuple(rows))


def _part(row: SourceRow, reading: TrainingOptions) -> dict[str, object]:
    column = reading.split_column
    return {column: row.values[column]} if column is not None and column in row.values else {}


def _read(data: object) -> Records:
    """Returns the records of data, which may be lines of text."""
    if not _is_text_file(data):
        return read_records(data)
    path = Path(os.path.expanduser(str(data)))
    records = Records(
        str(path), path.name.partition(".")[0], True, tuple(read_file(path, find_format(path)))
    )
    for row in records.rows:
        if row.problem is not None:
            records.refuse(row.problem, row)
    if not records.rows:
        records.refuse("it holds no rows")
    return records


def _is_text_file(data: object) -> bool:
    if not isinstance(data, str | Path) or is_treebank(Path(data)):
        return False
    return find_format(Path(data)).name == "text"
