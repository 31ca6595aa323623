"""The columns of a file of answers: those of the input, then those of the tasks.

JSON Lines needs none of this. CSV must know all names, and Parquet all types, before the
first row is written; so an input of JSON Lines is read once ahead for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.errors import DataError, UsageError
from adapterhub.results import column_types, has_score_column, score_column
from adapterhub.rows.formats import FileFormat
from adapterhub.rows.reading import SourceRow, read_file
from adapterhub.scoring.chunks import take_chunks
from adapterhub.specs import TaskSpec

if TYPE_CHECKING:
    import pyarrow as pa

_CHUNK_ROWS = 8_192


def answer_columns(tasks: Mapping[str, TaskSpec], *, top_k: int | None) -> tuple[str, ...]:
    """Returns the columns that `Scores.rows` gives for tasks, by their names there.

    Raises:
        UsageError: Two tasks would share a column.
    """
    names: list[str] = []
    for name, spec in tasks.items():
        names.append(name)
        if has_score_column(spec.kind, top_k):
            names.append(score_column(name))
    refuse_twice(names, "two tasks")
    return tuple(names)


def check_columns(columns: Iterable[str], answers: Sequence[str]) -> None:
    """Checks that no answer would take the place of a column of the input.

    Raises:
        UsageError: One would.
    """
    taken = sorted(set(columns) & set(answers))
    if taken:
        raise UsageError(
            f"The input has a column '{taken[0]}' already; --prefix predicted_ would write "
            f"'predicted_{taken[0]}' beside it."
        )


def refuse_twice(names: Sequence[str], owners: str) -> None:
    """Checks that no name occurs twice.

    Raises:
        UsageError: One does.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"The column '{twice}' would be written by {owners}; run them apart.")


def scan_columns(path: Path, form: FileFormat) -> tuple[str, ...]:
    """Returns all columns of a file of JSON Lines, in order of first appearance."""
    found: dict[str, None] = {}
    for row in read_file(path, form):
        found.update(dict.fromkeys(row.values))
    return tuple(found)


def text_schema(columns: Iterable[str]) -> pa.Schema:
    """Returns the schema of columns that hold texts."""
    import pyarrow as pa

    return pa.schema([(column, pa.string()) for column in columns])


def scan_schema(path: Path, form: FileFormat) -> pa.Schema:
    """Returns the Parquet schema of a file: its own, or what its JSON values are.

    Raises:
        DataError: A column holds values that no one type of Parquet can hold.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if form.name == "parquet":
        try:
            return pq.read_schema(path).remove_metadata()
        except (pa.ArrowException, OSError) as error:
            raise DataError(path, f"it is not a readable Parquet file: {error}") from error
    schema = pa.schema([])
    for rows in take_chunks(read_file(path, form), _CHUNK_ROWS):
        schema = _widen(schema, [row for row in rows if row.problem is None], path)
    return schema


def answer_schema(tasks: Mapping[str, TaskSpec], *, top_k: int | None) -> pa.Schema:
    """Returns the types of `answer_columns`."""
    import pyarrow as pa

    fields: dict[str, pa.DataType] = {}
    for name, spec in tasks.items():
        fields |= column_types(name, spec.kind, top_k=top_k)
    return pa.schema(fields)


def _widen(schema: pa.Schema, rows: Sequence[SourceRow], path: Path) -> pa.Schema:
    import pyarrow as pa

    names = dict.fromkeys(name for row in rows for name in row.values)
    for name in names:
        values = [row.values.get(name) for row in rows]
        try:
            found = pa.schema([(name, pa.array(values).type)])
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
        except (pa.ArrowException, TypeError, OverflowError) as error:
            raise DataError(
                path,
                f"the column '{name}' holds values that Parquet cannot hold in one column: "
                f"{error}. Write .jsonl instead",
                rows[0].place,
            ) from error
    return schema
