"""The files of one part while they are written: its rows, and beside them those that are bad."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from adapterhub.scoring.output.whole_file import flush
from adapterhub.scoring.output.writers import JsonLines, refuse_writing
from adapterhub.scoring.parts.layout import open_writer
from adapterhub.scoring.parts.part_job import PartJob
from adapterhub.scoring.pipeline.chunks import RejectedRow, ScoredChunk
from adapterhub.scoring.pipeline.windows import Window
from adapterhub.scoring.state.records import PartRecord


class Part(Protocol):
    """Takes the windows of one part."""

    def write(self, window: Window, chunk: ScoredChunk) -> None:
        """Writes a window after those before.

        Raises:
            DataError: The system cannot write it.
        """
        ...

    def finish(self) -> PartRecord:
        """Ends the files, flushes them to the disk, and returns the manifest for them.

        Raises:
            DataError: The system cannot write them.
        """
        ...

    def close(self) -> None:
        """Closes the files, whole or not."""
        ...


class NewPart:
    """A part that is scored by all tasks."""

    def __init__(self, rows: Path, bad: Path, job: PartJob, *, header: bool) -> None:
        """Opens its files.

        Args:
            rows: Takes the rows that have predictions.
            bad: Takes the others.
            job: Its job.
            header: As in `layout.open_writer`.

        Raises:
            DataError: The system cannot write them.
        """
        self._paths, self._job = (rows, bad), job
        self._bad = JsonLines(bad)
        self._rows = open_writer(rows, job.layout, job.metadata, header=header)
        self._read = self._scored = 0
        self._places: list[int] = []
        self._truncated: list[int] = []

    def write(self, window: Window, chunk: ScoredChunk) -> None:
        """Writes a window; see `Part`."""
        self._rows.write(chunk.rows)
        self._bad.write([bad_record(row, self._job.source) for row in chunk.bad])
        self._places += [window.start + row.index for row in chunk.bad]
        self._read += len(window.rows)
        self._scored += len(chunk.rows)
        self._truncated += [window.start + index for index in chunk.truncated]

    def finish(self) -> PartRecord:
        """Ends the part; see `Part`."""
        self.close()
        rows, bad = self._paths
        flushed(bad)
        return PartRecord(
            rows=self._read,
            scored=self._scored,
            bad=tuple(self._places),
            truncated=tuple(self._truncated),
            size=flushed(rows),
            tasks=self._job.record.digests,
        )

    def close(self) -> None:
        """Closes the files; see `Part`."""
        self._bad.close()
        self._rows.close()


def bad_record(row: RejectedRow, source: str) -> dict[str, object]:
    """Returns what the file of the bad rows says of one."""
    file = row.file or source
    return {"file": file, "line": row.place, "reason": row.problem, "row": row.row}


def flushed(path: Path) -> int:
    """Flushes a file to the disk and returns its size in bytes.

    Raises:
        DataError: The disk reports an error.
    """
    try:
        return flush(path)
    except OSError as error:
        refuse_writing(path, error)
