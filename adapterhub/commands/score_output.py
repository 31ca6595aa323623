"""Where `adapterhub score` writes: a table on a terminal, JSON Lines to a pipe, or a file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterhub.commands.printing import is_screen, note, print_line, print_table, to_stdout
from adapterhub.commands.score_tasks import Assignment
from adapterhub.errors import UsageError
from adapterhub.rows.formats import find_format
from adapterhub.scoring.chunks import BadRow
from adapterhub.scoring.columns import (
    answer_schema,
    check_columns,
    scan_columns,
    scan_schema,
    text_schema,
)
from adapterhub.scoring.files import check_writable, whole_file
from adapterhub.scoring.sources import Source
from adapterhub.scoring.writing import DelimitedText, JsonLines, Parquet, Row, Writer, json_line
from adapterhub.specs import TaskSpec

_CELL = 60
_MOST_BAD_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Target:
    """Where answers and bad rows go.

    Attributes:
        path: The file of the answers; None for stdout.
        skip: Whether bad rows are put aside; otherwise the first one ends the run.
        force: Whether files that exist are replaced.
        as_json: Whether stdout takes JSON even where it is a terminal.
    """

    path: Path | None
    skip: bool
    force: bool
    as_json: bool


class Table:
    """Prints rows as tables for people, one per chunk: what was read, then one cell per task."""

    def __init__(self, shown: Sequence[str], tasks: Mapping[str, TaskSpec]) -> None:
        self._shown = tuple(shown)
        self._tasks = tasks

    def write(self, rows: Sequence[Row]) -> None:
        """Prints rows; see `Writer`."""
        if rows:
            print_table((*self._shown, *self._tasks), map(self._cells, rows))

    def _cells(self, row: Row) -> list[str]:
        texts = (" ".join(str(row[column]).split()) for column in self._shown)
        cells = [text if len(text) <= _CELL else f"{text[: _CELL - 1]}…" for text in texts]
        return [*cells, *(answer_text(row, name) for name in self._tasks)]


class Lines:
    """Prints rows as JSON Lines to stdout."""

    def write(self, rows: Sequence[Row]) -> None:
        """Prints rows; see `Writer`."""
        for row in rows:
            print_line(json_line(row))
        with to_stdout() as stdout:
            stdout.flush()


class BadRows:
    """The account of bad rows: what becomes of each, and how many there were."""

    def __init__(self, source: Source, target: Target, file: Writer | None = None) -> None:
        self.count = 0
        self._source = source
        self._target = target
        self._file = file

    def write(self, rows: Sequence[BadRow]) -> None:
        """Puts rows aside.

        Raises:
            DataError: They shall not be skipped.
        """
        if rows and not self._target.skip:
            problem = f"{rows[0].problem} (--on-error skip goes on without such rows)"
            self._source.refuse(rows[0].place, problem)
        if self._file is not None:
            name = self._source.name
            self._file.write(
                [{"file": name, "line": r.place, "reason": r.problem, "row": r.row} for r in rows]
            )
        else:
            for row in rows[: max(_MOST_BAD_SHOWN - self.count, 0)]:
                note(f"adapterhub: skipped {self._source.name}, {row.place}: {row.problem}")
        self.count += len(rows)


def errors_path(out: Path) -> Path:
    """Returns the file that takes the bad rows beside `out`."""
    return out.with_name(f"{out.name}.errors.jsonl")


def check_target(target: Target, source: Source) -> None:
    """Checks that the files of a run can be written, before anything is computed.

    Raises:
        UsageError: The format is unknown, or cannot be written from this source.
        DataError: A file is in the way, or the folder cannot be written to.
    """
    out = target.path
    if out is None:
        return
    form = find_format(out, answers=True)
    for path in (out, errors_path(out)) if target.skip else (out,):
        if source.path is not None and path.exists() and path.samefile(source.path):
            raise UsageError(f"The input itself would be written, {path}; give --out another name.")
        check_writable(path, force=target.force)
    if form.name != "jsonl" and source.form.name == "jsonl" and source.path is None:
        raise UsageError(
            f"{out.name} needs all columns before the first row, and rows of JSON from a "
            f"stream may have any; write .jsonl, or read them from a file with --file."
        )


@contextlib.contextmanager
def open_writer(target: Target, source: Source, assigned: Assignment) -> Iterator[Writer]:
    """Yields what takes the rows; a file gets its name when the block ends well.

    Raises:
        UsageError: The input has a column with the name of an answer.
        DataError: The file cannot be written, or not in this format.
    """
    if target.path is not None:
        with (
            whole_file(target.path, force=target.force) as temp,
            contextlib.closing(_file_writer(target.path, temp, source, assigned)) as writer,
        ):
            yield writer
    elif target.as_json or not is_screen(sys.stdout):
        yield Lines()
    else:
        yield Table(assigned.shown, assigned.specs)


@contextlib.contextmanager
def bad_rows(target: Target, source: Source) -> Iterator[BadRows]:
    """Yields the account of bad rows; leaves no file where there were none.

    Raises:
        DataError: The file cannot be written.
    """
    if target.path is None or not target.skip:
        yield BadRows(source, target)
        return
    path = errors_path(target.path)
    with (
        whole_file(path, force=target.force) as temp,
        contextlib.closing(JsonLines(temp)) as file,
    ):
        account = BadRows(source, target, file)
        yield account
    if not account.count:
        path.unlink(missing_ok=True)


def answer_text(row: Row, name: str) -> str:
    """Returns the answer of one task for people: `positive 0.98`, `Paris=LOC`, `3.41`."""
    answer: Any = row.get(name)
    if isinstance(answer, float):
        return f"{answer:.3g}"
    if isinstance(answer, str):
        return f"{answer} {row[f'{name}_score']:.2f}"
    parts = answer or []
    if any("word" in part for part in parts):
        return ", ".join(f"{part['word']}={part['entity_group']}" for part in parts)
    return ", ".join(f"{part['label']} {part['score']:.2f}" for part in parts) or "-"


def _file_writer(
    path: Path, temp: Path, source: Source, assigned: Assignment
) -> JsonLines | DelimitedText | Parquet:
    """Opens `temp` for what `path` will hold: the columns of the source, then the answers."""
    form = find_format(path, answers=True)
    request = assigned.request
    if form.name == "jsonl":
        return JsonLines(temp, packed=form.packed)
    if form.name == "parquet":
        import pyarrow as pa

        schema = text_schema(source.columns)
        if source.path is not None and source.form.name in ("jsonl", "parquet"):
            schema = scan_schema(source.path, source.form)
        check_columns(schema.names, request.answers)
        answers = answer_schema(assigned.specs, top_k=request.top_k)
        return Parquet(temp, pa.schema([*schema, *answers]))
    columns = source.columns
    if source.path is not None and source.form.name == "jsonl":
        columns = scan_columns(source.path, source.form)
    check_columns(columns, request.answers)
    return DelimitedText(temp, form, (*columns, *request.answers))
