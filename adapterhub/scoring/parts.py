"""Scores a job part by part; each is whole when its manifest is there, and is done once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.errors import DataError
from adapterhub.results import column_types
from adapterhub.scoring.chunks import Request, ScoredChunk
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
from adapterhub.scoring.updated_part import UpdatedPart
from adapterhub.scoring.windows import Window
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
        features_cache: Folder of the features cache; None for none.
    """

    folder: JobFolder
    record: JobRecord
    layout: Layout
    request: Request
    kinds: Mapping[str, Kind]
    skip: bool
    source: str
    features_cache: Path | None = None

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
            missing = self.lacks(part)
            return only(self.request, missing, self.record) if missing else None
        given = set(self.request.names.values())
        absent = [name for name in wanted if name not in given]
        if absent:
            raise DataError(
                self.folder.part(number),
                f"it is missing or was changed, so that all tasks must score its rows again; name "
                f"{', '.join(absent)} too",
            )
        return self.request

    def lacks(self, part: PartRecord) -> list[str]:
        """Returns the tasks that have not filled a part, by name."""
        return [name for name, one in self.record.digests.items() if part.tasks.get(name) != one]

    def types(self, names: Iterable[str]) -> pa.Schema | None:
        """Returns the columns that tasks fill, with their types, where the parts have such."""
        if self.layout.schema is None:
            return None
        import pyarrow as pa

        found: dict[str, pa.DataType] = {}
        for name in names:
            found |= column_types(name, self.kinds[name], top_k=self.request.top_k)
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
    """Takes scored windows in order, and commits each part with its last window.

    Attributes:
        parts: The manifests of all finished parts.
    """

    def __init__(self, job: PartJob, parts: Mapping[int, PartRecord]) -> None:
        """Starts with no part open.

        Args:
            job: The job.
            parts: The manifests of the parts that are finished already.
        """
        self._job, self._before = job, dict(parts)
        self._stack = ExitStack()
        self._open: tuple[int, Part, Path, Path] | None = None
        self.parts = {number: part for number, part in parts.items() if not job.lacks(part)}

    def __enter__(self) -> PartSink:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Removes what was written of a part that is not finished."""
        self._stack.close()

    def known(self, number: int) -> PartRecord | None:
        """Returns the manifest that a part had before."""
        return self._before.get(number)

    def needs(self, number: int) -> Request | None:
        """Returns how the rows of a part are to be scored, or None where it was finished before.

        Raises:
            DataError: All tasks must score it, and not all were given.
        """
        return self._job.needs(number, self.known(number))

    def take(self, window: Window, chunk: ScoredChunk) -> None:
        """Writes a window, and commits its part if it ends it.

        Raises:
            DataError: The system cannot write it.
        """
        if self._open is None or self._open[0] != window.part:
            self._begin(window.part)
        assert self._open is not None
        number, part, rows, bad = self._open
        part.write(window, chunk)
        if window.ends_part:
            record = part.finish()
            commit(self._job.folder, number, record, rows=rows, bad=bad)
            self.parts[number] = record
            self._open = None
            self._stack.close()

    def _begin(self, number: int) -> None:
        job, folder, before = self._job, self._job.folder, self.known(number)
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
                types=job.types(job.lacks(before)),
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


def read_part(folder: JobFolder, number: int) -> PartRecord | None:
    """Returns the manifest of a part if it is finished, after what a killed update has left."""
    part = read_record(folder.manifest(number), PartRecord)
    if part is None or not folder.fits(number, part):
        return None
    settle(folder, {number: part})
    return part
