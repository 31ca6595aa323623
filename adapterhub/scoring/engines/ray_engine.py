"""Scores the parts of a job in actors of Ray; each reads its rows itself, and commits parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterhub.errors import DataError, MissingExtraError, UsageError
from adapterhub.rows.source_row import SourceRow
from adapterhub.scoring.engines.local_engine import LocalEngine
from adapterhub.scoring.engines.ray_cluster import cluster, run_in_actors
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.parts.part_job import PartJob
from adapterhub.scoring.parts.parts import PartSink
from adapterhub.scoring.pipeline.cache_use import CacheUse
from adapterhub.scoring.pipeline.chunks import Request, ScoringHub
from adapterhub.scoring.pipeline.windows import Window
from adapterhub.scoring.sources.row_source import RowSource
from adapterhub.scoring.state.folder import JobFolder, refuse_folder
from adapterhub.scoring.state.records import PartRecord

if TYPE_CHECKING:
    from adapterhub.model.execution.stages import Watch

OpenHub = Callable[[], ScoringHub]

_TRIES = 10
"""How many workers may be lost with one part before it counts as the cause."""


class RayEngine:
    """Workers of Ray at work on a job.

    Attributes:
        scored: Rows of the input that they have scored, bad ones included.
        cache_use: Which tasks came from kept features.
    """

    def __init__(
        self,
        open_hub: OpenHub,
        job: PartJob,
        source: RowSource,
        *,
        options: ScoringOptions,
        watch: Watch | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            open_hub: Opens the hub of a worker; can be pickled.
            job: The job.
            source: The rows, which can be read again.
            options: The number of workers and their GPUs.
            watch: Called after every part.
        """
        self._job, self._source, self._watch = job, source, watch
        self._options = options
        self._worker = PartWorker(open_hub, job, source, has_gpu=options.num_gpus > 0)
        self.scored = 0
        self.cache_use = CacheUse()

    def load(self, request: Request) -> None:
        """Does nothing: workers load their tasks themselves."""

    def score_parts(self, windows: Iterator[Window], sink: PartSink) -> None:  # noqa: ARG002
        """Scores what is not finished.

        Args:
            windows: Not read: workers read the input themselves.
            sink: Has the manifests of finished parts, and gets the others.

        Raises:
            DataError: A row is bad and is not to be skipped, or a file cannot be written.
            ClusterError: Ray cannot be used, or ends.
            AdapterHubError: As `Hub.load`.
        """
        numbers = [number for number in range(self._most_parts()) if number not in sink.parts]
        for number in numbers:
            _mark(self._job.folder, number).unlink(missing_ok=True)
        if not numbers:
            return
        with cluster(self._options.workers, self._options.num_gpus) as resources:
            for outcome in run_in_actors(self._worker, numbers, resources):
                if outcome.error is not None:
                    raise outcome.error
                part, use = outcome.value
                self.cache_use.join(use)
                if part is not None:
                    sink.parts[outcome.number] = part
                    self.scored += part.rows
                    if self._watch is not None:
                        self._watch(part.rows, 0)

    def _most_parts(self) -> int:
        """Returns a number of parts that the input does not exceed; there is at least one."""
        rows = self._source.row_bound()
        if rows is None and self._source.again is not None:
            rows = sum(1 for _ in self._source.again())
        return max(1, -(-(rows or 0) // self._job.record.part_rows))


class PartWorker:
    """Scores parts in a process of Ray; opens its hub with the first one."""

    def __init__(
        self, open_hub: OpenHub, job: PartJob, source: RowSource, *, has_gpu: bool
    ) -> None:
        self._open_hub, self._job, self._has_gpu = open_hub, job, has_gpu
        # Without what cannot be pickled: rows that were read ahead, and how a table is counted.
        self._source = replace(source, rows=iter(()), size=None)
        self._engine: LocalEngine | None = None
        self._rows: PartRows | None = None

    def __call__(self, number: int) -> tuple[PartRecord | None, CacheUse]:
        """Returns the manifest of a part, which is there then; None behind the end of the input.

        Beside it stands which tasks came from kept features in this process.

        Raises:
            DataError: As `LocalEngine.run_part`; or too many workers were lost with this part.
            AdapterHubError: As `Hub.load`.
        """
        mark = _mark(self._job.folder, number)
        _count_try(mark, self._job.folder, number)
        if self._engine is None or self._rows is None:
            if not self._has_gpu:
                # Read when torch looks for devices: GPUs of a worker are those that Ray gave it.
                os.environ["CUDA_VISIBLE_DEVICES"] = ""
            self._engine = LocalEngine(self._open_hub(), self._job, self._source)
            self._rows = PartRows(self._source, self._job.record.part_rows)
        found = self._engine.run_part(number, self._rows.of(number))
        mark.unlink(missing_ok=True)
        return found, self._engine.cache_use


class PartRows:
    """The rows of parts: goes on where it is in the input, as far as parts come in order."""

    def __init__(self, source: RowSource, part_rows: int) -> None:
        """Reads nothing yet.

        Args:
            source: The rows, which can be read again.
            part_rows: Rows per part.
        """
        assert source.again is not None
        self._again, self._part_rows = source.again, part_rows
        self._rows = self._again()
        self._place = 0

    def of(self, number: int) -> Iterator[SourceRow]:
        """Yields the rows of a part."""
        start = number * self._part_rows
        if start < self._place:
            self._rows, self._place = self._again(), 0
        for _ in islice(self._rows, start - self._place):
            self._place += 1
        for row in islice(self._rows, self._part_rows):
            self._place += 1
            yield row


def reopening(hub: ScoringHub) -> OpenHub:
    """Returns what opens a hub again in another process; can be pickled, and opens nothing yet."""
    made: Any = hub.__reduce__()
    return partial(made[0], *made[1])


def check_engine(options: ScoringOptions, source: RowSource, *, writes: bool) -> None:
    """Checks that a source can be scored by the engine that the options name.

    Raises:
        UsageError: It cannot, or options of Ray are given for another engine.
        MissingExtraError: Ray is not installed.
    """
    if options.engine == "local":
        given = ["workers"] if options.workers is not None else []
        given += ["num_gpus"] if options.num_gpus else []
        for name in given:
            raise UsageError(
                f"--{name.replace('_', '-')} ({name}=…) is of the engine Ray; give --engine ray "
                f"(engine='ray') too. The local engine is one process."
            )
        return
    if find_spec("ray") is None:
        raise MissingExtraError("ray", "ray")
    if not writes:
        raise UsageError("--engine ray writes files; name a folder with --out (out=…).")
    if not source.files or source.again is None:
        raise UsageError(
            f"--engine ray (engine='ray') reads files, which every worker can open; {source.name} "
            f"is none. Write the rows to a file first (in Python, a frame with to_parquet), or use "
            f"adapterhub.scoring.Scorer in map_batches."
        )


def _mark(folder: JobFolder, number: int) -> Path:
    return folder.state / f".tries-{number:05}"


def _count_try(mark: Path, folder: JobFolder, number: int) -> None:
    """Counts the workers that have begun a part; its mark is removed with its end.

    Raises:
        DataError: There were too many.
    """
    try:
        with mark.open("ab") as file:
            file.write(b".")
            tries = file.tell()
    except OSError as error:
        refuse_folder(folder.path, error)
    if tries > _TRIES:
        raise DataError(
            folder.part(number),
            f"{_TRIES} workers of Ray were lost while they scored it, perhaps for lack of memory; "
            f"give fewer --workers (workers=…) or smaller --part-rows (part_rows=…)",
        )
