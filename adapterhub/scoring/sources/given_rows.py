"""Texts and records of a call as rows; what is neither costs its own row only."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping

from adapterhub.rows.reading import TEXT_COLUMN
from adapterhub.rows.source_row import SourceRow, encoding_problem
from adapterhub.scoring.output.writers import plain_value

_SHOWN = 200


def to_first_known(given: Iterator[object]) -> Iterator[object]:
    """Yields what is given up to the first text, record or path."""
    for one in given:
        yield one
        if isinstance(one, str | Mapping | os.PathLike):
            return


def text_rows(texts: Iterable[object]) -> Iterator[SourceRow]:
    """Yields a row per text; what is no text is a bad one."""
    for place, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            problem: str | None = f"it is of type {type(text).__name__}; expected a string"
        else:
            problem = encoding_problem(text)
        values = {} if problem else {TEXT_COLUMN: text}
        yield SourceRow(place, values, problem, str(text))


def record_rows(records: Iterable[object]) -> Iterator[SourceRow]:
    """Yields a row per record; what is none, or could not be written again, is a bad one."""
    for place, record in enumerate(records, start=1):
        problem = _record_problem(record)
        if problem is None and isinstance(record, Mapping):
            yield SourceRow(place, record)
        else:
            yield SourceRow(place, {}, problem, repr(record)[:_SHOWN])


def writable(row: SourceRow) -> SourceRow:
    """Returns a row of a table, which is a bad one if it could not be written again."""
    problem = row.problem or _record_problem(row.values)
    return row if problem is None else SourceRow(row.place, {}, problem, repr(row.values)[:_SHOWN])


def _record_problem(record: object) -> str | None:
    """Returns why a record could not be written again, or None where it can."""
    if not isinstance(record, Mapping):
        return f"it is of type {type(record).__name__}; expected a record with names of columns"
    other = next((name for name in record if not isinstance(name, str)), None)
    if other is not None:
        return f"its column {other!r} has a name of type {type(other).__name__}; expected a string"
    try:
        return encoding_problem(json.dumps(dict(record), ensure_ascii=False, default=plain_value))
    except (TypeError, ValueError) as error:
        return f"it holds a value that cannot be written: {error}"
