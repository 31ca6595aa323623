"""Scores chunks of rows: good rows get their predictions, bad ones their reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

from adapterhub.errors import NonFiniteError, nearest
from adapterhub.inputs import Record
from adapterhub.results import Scores
from adapterhub.rows.reading import SourceRow
from adapterhub.specs import BackboneSpec


class Scorer(Protocol):
    """What scores rows: a `Hub`, or whatever has these methods of it."""

    registry_paths: tuple[Path, ...]
    backbone: BackboneSpec

    def load(self, *references: str) -> None:
        """Makes tasks resident; see `Hub.load`."""
        ...

    def score(
        self,
        texts: Iterable[Record],
        tasks: Sequence[str],
        *,
        top_k: int | None,
        on_error: Literal["raise", "skip"],
    ) -> Scores:
        """Returns the predictions of tasks; see `Hub.score`."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """How every row is scored.

    Attributes:
        names: Name of each task in the output, by the task's reference.
        versions: Name of the version to run, by reference; it stays the same in all chunks.
        columns: All columns that the predictions take.
        fields: By version, the column that a field is read from, by field; other fields are read
            by their name.
        top_k: As in `Hub.score`.
    """

    names: Mapping[str, str]
    versions: Mapping[str, str]
    columns: tuple[str, ...]
    fields: Mapping[str, Mapping[str, str]]
    top_k: int | None


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that has no predictions, or not of all tasks.

    Attributes:
        place: Line or row number, from 1.
        problem: What was found and what was expected.
        row: Its values, or what stood there instead of a row.
        file: The name of its file, where the source has several; else empty.
    """

    place: int
    problem: str
    row: Mapping[str, object] | str
    file: str = ""


@dataclass(frozen=True, slots=True)
class ScoredChunk:
    """The outcome of one chunk; every row of it is in one of the two lists.

    Attributes:
        rows: The rows that all tasks scored: the columns of the input, then the predictions.
        bad: The others.
        truncated: How many rows were longer than all their windows.
    """

    rows: tuple[dict[str, object], ...]
    bad: tuple[RejectedRow, ...]
    truncated: int


def take_chunks(rows: Iterator[SourceRow], size: int) -> Iterator[list[SourceRow]]:
    """Yields the rows in lists of `size`, the last one shorter."""
    while chunk := list(islice(rows, size)):
        yield chunk


def score_chunk(scorer: Scorer, rows: Sequence[SourceRow], request: Request) -> ScoredChunk:
    """Returns a chunk of rows with the predictions of all tasks; bad rows never stop the others.

    Raises:
        AdapterHubError: As `Hub.load`; not for a row.
    """
    bad: dict[int, RejectedRow] = {}
    places: list[int] = []
    for index, row in enumerate(rows):
        problem = row.problem or _misfit(row.values, request)
        if problem is None:
            places.append(index)
        else:
            bad[index] = RejectedRow(row.place, problem, row.values or row.raw, row.file)
    predictions: dict[int, dict[str, object]] = {}
    truncated = 0
    if places:
        try:
            scores = _scores(scorer, [rows[index].values for index in places], request)
        except NonFiniteError as error:
            # The scorer counts the good rows of this chunk; a user counts lines.
            raise NonFiniteError(error.task, rows[places[error.row]].place) from error
        for found in scores.errors:
            row = rows[places[found.row]]
            rejected = RejectedRow(row.place, found.problem, row.values, row.file)
            bad.setdefault(places[found.row], rejected)
        predictions = dict(zip(places, _named(scores, request).rows(), strict=True))
        truncated = sum(map(any, zip(*(task.truncated for task in scores.values()), strict=True)))
    good = [index for index in range(len(rows)) if index not in bad]
    return ScoredChunk(
        rows=tuple({**rows[index].values, **predictions[index]} for index in good),
        bad=tuple(bad[index] for index in sorted(bad)),
        truncated=truncated,
    )


def _scores(scorer: Scorer, values: Sequence[Mapping[str, object]], request: Request) -> Scores:
    """Returns the scores of rows; tasks that read the same columns run together."""
    together: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for version in dict.fromkeys(request.versions.values()):
        own = tuple(request.fields.get(version, {}).items())
        together.setdefault(own, []).append(version)
    found = [
        scorer.score(
            [_record(row, dict(fields)) for row in values],
            versions,
            top_k=request.top_k,
            on_error="skip",
        )
        for fields, versions in together.items()
    ]
    tasks = {name: one[name] for one in found for name in one}
    return Scores(tasks, tuple(error for one in found for error in one.errors))


def missing_column(column: str, columns: Sequence[str]) -> str:
    """Returns the words for a column that is not there, with the nearest one that is."""
    hint = nearest(column, columns)
    have = ", ".join(columns[:8]) + (", …" if len(columns) > 8 else "")
    meant = f" Did you mean '{hint}'?" if hint else ""
    return f"there is no column '{column}'; columns are {have}.{meant}"


def _named(scores: Scores, request: Request) -> Scores:
    return Scores(
        {name: scores[request.versions[reference]] for reference, name in request.names.items()}
    )


def _misfit(values: Mapping[str, object], request: Request) -> str | None:
    """Returns why a row cannot be read and written as asked, or None."""
    for column in dict.fromkeys(c for own in request.fields.values() for c in own.values()):
        if column not in values:
            return missing_column(column, [str(name) for name in values])
    taken = [name for name in request.columns if name in values]
    return f"its column '{taken[0]}' has the name of a prediction" if taken else None


def _record(values: Mapping[str, object], fields: Mapping[str, str]) -> Mapping[str, object]:
    if not fields:
        return values
    return {**values, **{name: values[column] for name, column in fields.items()}}
