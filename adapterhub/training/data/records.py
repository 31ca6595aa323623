"""Files and tables -> records: one mapping of column to value per row, and its line.

Files are read as in scoring, but a bad row is an error: otherwise a task would be trained and
evaluated on other rows than intended.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn, TypeGuard

import numpy as np

from adapterhub.cells import cell_value
from adapterhub.choices.columns import CHOICES, PROMPT
from adapterhub.errors import DataError, nearest
from adapterhub.kinds import KINDS, USUAL_TARGETS
from adapterhub.rows.conllu import is_treebank, read_treebank
from adapterhub.rows.formats import find_format, packing_of
from adapterhub.rows.json_documents import is_json_document, read_json_document
from adapterhub.rows.reading import SourceRow, read_file
from adapterhub.rows.tables import is_table, parts_of_table, table_rows
from adapterhub.store.paths import absolute_path
from adapterhub.training.options import TrainingOptions

Values = Mapping[str, object]

# Files of these names are splits of a data set, whose name is mostly that of the folder.
_NAMES_OF_PARTS = ("train", "training", "data")
PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
"""Names of the parts of a data set, in any case."""

_TARGETS = tuple(USUAL_TARGETS)
_TAGS = KINDS["tagging"].target
(_RELATIONS,) = KINDS["parsing"].targets
_PART_COLUMN = "part of the data set"

_log = logging.getLogger("adapterhub")


@dataclass(frozen=True, slots=True)
class Records:
    """All rows of one source.

    Attributes:
        source: File name, or `data` for rows from Python.
        name: Default name of the data set: the file's name without endings, or its folder's if
            the file is called `train`, `training` or `data`.
        by_line: Whether `place` is a line of a file.
        rows: The rows in order.
    """

    source: str
    name: str
    by_line: bool
    rows: tuple[SourceRow, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Returns the columns of the first row."""
        # A subclass of str, such as an Enum, may have another __str__.
        names: Iterable[object] = self.rows[0].values
        return tuple(str.__str__(n) if isinstance(n, str) else str(n) for n in names)

    def refuse(self, problem: str, record: SourceRow | None = None) -> NoReturn:
        """Raises an error with this source and the place of `record`.

        Raises:
            DataError: Always.
        """
        if record is None or self.by_line:
            raise DataError(self.source, problem, None if record is None else record.place)
        raise DataError(self.source, f"row {record.place}: {problem}")

    def value(self, record: SourceRow, column: str) -> object:
        """Returns one value of a row.

        Raises:
            DataError: The row has no such column.
        """
        if column not in record.values:
            known = [str(name) for name in record.values]
            hint = nearest(column, known)
            have = ", ".join(known[:8]) or "none"
            meant = f" Did you mean '{hint}'?" if hint else ""
            self.refuse(f"there is no column '{column}'; columns are {have}.{meant}", record)
        return record.values[column]


def read_records(data: object) -> Records:
    """Returns the rows of a file, a table, mappings, or tuples.

    Args:
        data: A path that ends in .jsonl, .json, .csv, .tsv, .conllu (each also with .gz or .zst),
            .parquet or .arrow; a data frame, an Arrow table, a `datasets.Dataset` or a mapping of
            columns; mappings of column to value; tuples, see `_from_tuple`; or records, as they
            are.

    Raises:
        DataError: It cannot be read, is damaged, or holds no rows or a bad one; names the line.
        UsageError: The name of a file ends in none of these.
    """
    if isinstance(data, Records):
        return data
    if isinstance(data, str | Path):
        records = _read_file(Path(os.path.expanduser(data)))
    else:
        records = Records("data", "data", False, ())
        records = replace(records, rows=tuple(_good_rows(records, _python_rows(data))))
    if not records.rows:
        raise DataError(records.source, "it holds no rows")
    return records


def _read_file(path: Path) -> Records:
    if is_treebank(path):
        records = Records(str(path), _set_name(path), True, ())
        return replace(records, rows=tuple(_good_rows(records, read_treebank(path))))
    if is_json_document(path):
        records = Records(str(path), _set_name(path), False, ())
        return replace(records, rows=tuple(_good_rows(records, read_json_document(path))))
    form = find_format(path, answers=True)
    records = Records(str(path), _set_name(path), not form.is_typed, ())
    return replace(records, rows=tuple(_good_rows(records, read_file(path, form))))


def _good_rows(records: Records, rows: Iterable[SourceRow]) -> Iterator[SourceRow]:
    for row in rows:
        if row.problem is not None:
            records.refuse(row.problem, row)
        yield row


def _set_name(path: Path) -> str:
    name = Path(path.stem).stem if packing_of(path) else path.stem
    if name not in _NAMES_OF_PARTS:
        return name
    return absolute_path(path, "file").resolve().parent.name or name


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Returns whether a value of a row is a list; an array of no dimension is one value."""
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _python_rows(data: object) -> Iterator[SourceRow]:
    if is_table(data):
        yield from table_rows(data, "data")
        return
    if isinstance(data, bytes | bytearray) or not isinstance(data, Iterable):
        raise DataError(
            "data",
            f"it is a {type(data).__name__}; expected a path, a data frame, an Arrow table, a "
            f"dataset, a mapping of columns, or a list of mappings or tuples",
        )
    for place, row in enumerate(data, start=1):
        values = _from_tuple(row) if isinstance(row, tuple | list) else row
        if not isinstance(values, Mapping):
            size = f" of {len(row)}" if isinstance(row, tuple | list) else ""
            raise DataError(
                "data",
                f"row {place}: it is a {type(row).__name__}{size}, not a mapping, (text, label) or "
                f"(text, text_pair, label)",
            )
        yield SourceRow(place, values)


def _from_tuple(row: Sequence[object]) -> Values | None:
    """Returns the columns of (text, label), (text, text_pair, label) or (tokens, tags).

    A list in the place of the second text are choices.
    """
    names = getattr(row, "_fields", None)
    if names is None and len(row) in (2, 3):
        target = "labels" if is_list(row[-1]) else "label"
        names = ("text", target) if len(row) == 2 else ("text", "text_pair", target)
        names = ("tokens", "tags") if len(row) == 2 and is_list(row[0]) else names
        names = (PROMPT, CHOICES, target) if len(row) == 3 and is_list(row[1]) else names
    return None if names is None else dict(zip(names, row, strict=True))


def read_parts(data: object, options: TrainingOptions) -> tuple[Records, TrainingOptions]:
    """Returns the records of a data set, and the options by which they are split.

    Of a data set in parts, `train`, `validation` and `test` are the sets of these names; without
    the second, or with options that say how to split, only `train` is read.

    Raises:
        DataError: The data cannot be read, or none of the parts is for training.
    """
    parts = _by_role(parts_of_table(data) or {})
    if "train" not in parts:
        return read_lists(read_records(data), options), options
    given = (options.validation, options.split_column, options.validation_fraction)
    if "validation" not in parts or any(one is not None for one in given):
        _log.warning("Of the data set, only the part 'train' is read.")
        return read_lists(read_records(parts["train"]), options), options
    _log.warning("The parts of the data set are its splits: %s.", ", ".join(parts))
    found = {role: read_records(part) for role, part in parts.items()}
    rows = tuple(
        replace(row, values={**row.values, _PART_COLUMN: role})
        for role, records in found.items()
        for row in records.rows
    )
    options = options.model_copy(update={"split_column": _PART_COLUMN})
    return read_lists(replace(found["train"], rows=rows), options), options


def _by_role(parts: Mapping[str, object]) -> dict[str, object]:
    names = {name.lower(): part for name, part in parts.items()}
    roles = ((role, name) for role, known in PARTS.items() for name in known if name in names)
    return {role: names[name] for role, name in roles}


def read_lists(records: Records, options: TrainingOptions) -> Records:
    """Returns the records with lists in the place of cells that hold one.

    Only the columns of the target and of tokens are read so: a text may look like a list. Tokens
    and tags of a file may also be words with spaces between. Labels with scores, as scoring
    predicts them, become the labels.

    Raises:
        DataError: Labels with scores are all of a task's, so that they do not say which a row has.
    """
    records = _joined(records, options)
    names = (options.target,) if options.target is not None else _TARGETS
    names_of_trees = (options.heads, _RELATIONS)
    columns = [n for n in (*names, options.tokens, *names_of_trees) if n not in _texts(options)]
    rows = [
        _with(row, {name: _cell(row.values.get(name)) for name in columns}) for row in records.rows
    ]
    tags = options.target or _TAGS
    # In rows from Python a text in the place of a list is more likely a mistake.
    if records.by_line and (options.kind == "tagging" or (not options.kind and tags == _TAGS)):
        rows = [_with(row, _words(row, (options.tokens, tags))) for row in rows]
    if records.by_line and options.kind in (None, "parsing"):
        trees = (options.tokens, options.heads, options.target or _RELATIONS)
        rows = [_with(row, _words(row, trees)) for row in rows]
    for name in names:
        rows = _without_scores(replace(records, rows=tuple(rows)), name)
    return replace(records, rows=tuple(rows))


def parts_of_target(target: str, columns: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns of a target, several of which have commas between their names."""
    is_one = "," not in target or target in columns
    return (target,) if is_one else tuple(part.strip() for part in target.split(","))


def _joined(records: Records, options: TrainingOptions) -> Records:
    """Returns the records with one mapping in the place of several columns of numbers.

    Raises:
        DataError: A column is missing.
    """
    target = options.target
    if target is None or options.kind is None or not KINDS[options.kind].names_numbers:
        return records
    parts = parts_of_target(target, records.columns)
    if parts == (target,):
        return records
    rows = (_with_joined(records, row, parts, target) for row in records.rows)
    return replace(records, rows=tuple(rows))


def _with_joined(records: Records, row: SourceRow, parts: Sequence[str], target: str) -> SourceRow:
    numbers = {part: records.value(row, part) for part in parts}
    others = {name: row.values[name] for name in row.values if name not in numbers}
    return replace(row, values={**others, target: numbers})


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
        # A series, or a tensor.
        convert = None if isinstance(value, np.ndarray) else getattr(value, "tolist", None)
        return value if convert is None or getattr(value, "shape", ()) == () else convert()
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
