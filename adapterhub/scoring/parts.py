"""Scores a job part by part; each is whole when its manifest is there, and is done once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.errors import DataError
from adapterhub.results import column_types
from adapterhub.rows.source_row import SourceRow
from adapterhub.scoring.chunks import Request, ScoredChunk, Scorer, score_chunk
from adapterhub.scoring.job_folder import JobFolder, place_staged, refuse_folder, settle
from adapterhub.scoring.job_records import (
    JobRecord,
    PartRecord,
    read_record,
    schema_metadata,
    write_record,
)
from adapterhub.scoring.layout import Layout
from adapterhub.scoring.outputs import temp_beside
from adapterhub.scoring.part_writer import NewPart, Part
from adapterhub.scoring.sources import RowSource
from adapterhub.scoring.updated_part import UpdatedPart
from adapterhub.scoring.windows import Window, take_windows
from adapterhub.specs import Kind
from adapterhub.store.atomic import take_name

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class PartJob:
    """What every process must know to score parts of a job; it can be pickled.

    Attributes:
        folder: Where the parts are made.
        record: The fingerprint of the job, as it stands there.
        layout: Of the parts.
        request: How rows are scored: by all tasks of the job, or by those that are added.
        kinds: Kind of each task of the request by its name.
        skip: Whether bad rows are left out; they stop the job otherwise.
        source: Name of the input.
    """

    folder: JobFolder
    record: JobRecord
    layout: Layout
    request: Request
    kinds: Mapping[str, Kind]
    skip: bool
    source: str

    def needs(self, number: int, part: PartRecord | None) -> Request | None:
        """Returns how the rows of a part are still to be scored, or None where it is finished.

        Args:
            number: The part.
            part: Its manifest, if it has one that fits.

        Raises:
            DataError: All tasks must score it, and not all were given.
        """
        wanted = self.record.digests
        if part is not None:
            if part.tasks == wanted:
                return None
            missing = [name for name in wanted if part.tasks.get(name) != wanted[name]]
            return only(self.request, missing, self.record)
        given = set(self.request.names.values())
        absent = [name for name in wanted if name not in given]
        if absent:
            raise DataError(
                self.folder.part(number),
                f"it is missing or was changed, so that all tasks must score its rows again; name "
                f"{', '.join(absent)} too",
            )
        return self.request

    def types(self, request: Request) -> pa.Schema | None:
        """Returns the columns that a request fills, with their types, where the parts have such."""
        if self.layout.schema is None:
            return None
        import pyarrow as pa

        found: dict[str, pa.DataType] = {}
        for name in request.names.values():
            found |= column_types(name, self.kinds[name], top_k=request.top_k)
        return pa.schema(found)


def only(request: Request, names: Iterable[str], record: JobRecord) -> Request:
    """Returns the part of a request that is for some tasks of a job, by their names there."""
    wanted = set(names)
    kept = {ref: name for ref, name in request.names.items() if name in wanted}
    columns = {one for task in record.tasks if task.name in wanted for one in task.columns}
    versions = {ref: request.versions[ref] for ref in kept}
    return replace(
        request,
        names=kept,
        versions=versions,
        columns=tuple(one for one in request.columns if one in columns),
        fields={one: request.fields[one] for one in versions.values()},
    )


def in_order(request: Request, record: JobRecord) -> Request:
    """Returns a request whose tasks have the order that they have in a job."""
    order = [task.name for task in record.tasks]
    names = dict(sorted(request.names.items(), key=lambda item: order.index(item[1])))
    columns = [column for task in record.tasks for column in task.columns]
    return replace(
        request, names=names, columns=tuple(one for one in columns if one in request.columns)
    )


class PartSink:
    """Takes scored windows in order, and commits each part with its last window."""

    def __init__(self, job: PartJob, parts: Mapping[int, PartRecord]) -> None:
        """Starts with no part open.

        Args:
            job: The job.
            parts: The manifests of finished parts.
        """
        self._job, self._parts = job, parts
        self._stack = ExitStack()
        self._open: tuple[int, Part, Path, Path] | None = None

    def __enter__(self) -> PartSink:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Removes what was written of a part that is not finished."""
        self._stack.close()

    def take(self, window: Window, chunk: ScoredChunk, request: Request) -> PartRecord | None:
        """Writes a window; returns the manifest of its part if that is finished now.

        Raises:
            DataError: The system cannot write it.
        """
        if self._open is None or self._open[0] != window.part:
            self._begin(window.part, request)
        assert self._open is not None
        number, part, rows, bad = self._open
        part.write(window, chunk)
        if not window.ends_part:
            return None
        record = part.finish()
        commit(self._job.folder, number, record, rows=rows, bad=bad)
        self._open = None
        self._stack.close()
        return record

    def _begin(self, number: int, request: Request) -> None:
        job, folder = self._job, self._job.folder
        before = self._parts.get(number)
        rows = self._stack.enter_context(temp_beside(folder.part(number)))
        bad = self._stack.enter_context(temp_beside(folder.bad(number)))
        metadata, tasks = schema_metadata(job.record), job.record.digests
        part: Part
        if before is None:
            part = NewPart(
                rows,
                bad,
                layout=job.layout,
                metadata=metadata,
                header=number == 0,
                tasks=tasks,
                source=job.source,
            )
        else:
            part = UpdatedPart(
                (folder.part(number), folder.bad(number)),
                (rows, bad),
                before,
                tasks=tasks,
                types=job.types(request),
                metadata=metadata,
                source=job.source,
            )
        self._stack.callback(part.close)
        self._open = number, part, rows, bad


def commit(folder: JobFolder, number: int, part: PartRecord, *, rows: Path, bad: Path) -> None:
    """Makes a part finished: its files take their names, and the manifest says so.

    Args:
        folder: Where.
        number: The part.
        part: Its manifest.
        rows: The whole file of its rows, under another name.
        bad: The whole file of its bad rows, under another name.

    Raises:
        DataError: The system refuses it.
    """
    is_new = part.revision == 0
    to_rows = folder.part(number) if is_new else folder.staged(number, part.revision, "part")
    to_bad = folder.bad(number) if is_new else folder.staged(number, part.revision, "bad")
    try:
        if part.bad:
            take_name(bad, to_bad, replace=True)
        else:
            to_bad.unlink(missing_ok=True)
        take_name(rows, to_rows, replace=True)
    except OSError as error:
        refuse_folder(folder.path, error)
    write_record(folder.manifest(number), part)
    if not is_new:
        place_staged(folder, number, part)


def run_part(
    job: PartJob, number: int, rows: Iterator[SourceRow], *, scorer: Scorer, source: RowSource
) -> PartRecord | None:
    """Scores one part of a job and commits it, unless that has been done.

    Args:
        job: The job.
        number: The part.
        rows: The rows of the input from its first row on; as many are taken as the part has.
        scorer: A `Hub`.
        source: Where the rows come from, for messages.

    Returns:
        Its manifest; None where the input ends before the part, which is not made then.

    Raises:
        DataError: A row is bad and is not to be skipped, or a file cannot be written.
        AdapterHubError: As `Hub.load`.
    """
    own = islice(rows, job.record.part_rows)
    part = read_part(job.folder, number)
    request = job.needs(number, part)
    if request is None:
        for _ in own:
            pass
        return part
    first = next(own, None)
    if first is None and number:
        return None
    given = own if first is None else chain([first], own)
    windows = take_windows(given, job.record.part_rows, first_part=number)
    with PartSink(job, {} if part is None else {number: part}) as sink:
        done = None
        for window in windows:
            chunk = score_window(scorer, window, request, before=part)
            refuse_bad(chunk, source, skip=job.skip)
            done = sink.take(window, chunk, request)
    return done


def read_part(folder: JobFolder, number: int) -> PartRecord | None:
    """Returns the manifest of a part if it is finished, after what a killed update has left."""
    part = read_record(folder.manifest(number), PartRecord)
    if part is None or not folder.fits(number, part):
        return None
    settle(folder, {number: part})
    return part


def score_window(
    scorer: Scorer,
    window: Window,
    request: Request,
    *,
    before: PartRecord | None,
) -> ScoredChunk:
    """Returns a window with predictions; in an update without the rows that are bad already."""
    known = set() if before is None else set(before.bad)
    rows = [row for place, row in enumerate(window.rows, start=window.start) if place not in known]
    return score_chunk(scorer, rows, request)


def refuse_bad(chunk: ScoredChunk, source: RowSource, *, skip: bool) -> None:
    """Stops at the first bad row, where such rows are not skipped.

    Raises:
        DataError: There is one.
    """
    if chunk.bad and not skip:
        first = chunk.bad[0]
        hint = "--on-error skip (on_error='skip') goes on without such rows"
        source.refuse(first.place, f"{first.problem} ({hint})", first.file)
