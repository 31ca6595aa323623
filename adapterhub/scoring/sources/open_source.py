"""Opens what is scored: a path, a stream, a table, or an iterable of texts or records."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sized
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterhub.errors import InputError, UsageError
from adapterhub.rows.formats import FileFormat, Format, find_format, packing_of
from adapterhub.rows.input_files import (
    InputFile,
    Place,
    as_input_files,
    find_files,
    input_file,
    place_of,
    read_files,
)
from adapterhub.rows.reading import TEXT_COLUMN, read_file
from adapterhub.rows.source_row import Rows, SourceRow, encoding_problem
from adapterhub.rows.streams import is_live, stream_identity, stream_rows
from adapterhub.rows.tables import is_read_once, is_table, table_rows, table_size
from adapterhub.scoring.output.writers import plain_value

if TYPE_CHECKING:
    pass

from adapterhub.scoring.sources.row_source import AHEAD_ROWS, ARGUMENTS, RowSource

_SHOWN = 200


def open_source(source: object, form: Format | None = None, *, live: bool = False) -> RowSource:
    """Returns the rows of files, a stream, a table, or an iterable of texts or records.

    Args:
        source: A path of a file or folder, or a pattern (`data/*.csv`, `**` for all folders
            below); a list of paths that are no strings; an open stream, best in binary mode; a
            table, see `rows.tables`; or an iterable.
        form: Format of files or of a stream; None goes by the name of a file, also of an open
            one, and takes any other stream for one text per line.
        live: Whether the rows of an iterable arrive in their own time, as those of a stream.

    Raises:
        DataError: It cannot be read, or none of its rows, of which there are some.
        UsageError: The name of a file does not say its format.
        InputError: It is none of these.
    """
    if isinstance(source, str | os.PathLike):
        return path_source(Path(os.path.expanduser(source)), form)
    if hasattr(source, "read"):
        name = str(getattr(source, "name", "stream"))
        return stream_source(source, form or _format_of(name), name=name)
    if is_table(source):
        return table_source(source)
    if hasattr(source, "to_pylist"):
        source = source.to_pylist()  # an array of Arrow, whose items are no strings
    # Iterating over bytes gives numbers, over a lazy data frame the names of its columns.
    is_other = isinstance(source, bytes | bytearray) or hasattr(source, "columns")
    if is_other or not isinstance(source, Iterable):
        raise InputError(
            f"What is to be scored is of type {type(source).__name__}; expected a path, a stream, "
            f"or an iterable of strings or records, or a table."
        )
    return row_source(source, form, live=live)


def table_source(table: object) -> RowSource:
    """Returns the rows of a data frame, an Arrow table, a dataset, or a mapping of columns.

    Raises:
        DataError: It is no such table.
    """

    def read() -> Rows:
        found = table_rows(table, ARGUMENTS)
        # Values of Arrow can all be written.
        rows = found if found.schema is not None else map(_writable, found)
        return Rows(found.columns, rows, found.schema)

    again = None if is_read_once(table) else read
    size = partial(table_size, table)
    form = FileFormat("jsonl")
    return _source(ARGUMENTS, form, read(), ahead=again is not None, again=again, size=size)


def _writable(row: SourceRow) -> SourceRow:
    problem = row.problem or _record_problem(row.values)
    return row if problem is None else SourceRow(row.place, {}, problem, repr(row.values)[:_SHOWN])


def path_source(path: Path, form: Format | None) -> RowSource:
    """Returns the rows of a file, or of all files of a folder or pattern as one.

    Raises:
        DataError: One cannot be read, or none of its rows, or the files do not fit each other.
        UsageError: The name of a file does not say its format.
    """
    place = place_of(path)
    try:
        if place is not None:
            return _files_source(str(path), find_files(place, form), place)
        own = FileFormat(form, packing_of(path)) if form else find_format(path)
    except UsageError as error:
        raise UsageError(f"{error} --format (format) says the format of other names.") from error
    return file_source(path, own)


def file_source(path: Path, form: FileFormat) -> RowSource:
    """Returns the rows of a file.

    Raises:
        DataError: It cannot be read, or none of its rows, of which there are some.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        # A pipe (`<(zcat …)`) can be read, but only once.
        return _source(str(path), form, read_file(path, form), ahead=False, is_stream=True)
    again = partial(read_file, path.absolute(), form)
    rows = again()
    return _source(str(path), form, rows, again=again, files=(input_file(path, form),))


def _files_source(name: str, files: tuple[InputFile, ...], place: Place | None) -> RowSource:
    again = partial(read_files, files)
    return _source(name, files[0].form, again(), again=again, files=files, place=place)


def stream_source(stream: Any, form: Format, *, name: str) -> RowSource:
    """Returns the rows of an open stream, which is read to its end and not closed.

    In binary mode, bytes that are not UTF-8 cost their row only.

    Raises:
        DataError: It cannot be read, or none of its rows, of which there are some.
        UsageError: Its format needs a file, as Parquet does.
    """
    live = is_live(stream)
    return _source(
        name,
        FileFormat(form),
        stream_rows(stream, form, name),
        ahead=not live,
        is_stream=live,
        stream_identity=stream_identity(stream),
    )


def _format_of(name: str) -> Format:
    """Returns the format that the name of an open file says; `text` for any other stream."""
    try:
        return find_format(Path(name)).name
    except UsageError:
        return "text"


def row_source(
    rows: Iterable[object], form: Format | None = None, *, live: bool = False
) -> RowSource:
    """Returns one row per text, or per record, or those of files; the first of these says which.

    Args:
        rows: Strings, records, or paths that are no strings.
        form: Format of the files.
        live: Whether rows arrive in their own time, so that only the first is awaited.

    Raises:
        DataError: None can be read, of some.
        InputError: Among paths there is something else.
    """
    given = iter(rows)
    # A list may begin with what is none of them, as None and NaN for a text that is missing.
    first = list(_to_first_known(islice(given, 1 if live else AHEAD_ROWS)))
    if first and isinstance(first[-1], os.PathLike):
        paths = [_as_path(one) for one in chain(first, given)]
        return _files_source(ARGUMENTS, as_input_files(paths, form, whole=ARGUMENTS), None)
    is_plain = bool(first) and isinstance(first[-1], str)
    read = _text_rows if is_plain else _record_rows
    found = Rows((TEXT_COLUMN,) if is_plain else (), read(chain(first, given)))
    own = FileFormat("text" if is_plain else "jsonl")
    return _source(
        ARGUMENTS,
        own,
        found,
        ahead=not live,
        again=None if given is rows else partial(read, rows),
        is_stream=live,
        size=partial(len, rows) if isinstance(rows, Sized) else None,
    )


def _source(
    name: str,
    form: FileFormat,
    rows: Rows,
    *,
    ahead: bool = True,
    **more: Any,
) -> RowSource:
    """Returns a source whose first rows say the columns, if nothing else does.

    Args:
        name: See `RowSource`.
        form: See `RowSource`.
        rows: All rows.
        ahead: Whether more are read at once than are needed, which is at most the first good one.
        more: More attributes of `RowSource`.
    """
    declared = bool(rows.columns) or form.name not in ("jsonl", "text")
    head = islice(rows, AHEAD_ROWS if ahead or not declared else 0)
    first = list(head if ahead else _to_first_good(head))
    good = [row.values for row in first if row.problem is None]
    columns = rows.columns if declared else tuple(dict.fromkeys(chain.from_iterable(good)))
    source = RowSource(
        name=name,
        form=form,
        rows=chain(first, rows),
        columns=columns,
        common=frozenset(columns if declared else set(columns).intersection(*good)),
        declared=declared,
        schema=rows.schema,
        **more,
    )
    if first and not columns:
        bad = next((row for row in first if row.problem is not None), first[0])
        source.refuse(bad.place, bad.problem or "it has no columns", bad.file)
    return source


def _as_path(given: object) -> Path:
    if not isinstance(given, str | os.PathLike):
        raise InputError(f"A list of paths holds a {type(given).__name__}; expected a path.")
    return Path(os.path.expanduser(given))


def _to_first_known(rows: Iterator[object]) -> Iterator[object]:
    for row in rows:
        yield row
        if isinstance(row, str | Mapping | os.PathLike):
            return


def _to_first_good(rows: Iterator[SourceRow]) -> Iterator[SourceRow]:
    for row in rows:
        yield row
        if row.problem is None:
            return


def _text_rows(texts: Iterable[object]) -> Iterator[SourceRow]:
    for place, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            problem: str | None = f"it is of type {type(text).__name__}; expected a string"
        else:
            problem = encoding_problem(text)
        values = {} if problem else {TEXT_COLUMN: text}
        yield SourceRow(place, values, problem, str(text))


def _record_rows(records: Iterable[object]) -> Iterator[SourceRow]:
    for place, record in enumerate(records, start=1):
        problem = _record_problem(record)
        if problem is None and isinstance(record, Mapping):
            yield SourceRow(place, record)
        else:
            yield SourceRow(place, {}, problem, repr(record)[:_SHOWN])


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
