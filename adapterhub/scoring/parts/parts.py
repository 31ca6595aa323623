"""Scores a job part by part; each is whole when its manifest is there, and is done once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from adapterhub.scoring.output.whole_file import temp_beside
from adapterhub.scoring.parts.new_part import NewPart, Part
from adapterhub.scoring.parts.part_job import PartJob
from adapterhub.scoring.parts.updated_part import UpdatedPart
from adapterhub.scoring.pipeline.chunks import Request, ScoredChunk
from adapterhub.scoring.pipeline.windows import Window
from adapterhub.scoring.state.folder import JobFolder, place_staged, refuse_folder, settle
from adapterhub.scoring.state.records import PartRecord, read_record, write_record
from adapterhub.store.atomic import sync_folder, take_name


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
        part: Part
        if before is None:
            part = NewPart(rows, bad, job, header=number == 0)
        else:
            old = folder.part(number), folder.bad(number)
            part = UpdatedPart(old, (rows, bad), before, job)
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
        sync_folder(to_rows.parent)
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
