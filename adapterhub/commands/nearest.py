"""`adapterhub nearest`: for each query the most similar texts of a file."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapterhub.commands.option_fields import uses
from adapterhub.commands.printing import (
    counted,
    is_screen,
    note,
    print_json,
    print_line,
    print_table,
    to_stdout,
)
from adapterhub.errors import DataError, UsageError

if TYPE_CHECKING:
    from adapterhub.commands.verb_options import HubOptions, NearestArguments
    from adapterhub.retrieval.nearest import NearestDone, NearestJob
    from adapterhub.retrieval.options import IndexOptions, QueryOptions
    from adapterhub.retrieval.texts import SkippedRow
    from adapterhub.scoring.sources.row_source import RowSource

_CELL = 80
_MOST_SHOWN = 20
_ALSO_FOR_SAVED = {"on_error", "progress"}
"""Options of an index that make sense where it is saved already."""


@uses(
    "adapterhub.commands.verb_options:NearestArguments",
    "adapterhub.retrieval.options:QueryOptions",
    "adapterhub.retrieval.options:IndexOptions",
    "adapterhub.commands.verb_options:HubOptions",
)
def nearest(
    texts: Annotated[
        Path,
        typer.Argument(
            metavar="TEXTS",
            help="Texts to look among: a .txt, .jsonl, .csv, .tsv (each also with .gz or .zst), "
            ".parquet or .arrow file, a folder or a pattern; or a folder that --index made.",
        ),
    ],
    query: Annotated[
        list[str] | None, typer.Argument(metavar="QUERY...", help="Queries; or --queries, --each.")
    ] = None,
    *,
    given: NearestArguments,
    asked: QueryOptions,
    options: IndexOptions,
    loading: HubOptions,
) -> None:
    """Find the most similar texts of a file for each query.

    Each text is encoded once; similarity is the cosine of two vectors. Results go to the terminal
    as a table, to a pipe as JSON Lines, or to a file with --out.
    """
    from adapterhub.store.registries import open_registries

    loading.check_names()
    source = _queries(query or [], given)
    job = _prepare(texts, source, given=given, asked=asked, options=options)
    opened = open_registries(given.registry)
    loading.check_backbone(opened, loading.backbone)
    # From here on it takes seconds: torch, the backbone.
    from adapterhub.hub import Hub
    from adapterhub.retrieval.nearest import run_nearest

    hub = Hub(opened.paths, **loading.model_dump())
    screen = _Screen(job.column, as_json=given.as_json) if job.output is None else None
    done = run_nearest(hub, job, None if screen is None else screen.show)
    _summarise(done, job, given)
    if done.skipped and not done.queries:
        raise typer.Exit(DataError.exit_code)


def _queries(texts: list[str], given: NearestArguments) -> RowSource | None:
    """Returns the queries; None where each text is one, or where only an index is made.

    Raises:
        UsageError: There are none, or several kinds of them.
    """
    from adapterhub.commands.score import stdin_bytes
    from adapterhub.scoring.sources.open_source import open_source, stream_source

    ways = sum((bool(texts), given.queries is not None, given.each))
    if ways > 1:
        raise UsageError("Give queries, or --queries, or --each; they exclude one another.")
    if not ways and given.index is None:
        raise UsageError(
            "There are no queries; give some, or --queries FILE (- for stdin), or --each for the "
            "nearest other texts of each text. With --index alone an index is made and saved."
        )
    if not ways and given.out is not None:
        raise UsageError("--out takes what is found for queries, and there are none.")
    if str(given.queries) == "-":
        return stream_source(stdin_bytes(), given.query_format or "text", name="stdin")
    if texts or given.queries is not None:
        return open_source(texts or given.queries, given.query_format)
    return None


def _prepare(
    texts: Path,
    queries: RowSource | None,
    *,
    given: NearestArguments,
    asked: QueryOptions,
    options: IndexOptions,
) -> NearestJob:
    """Returns what is to be done, checked as far as that takes no torch."""
    from adapterhub.retrieval.build import prepare_index
    from adapterhub.retrieval.nearest import NearestJob, query_column
    from adapterhub.retrieval.query_output import find_output
    from adapterhub.retrieval.saved import is_saved
    from adapterhub.scoring.sources.open_source import open_source
    from adapterhub.store.paths import absolute_path

    column = "text" if queries is None else query_column(queries, given.query_column)
    output = None
    if given.out is not None:
        output = find_output(given.out, queries, column=column, force=options.force)
    place = absolute_path(texts, "texts")
    if is_saved(place):
        _check_saved(texts, given, options)
        index: Any = place
    else:
        folder = None if given.index is None else absolute_path(given.index, "index")
        index = prepare_index(open_source(texts, options.format), options, folder)
    skip = options.on_error == "skip"
    return NearestJob(index, queries, given.each, column, skip, asked, output)


def _check_saved(texts: Path, given: NearestArguments, options: IndexOptions) -> None:
    """Checks that nothing is asked of a saved index that only its making could do.

    Raises:
        UsageError: Something is.
    """
    others = sorted(options.model_fields_set - _ALSO_FOR_SAVED - {"force"})
    if given.index is not None:
        others.insert(0, "index")
    if others:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        raise UsageError(f"{texts} is an index that was made already; {flags} is for making one.")


class _Screen:
    """Prints what was found to stdout: a table on a terminal, JSON Lines to a pipe."""

    def __init__(self, column: str, *, as_json: bool) -> None:
        self._column = column
        self._as_table = is_screen(sys.stdout) and not as_json

    def show(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Prints some rows."""
        if self._as_table:
            print_table(("query", "score", "row", "text"), _cells(rows, self._column))
            return
        from adapterhub.scoring.output.writers import json_line

        for row in rows:
            print_line(json_line(row))
        with to_stdout() as stdout:
            stdout.flush()


def _cells(rows: Sequence[Mapping[str, Any]], column: str) -> list[tuple[str, ...]]:
    cells: list[tuple[str, ...]] = []
    for row in rows:
        query = _cut(row[column])
        for one in row["neighbours"]:
            cells.append((query, f"{one['score']:.3f}", str(one["row"]), _cut(one["text"])))
            query = ""
        if not row["neighbours"]:
            cells.append((query, "-", "", ""))
    return cells


def _cut(text: str) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= _CELL else f"{line[: _CELL - 1]}…"


def _summarise(done: NearestDone, job: NearestJob, given: NearestArguments) -> None:
    for what, skipped in (("text", done.skipped_texts), ("query", done.skipped)):
        _note_skipped(what, skipped)
    how = "approximately" if done.approximate else "exactly"
    number = f"{done.queries:,} {'query' if done.queries == 1 else 'queries'}"
    found = f"{number} among {counted(done.texts, 'text')}, {how}, in {done.seconds:.3g} s"
    only_made = job.queries is None and not job.each
    parts = [counted(done.texts, "text") if only_made else found]
    if given.index is not None:
        parts.append(f"the index is in {given.index}")
    if job.output is not None:
        parts.append(f"in {given.out}")
    if given.as_json and (job.output is not None or not done.queries):
        values = {
            "texts": done.texts,
            "queries": done.queries,
            "skipped_texts": len(done.skipped_texts),
            "skipped": len(done.skipped),
            "seconds": round(done.seconds, 6),
            "approximate": done.approximate,
            "index": None if given.index is None else str(given.index),
            "out": None if given.out is None else str(given.out),
        }
        print_json(values)
        return
    note(f"adapterhub: {', '.join(parts)}")


def _note_skipped(what: str, skipped: Sequence[SkippedRow]) -> None:
    for one in skipped[:_MOST_SHOWN]:
        where = f"{one.file}, {one.place}" if one.file else f"{what} {one.place}"
        note(f"adapterhub: skipped {where}: {one.problem}")
    if len(skipped) > _MOST_SHOWN:
        note(f"adapterhub: skipped {len(skipped):,} rows in all")
