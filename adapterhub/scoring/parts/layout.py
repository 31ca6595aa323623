"""What every file of an output looks like: its format, its columns and their types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.results import column_types
from adapterhub.rows.formats import FileFormat, find_format
from adapterhub.rows.reading import read_header
from adapterhub.scoring.assign_columns import Assignment, check_columns
from adapterhub.scoring.output.writers import DelimitedText, JsonLines, TypedTable
from adapterhub.scoring.sources.row_source import RowSource
from adapterhub.scoring.sources.schema import source_columns, source_schema
from adapterhub.scoring.state.folder import JobFolder
from adapterhub.scoring.state.records import JobRecord

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Layout:
    """The format of the parts of a job, and of the file that they are joined to.

    Attributes:
        form: The format.
        columns: All columns in order, of CSV and TSV; empty for other formats.
        schema: All columns with their types, of Parquet and Arrow; None for other formats.
    """

    form: FileFormat
    columns: tuple[str, ...]
    schema: pa.Schema | None

    def with_metadata(self, metadata: Mapping[bytes, bytes]) -> pa.Schema:
        """Returns the schema of a file, which says what made it."""
        assert self.schema is not None
        return self.schema.with_metadata(dict(metadata))


def make_layout(
    form: FileFormat, source: RowSource, assigned: Assignment, *, kept: pa.Schema | None = None
) -> Layout:
    """Returns the layout of what a source and its predictions are written to.

    CSV must know all columns, and Parquet and Arrow all types, before the first row is written; so
    JSON Lines and records are read once ahead for them.

    Args:
        form: Format of the output.
        source: The rows.
        assigned: The tasks.
        kept: The columns of the input that parts of the output have already, with their types.
            Types that are found in rows depend on which of them the tasks can read.

    Raises:
        DataError: There is no type for a column.
        UsageError: A column of the input has the name of one of the predictions.
    """
    request = assigned.request
    if form.name == "jsonl":
        return Layout(form, (), None)
    if form.is_typed:
        import pyarrow as pa

        own = source_schema(source, texts=assigned.texts) if kept is None else kept
        names = own.names if request.keep is None else request.keep
        fields = [own.field(name) for name in names if name in own.names]
        check_columns(names, request.written)
        types = {} if request.truncated is None else {request.truncated: pa.bool_()}
        for name, spec in assigned.specs.items():
            types |= column_types(name, spec.kind, top_k=request.answers.top_k)
        return Layout(form, (), pa.schema([*fields, *pa.schema(types)]))
    columns = source_columns(source) if request.keep is None else request.keep
    check_columns(columns, request.written)
    return Layout(form, (*columns, *request.written), None)


def kept_columns(folder: JobFolder, job: JobRecord, parts: Iterable[int]) -> pa.Schema | None:
    """Returns the columns of the input, with their types, that the parts of a job have.

    Args:
        folder: The folder.
        job: Its job, with tasks that are added.
        parts: The parts that it has.

    Returns:
        The columns; None where there is no part, or their format has no types.

    Raises:
        DataError: A part cannot be read.
    """
    first = min(parts, default=None)
    form = find_format(folder.part(0))
    if first is None or not form.is_typed:
        return None
    import pyarrow as pa

    schema = read_header(folder.part(first), form).schema
    assert schema is not None, "a typed file has a schema"
    own = {job.truncated, *(column for task in job.tasks for column in task.columns)}
    return pa.schema([field for field in schema if field.name not in own])


def open_writer(
    path: Path, layout: Layout, metadata: Mapping[bytes, bytes], *, header: bool
) -> JsonLines | DelimitedText | TypedTable:
    """Opens a file for rows of a layout.

    Args:
        path: The file.
        layout: Its layout.
        metadata: What stands in its schema, where it has one.
        header: Whether CSV and TSV begin with the names of the columns.

    Raises:
        DataError: The system cannot write it, or not in this format.
    """
    if layout.form.name == "jsonl":
        return JsonLines(path, packed=layout.form.packed)
    if layout.schema is not None:
        return TypedTable(path, layout.form, layout.with_metadata(metadata))
    return DelimitedText(path, layout.form, layout.columns, header=header)
