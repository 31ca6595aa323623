"""The texts of an index: read from a source, with what is shown beside each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from adapterhub.errors import DataError
from adapterhub.inputs import text_problem
from adapterhub.rows.reading import TEXT_COLUMN
from adapterhub.rows.source_row import SourceRow
from adapterhub.scoring.engines.local_engine import refuse
from adapterhub.scoring.output.writers import json_line
from adapterhub.scoring.pipeline.chunks import missing_column
from adapterhub.scoring.sources.row_source import RowSource
from adapterhub.scoring.sources.schema import source_columns

if TYPE_CHECKING:
    import pyarrow as pa

    from adapterhub.retrieval.options import IndexOptions

COLUMNS = ("row", "text", "record")


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that has no text.

    Attributes:
        place: Its line or row number, from 1.
        problem: What was found and what was expected.
        file: The name of its file, where the source has several; else empty.
    """

    place: int
    problem: str
    file: str = ""


@dataclass(frozen=True, eq=False)
class Texts:
    """N texts.

    Attributes:
        name: Where they came from, for messages.
        table: Columns `row`, the index of its row in the source; `text`; and `record`, JSON of what
            else is shown, or null.
        skipped: The rows of the source without a text.
    """

    name: str
    table: pa.Table
    skipped: tuple[SkippedRow, ...] = ()

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def strings(self) -> Sequence[str]:
        """Returns the texts."""
        found: list[str] = self.table["text"].to_pylist()
        return found

    @cached_property
    def sha256(self) -> str:
        """Returns a digest of the texts, their order and what is shown beside them."""
        found = hashlib.sha256()
        for batch in self.table.to_batches(max_chunksize=1_024):
            found.update(json.dumps(batch.to_pydict(), ensure_ascii=False).encode() + b"\n")
        return found.hexdigest()

    def at(self, place: int) -> dict[str, Any]:
        """Returns the row, text and record of one text."""
        found = {name: self.table[name][place].as_py() for name in COLUMNS}
        record = found["record"]
        return {**found, "record": None if record is None else json.loads(record)}


def read_texts(source: RowSource, options: IndexOptions) -> Texts:
    """Returns all texts of a source; needs no torch.

    Raises:
        DataError: There is none, a row has none and is not to be skipped, or a column is missing.
    """
    column = TEXT_COLUMN if source.is_plain else options.text_column
    _check_columns(source, column, options.keep_columns)
    found: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    skipped: list[SkippedRow] = []
    for row, given in enumerate(source.rows):
        problem = given.problem or column_problem(given, column)
        if problem is None:
            record = None if source.is_plain else _record(given.values, column, options)
            for name, value in zip(COLUMNS, (row, given.values[column], record), strict=True):
                found[name].append(value)
        elif options.on_error == "skip":
            skipped.append(SkippedRow(given.place, problem, given.file))
        else:
            refuse(source, given.place, problem, given.file)
    if not found["text"]:
        raise DataError(source.name, "it has no texts to look among")
    return Texts(source.name, _table(found), tuple(skipped))


def column_problem(row: SourceRow, column: str) -> str | None:
    """Returns why a row has no text in a column, or None if it has."""
    if column not in row.values:
        return missing_column(column, tuple(row.values))
    problem = text_problem(row.values[column])
    return None if problem is None else f"its column '{column}' {problem.rstrip('.')}"


def without(texts: Texts, places: Mapping[int, str]) -> Texts:
    """Returns texts without some that have a problem, which are skipped then.

    Args:
        texts: The texts.
        places: By place, why a text cannot be used.
    """
    rows = texts.table["row"].to_pylist()
    more = [SkippedRow(rows[place] + 1, problem) for place, problem in places.items()]
    kept = [place for place in range(len(texts)) if place not in places]
    return Texts(texts.name, texts.table.take(kept), (*texts.skipped, *more))


def _check_columns(source: RowSource, column: str, keep: Sequence[str] | None) -> None:
    """Checks that a source has the columns that are read, as far as that is known.

    Raises:
        DataError: One is missing.
    """
    wanted = {column: "--text-column (text_column)"}
    wanted |= dict.fromkeys(keep or (), "--keep-columns (keep_columns)")
    if source.is_blank or source.common.issuperset(wanted):
        return
    columns = source_columns(source)
    for name, option in wanted.items():
        if name not in columns:
            problem = missing_column(name, columns)
            raise DataError(source.name, f"{problem} Another one is named with {option}.")


def _record(values: Mapping[str, object], column: str, options: IndexOptions) -> str | None:
    names = values if options.keep_columns is None else options.keep_columns
    shown = {name: values[name] for name in names if name in values and name != column}
    return json_line(shown) if shown else None


def _table(columns: Mapping[str, list[Any]]) -> pa.Table:
    import pyarrow as pa

    types = (pa.int64(), pa.large_string(), pa.large_string())
    return pa.table(
        {name: pa.array(columns[name], kind) for name, kind in zip(COLUMNS, types, strict=True)}
    )


def first_places(texts: Sequence[str]) -> tuple[list[int], np.ndarray[Any, np.dtype[np.int64]]]:
    """Returns the places of different texts, and of every text its number among these."""
    numbers: dict[str, int] = {}
    places: list[int] = []
    for place, text in enumerate(texts):
        if text not in numbers:
            numbers[text] = len(places)
            places.append(place)
    return places, np.fromiter((numbers[text] for text in texts), np.int64, len(texts))
