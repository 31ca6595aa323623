"""Scores chunks of rows: what is good comes out with its answers, what is bad with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from adapterhub.errors import NonFiniteError, nearest
from adapterhub.results import Scores
from adapterhub.rows.reading import SourceRow

if TYPE_CHECKING:
    from adapterhub.hub import Hub


@dataclass(frozen=True, slots=True)
class Request:
    """What is done with every row.

    Attributes:
        names: Column of each task's answers, by the task's reference.
        answers: All columns that the answers take.
        fields: Column that a field is read from, by field; other fields are read by their name.
        top_k: As in `Hub.score`.
    """

    names: Mapping[str, str]
    answers: tuple[str, ...]
    fields: Mapping[str, str]
    top_k: int | None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that has no answers, or not from all tasks.

    Attributes:
        place: Line or row number, from 1.
        problem: What was found and what was expected.
        row: Its values, or what stood there instead of a row.
    """

    place: int
    problem: str
    row: Mapping[str, object] | str


@dataclass(frozen=True, slots=True)
class ScoredChunk:
    """The outcome of one chunk; every row of it is in one of the two lists.

    Attributes:
        rows: The rows that all tasks answered: the columns of the input, then the answers.
        bad: The others.
        truncated: How many rows were longer than all their windows.
    """

    rows: tuple[dict[str, object], ...]
    bad: tuple[BadRow, ...]
    truncated: int


def take_chunks(rows: Iterator[SourceRow], size: int) -> Iterator[list[SourceRow]]:
    """Yields the rows in lists of `size`, the last one shorter."""
    while chunk := list(islice(rows, size)):
        yield chunk


def score_chunk(hub: Hub, rows: Sequence[SourceRow], request: Request) -> ScoredChunk:
    """Returns the answers of all tasks to a chunk of rows; bad rows never stop the others.

    Raises:
        AdapterHubError: As `Hub.load`; not for a row.
    """
    bad: dict[int, BadRow] = {}
    records: list[Mapping[str, object]] = []
    places: list[int] = []
    for index, row in enumerate(rows):
        problem = row.problem or _misfit(row.values, request)
        if problem is None:
            places.append(index)
            records.append(_record(row.values, request.fields))
        else:
            bad[index] = BadRow(row.place, problem, row.values or row.raw)
    answers: dict[int, dict[str, object]] = {}
    truncated = 0
    if records:
        try:
            scores = hub.score(records, list(request.names), top_k=request.top_k, on_error="skip")
        except NonFiniteError as error:
            # The hub counts the good rows of this chunk; a user counts lines.
            raise NonFiniteError(error.task, rows[places[error.row]].place) from error
        for found in scores.errors:
            row = rows[places[found.row]]
            bad.setdefault(places[found.row], BadRow(row.place, found.problem, row.values))
        answers = dict(zip(places, _named(scores, request.names).rows(), strict=True))
        truncated = sum(map(any, zip(*(task.truncated for task in scores.values()), strict=True)))
    good = [index for index in range(len(rows)) if index not in bad]
    return ScoredChunk(
        rows=tuple({**rows[index].values, **answers[index]} for index in good),
        bad=tuple(bad[index] for index in sorted(bad)),
        truncated=truncated,
    )


def missing_column(column: str, columns: Sequence[str]) -> str:
    """Returns the words for a column that is not there, with the nearest one that is."""
    hint = nearest(column, columns)
    have = ", ".join(columns[:8]) + (", …" if len(columns) > 8 else "")
    meant = f" Did you mean '{hint}'?" if hint else ""
    return f"there is no column '{column}'; columns are {have}.{meant}"


def _named(scores: Scores, names: Mapping[str, str]) -> Scores:
    return Scores({names[reference]: task for reference, task in scores.items()})


def _misfit(values: Mapping[str, object], request: Request) -> str | None:
    """Returns why a row cannot be read and written as asked, or None."""
    for column in request.fields.values():
        if column not in values:
            return missing_column(column, [str(name) for name in values])
    taken = [name for name in request.answers if name in values]
    return f"its column '{taken[0]}' has the name of an answer" if taken else None


def _record(values: Mapping[str, object], fields: Mapping[str, str]) -> Mapping[str, object]:
    if not fields:
        return values
    return {**values, **{name: values[column] for name, column in fields.items()}}
