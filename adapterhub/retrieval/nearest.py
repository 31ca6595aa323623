"""Queries in, the nearest texts out: `Hub.nearest`, and the job of `adapterhub nearest`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterhub.errors import DataError, UsageError
from adapterhub.inputs import tokenless
from adapterhub.retrieval.build import EncodingHub, IndexJob, make_parts
from adapterhub.retrieval.index import Index
from adapterhub.retrieval.neighbours import Neighbours
from adapterhub.retrieval.options import QueryOptions, split_options
from adapterhub.retrieval.query_output import NEIGHBOURS, QueryOutput
from adapterhub.retrieval.saved import is_saved
from adapterhub.retrieval.texts import SkippedRow, column_problem
from adapterhub.rows.reading import TEXT_COLUMN
from adapterhub.rows.source_row import SourceRow
from adapterhub.scoring.engines.local_engine import refuse
from adapterhub.scoring.pipeline.chunks import missing_column
from adapterhub.scoring.sources.schema import source_columns
from adapterhub.scoring.stream import row_windows
from adapterhub.store.paths import absolute_path

if TYPE_CHECKING:
    from adapterhub.scoring.sources.row_source import RowSource

Row = dict[str, object]
Show = Callable[[Sequence[Row]], None]


def nearest_texts(
    hub: EncodingHub, queries: Any, texts: object, options: Mapping[str, object]
) -> Neighbours:
    """Returns the nearest texts of each query; see `Hub.nearest`.

    Raises:
        AdapterHubError: As `Index.build`, `Index.open` and `Index.query`.
    """
    of_index, asked = split_options(options)
    index = _index(hub, texts, of_index)
    return index.query(queries, **asked.model_dump())


def _index(hub: EncodingHub, texts: object, options: dict[str, Any]) -> Index:
    is_name = isinstance(texts, str | Path) and "\0" not in str(texts)
    if not isinstance(texts, Index) and not (is_name and is_saved(absolute_path(texts))):
        return Index.build(hub, texts, **options)
    if options:
        raise UsageError(
            f"The index is made already; {', '.join(options)} belong to making one: "
            f"Index.build(hub, texts, …)."
        )
    return texts if isinstance(texts, Index) else Index.open(absolute_path(texts), hub)


@dataclass(frozen=True, slots=True, eq=False)
class NearestJob:
    """What is searched for, and where.

    Attributes:
        index: The index to make, or the folder of one to open.
        queries: The queries; None where each text is one, or where there are none.
        each: Whether each text is a query, to be found among the others.
        column: Column of the queries.
        skip: Whether queries that cannot be read are left out.
        asked: How the index is searched.
        output: Where the texts that are found are written; None where the caller takes them.
    """

    index: IndexJob | Path
    queries: RowSource | None
    each: bool
    column: str
    skip: bool
    asked: QueryOptions
    output: QueryOutput | None


@dataclass(slots=True)
class NearestDone:
    """How a job ended.

    Attributes:
        texts: Number of texts that were looked among.
        queries: Number of queries.
        seconds: Time of encoding the queries and searching, without opening and writing.
        approximate: Whether a graph was searched.
        skipped_texts: Rows of the texts that have none.
        skipped: Rows of the queries that have none.
    """

    texts: int
    queries: int = 0
    seconds: float = 0.0
    approximate: bool = False
    skipped_texts: tuple[SkippedRow, ...] = ()
    skipped: list[SkippedRow] = field(default_factory=list)


def open_index(hub: EncodingHub, job: NearestJob) -> tuple[Index, tuple[SkippedRow, ...]]:
    """Returns the index of a job, made or opened, and the rows of its texts that have none.

    Raises:
        AdapterHubError: As `Index.build` and `Index.open`.
    """
    if isinstance(job.index, Path):
        return Index.open(job.index, hub), ()
    parts = make_parts(hub, job.index)
    return Index(hub, parts), parts.texts.skipped or job.index.texts.skipped


def run_nearest(hub: EncodingHub, job: NearestJob, show: Show | None = None) -> NearestDone:
    """Finds the nearest texts of all queries, and writes or shows them.

    Args:
        hub: Makes the vectors.
        job: What to do.
        show: Takes the rows of some queries, where nothing is written.

    Raises:
        DataError: A query cannot be read and is not to be skipped, or a file not be written.
        AdapterHubError: As `open_index`.
    """
    index, skipped = open_index(hub, job)
    done = NearestDone(len(index), skipped_texts=skipped)
    done.approximate = index.has_graph and not job.asked.exact
    found = _timed(_found(hub, index, job, done), done)
    if job.output is None:
        for rows in found:
            if show is not None:
                show(rows)
    else:
        job.output.write(found)
    return done


def _timed(found: Iterator[list[Row]], done: NearestDone) -> Iterator[list[Row]]:
    while True:
        started = time.perf_counter()
        rows = next(found, None)
        done.seconds += time.perf_counter() - started
        if rows is None:
            return
        done.queries += len(rows)
        yield rows


def _found(
    hub: EncodingHub, index: Index, job: NearestJob, done: NearestDone
) -> Iterator[list[Row]]:
    """Yields the rows of queries with their neighbours, some thousand at a time."""
    options = job.asked.model_dump()
    if job.each:
        place = 0
        for some in index.neighbours(**options):
            own = [index.text_at(place + number) for number in range(len(some))]
            place += len(some)
            yield [_joined(row, found) for row, found in zip(own, _as_dicts(some), strict=True)]
    elif job.queries is not None:
        with row_windows(job.queries, lambda: None) as windows:
            for window in windows:
                rows = [] if window is None else _good(hub, window.rows, job, done)
                if rows:
                    texts = [str(row[job.column]) for row in rows]
                    some = index.query(texts, **options)
                    both = zip(rows, _as_dicts(some), strict=True)
                    yield [_joined(row, found) for row, found in both]


def _good(
    hub: EncodingHub, rows: Sequence[SourceRow], job: NearestJob, done: NearestDone
) -> list[Row]:
    """Returns the rows with a query; takes note of the others.

    Raises:
        DataError: There is another one, and it is not to be skipped.
    """
    assert job.queries is not None, "there are queries"
    good: list[Row] = []
    for row in rows:
        problem = row.problem or column_problem(row, job.column)
        if problem is None and not hub.tokenizer.has_tokens(str(row.values[job.column])):
            problem = f"its query {tokenless(str(row.values[job.column]))}"
        if problem is None:
            good.append(dict(row.values))
        elif job.skip:
            done.skipped.append(SkippedRow(row.place, problem, row.file))
        else:
            refuse(job.queries, row.place, problem, row.file)
    return good


def _as_dicts(found: Neighbours) -> list[list[dict[str, object]]]:
    return [[one.as_dict() for one in own] for own in found]


def _joined(row: Row, found: list[dict[str, object]]) -> Row:
    return {**row, NEIGHBOURS: found}


def query_column(queries: RowSource, given: str | None) -> str:
    """Returns the column of the queries.

    Raises:
        DataError: It is not there.
    """
    column = TEXT_COLUMN if queries.is_plain or given is None else given
    if not queries.is_blank and column not in queries.common:
        columns = source_columns(queries)
        if column not in columns:
            problem = missing_column(column, columns)
            raise DataError(
                queries.name, f"{problem} Name the one of the queries with --query-column."
            )
    return column
