"""Scores the parts of a job in this process: reading, computing and writing at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, NoReturn

from adapterhub.errors import ResidentError
from adapterhub.rows.source_row import SourceRow
from adapterhub.scoring.parts.part_job import PartJob
from adapterhub.scoring.parts.parts import PartSink, read_part
from adapterhub.scoring.pipeline.cache_use import CacheUse, kept_features
from adapterhub.scoring.pipeline.chunks import Request, RowStages, ScoredChunk, ScoringHub
from adapterhub.scoring.pipeline.stages import RowWindow, score_windows
from adapterhub.scoring.pipeline.windows import Window, take_windows
from adapterhub.scoring.sources.row_source import RowSource
from adapterhub.scoring.state.records import PartRecord

if TYPE_CHECKING:
    from adapterhub.model.execution.stages import Watch

Take = Callable[[Window, ScoredChunk], object]


class LocalEngine:
    """A hub at work on a job.

    Attributes:
        scored: Rows of the input that it has scored, bad ones included.
        cache_use: Which tasks came from kept features.
    """

    def __init__(
        self, hub: ScoringHub, job: PartJob, source: RowSource, watch: Watch | None = None
    ) -> None:
        """Loads nothing yet.

        Args:
            hub: A `Hub`.
            job: The job.
            source: Where the rows come from, for messages.
            watch: As in `score_windows`.
        """
        self._hub, self._job, self._source, self._watch = hub, job, source, watch
        self._opened: list[tuple[Request, RowStages]] = []
        self.scored = 0
        self.cache_use = CacheUse()

    def load(self, request: Request) -> None:
        """Loads the tasks of a request.

        Raises:
            ResidentError: A task is not the version of the job.
            AdapterHubError: As `Hub.load`.
        """
        self._stages(request)

    def score_parts(self, windows: Iterator[Window], sink: PartSink) -> None:
        """Scores the windows of all parts that are not finished.

        Raises:
            DataError: A row is bad and is not to be skipped, or a file cannot be written.
            AdapterHubError: As `load`.
        """
        wanted = ((sink.needs(window.part), window) for window in windows)
        # A run of parts that lack the same tasks; in most jobs there is one.
        for request, group in groupby(wanted, key=itemgetter(0)):
            if request is not None:
                own = (window for _, window in group)
                self.score(request, own, take=sink.take, known=sink.known)

    def run_part(self, number: int, rows: Iterator[SourceRow]) -> PartRecord | None:
        """Scores one part and commits it, unless that has been done.

        Args:
            number: The part.
            rows: The rows of the input from its first one on; as many are taken as it has.

        Returns:
            Its manifest; None where the input ends before the part, which is not made then.

        Raises:
            DataError: A row is bad and is not to be skipped, or a file cannot be written.
            AdapterHubError: As `load`.
        """
        own = islice(rows, self._job.record.part_rows)
        first = list(islice(own, 1))
        if number and not first:
            return None
        part = read_part(self._job.folder, number)
        with PartSink(self._job, {} if part is None else {number: part}) as sink:
            given = chain(first, own)
            windows = take_windows(given, self._job.record.part_rows, first_part=number)
            self.score_parts(windows, sink)
            return sink.parts[number]

    def score(
        self,
        request: Request,
        windows: Iterator[Window],
        *,
        take: Take,
        known: Callable[[int], PartRecord | None] = lambda _: None,
    ) -> None:
        """Scores windows.

        Args:
            request: How.
            windows: The rows.
            take: Takes each window with its outcome, in order, in a thread of its own.
            known: Returns the manifest that a part has already; its bad rows are left out of
                what is handed on.

        Raises:
            DataError: A row is bad and is not to be skipped, or a file cannot be written.
            AdapterHubError: As `load`.
        """
        stages = self._stages(request)
        features = kept_features(self._job.features_cache, stages.call)
        waiting: deque[Window] = deque()

        def begun() -> Iterator[RowWindow]:
            for window in windows:
                waiting.append(window)
                yield RowWindow(window.rows, window.part, features())

        def hand_on(chunk: ScoredChunk) -> None:
            window = waiting.popleft()
            self.cache_use.add(chunk, request)
            chunk = without_known(chunk, window, known(window.part))
            refuse_bad(chunk, self._source, skip=self._job.skip)
            take(window, chunk)
            self.scored += len(window.rows)

        with closing(score_windows(stages, begun(), watch=self._watch, hand_on=hand_on)) as scored:
            for _ in scored:
                pass

    def _stages(self, request: Request) -> RowStages:
        """Returns the stages of a request, always the same."""
        for known, stages in self._opened:
            if known == request:
                return stages
        stages = RowStages.open(self._hub, request)
        digests = self._job.record.digests
        for reference, made_by in stages.call.made_by.items():
            names = [request.names[r] for r, one in request.versions.items() if one == reference]
            if any(digests[name] != made_by.sha256 for name in names):
                raise ResidentError(
                    f"Task '{names[0]}' ({reference}) has the digest {made_by.sha256[:12]}… here, "
                    f"and {digests[names[0]][:12]}… in the job; was its file replaced? Run the job "
                    f"again."
                )
        self._opened.append((request, stages))
        return stages


def without_known(chunk: ScoredChunk, window: Window, part: PartRecord | None) -> ScoredChunk:
    """Returns the outcome of a window as if the rows that are known to be bad were not in it.

    They were computed all the same, so that the batches are those of a job with all tasks.
    """
    bad = frozenset() if part is None else frozenset(part.bad)
    known = {index for index in range(len(window.rows)) if window.start + index in bad}
    if not known:
        return chunk
    others = [index for index in range(len(window.rows)) if index not in known]
    number = {index: place for place, index in enumerate(others)}
    lost = {row.index for row in chunk.bad}
    scored = (index for index in range(len(window.rows)) if index not in lost)
    return replace(
        chunk,
        rows=tuple(row for index, row in zip(scored, chunk.rows, strict=True) if index in number),
        bad=tuple(
            replace(row, index=number[row.index]) for row in chunk.bad if row.index in number
        ),
        truncated=tuple(number[index] for index in chunk.truncated if index in number),
    )


def refuse_bad(chunk: ScoredChunk, source: RowSource, *, skip: bool) -> None:
    """Stops at the first bad row, where such rows are not skipped.

    Raises:
        DataError: There is one.
    """
    if chunk.bad and not skip:
        first = chunk.bad[0]
        refuse(source, first.place, first.problem, first.file)


def refuse(source: RowSource, place: int, problem: str, file: str) -> NoReturn:
    """Raises the error of a bad row, and says how to go on without it.

    Raises:
        DataError: Always.
    """
    hint = "--on-error skip (on_error='skip') goes on without such rows"
    source.refuse(place, f"{problem} ({hint})", file)
