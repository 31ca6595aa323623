"""The file that queries are written to, with the texts that were found for each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.errors import DataError, UsageError
from adapterhub.rows.formats import FileFormat, find_format
from adapterhub.scoring.output.whole_file import check_writable, whole_file
from adapterhub.scoring.output.writers import DelimitedText, JsonLines, TypedTable
from adapterhub.scoring.sources.schema import source_columns, source_schema

if TYPE_CHECKING:
    import pyarrow as pa

    from adapterhub.scoring.sources.row_source import RowSource

NEIGHBOURS = "neighbours"
"""The column of the texts that were found: a list of `row`, `score`, `text`, `record`."""

_OF_TEXTS = ("row", "text", "record")
"""The other columns where each text is a query."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryOutput:
    """Where queries go with the texts that were found.

    Attributes:
        path: The file.
        form: Its format.
        columns: Of the queries, in order; empty where rows have their own.
        schema: Their types, of Parquet and Arrow; None for other formats.
        force: Whether an existing file is replaced.
        of_texts: Whether each text is a query.
    """

    path: Path
    form: FileFormat
    columns: tuple[str, ...]
    schema: pa.Schema | None
    force: bool
    of_texts: bool

    def write(self, chunks: Iterable[Sequence[Mapping[str, object]]]) -> None:
        """Writes rows to the file, which is whole or not there.

        Raises:
            DataError: The system cannot write it.
        """
        with whole_file(self.path, force=self.force) as temp, closing(self._writer(temp)) as out:
            for rows in chunks:
                out.write(rows if self.schema is None else list(map(self._as_text, rows)))

    def _as_text(self, row: Mapping[str, object]) -> dict[str, object]:
        """Returns a row with records as JSON: those of different texts have no type in common."""
        found = row[NEIGHBOURS]
        assert isinstance(found, list), "the texts that were found"
        own = _record_as_text(row) if self.of_texts else row
        return {**own, NEIGHBOURS: [_record_as_text(one) for one in found]}

    def _writer(self, path: Path) -> JsonLines | DelimitedText | TypedTable:
        if self.schema is not None:
            return TypedTable(path, self.form, self.schema)
        if self.form.name == "jsonl":
            return JsonLines(path, packed=self.form.packed)
        return DelimitedText(path, self.form, (*self.columns, NEIGHBOURS))


def find_output(path: Path, queries: RowSource | None, *, column: str, force: bool) -> QueryOutput:
    """Returns where queries go; checks that it can be written, before anything is computed.

    Args:
        path: The file.
        queries: The queries; None where each text is one.
        column: Their column.
        force: Whether an existing file is replaced.

    Raises:
        UsageError: It ends in no format, is the input, or a column has a name that is taken.
        DataError: It is in the way, or cannot be written.
    """
    form = find_format(path, answers=True)
    check_writable(path, force=force)
    if queries is None:
        schema = _with_neighbours(_types_of_texts()) if form.is_typed else None
        return QueryOutput(path, form, _OF_TEXTS, schema, force, of_texts=True)
    if queries.reads(path):
        raise UsageError(f"The queries themselves would be written, {path}; name another file.")
    columns = source_columns(queries)
    if NEIGHBOURS in columns:
        raise UsageError(
            f"The queries have a column '{NEIGHBOURS}' already, which the texts that are found "
            f"would take; rename it."
        )
    if form.name != "jsonl" and not queries.declared and queries.again is None:
        raise DataError(
            path, "all columns are needed before the first row of a stream of JSON; write .jsonl"
        )
    schema = _with_neighbours(source_schema(queries, texts=(column,))) if form.is_typed else None
    return QueryOutput(path, form, columns, schema, force, of_texts=False)


def _types_of_texts() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(dict(zip(_OF_TEXTS, (pa.int64(), pa.string(), pa.string()), strict=True)))


def _with_neighbours(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    own = pa.struct(
        [
            ("row", pa.int64()),
            ("score", pa.float64()),
            ("text", pa.string()),
            ("record", pa.string()),
        ]
    )
    return schema.append(pa.field(NEIGHBOURS, pa.list_(own)))


def _record_as_text(values: Mapping[str, object]) -> dict[str, object]:
    record = values.get("record")
    text = None if record is None else json.dumps(record, ensure_ascii=False)
    return {**values, "record": text}
