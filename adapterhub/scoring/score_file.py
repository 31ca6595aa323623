"""`score_file`: rows in, a file or a folder of parts with predictions out, in constant memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.plan import Plan
from adapterhub.scoring.assign_columns import assign_columns
from adapterhub.scoring.engines.local_engine import LocalEngine, refuse_bad
from adapterhub.scoring.engines.ray_engine import OpenHub, RayEngine, check_engine, reopening
from adapterhub.scoring.engines.run_job import Engine, run_job
from adapterhub.scoring.job.fingerprint import EncoderSettings
from adapterhub.scoring.job.job import ScoringJob, plan_output
from adapterhub.scoring.job.target import Target, check_target, find_target
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.pipeline.cache_use import CacheUse, check_cache, kept_features
from adapterhub.scoring.pipeline.chunks import RowStages, ScoredChunk, ScoringHub
from adapterhub.scoring.pipeline.stages import score_windows
from adapterhub.scoring.progress import Progress, watching
from adapterhub.scoring.sources.open_source import open_source
from adapterhub.scoring.sources.row_source import RowSource
from adapterhub.scoring.state.records import TaskRecord, Totals, totals
from adapterhub.scoring.stream import row_windows
from adapterhub.store.paths import absolute_path
from adapterhub.store.registries import Registries, as_registries
from adapterhub.store.registry import Registry

if TYPE_CHECKING:
    from adapterhub.model.execution.stages import Watch


@dataclass(frozen=True, slots=True)
class ScoredFile:
    """The outcome of scoring a file.

    Attributes:
        path: The file or folder with the predictions; None where none was written.
        rows: Rows that were read.
        scored: Rows that all tasks scored.
        bad: The other rows.
        bad_path: The file with the bad rows and their reasons; None where there is none.
        truncated: Rows that were longer than all their windows.
        seconds: Time that this run spent on reading, scoring and writing.
        tasks: References of the tasks of the call.
        plan: What was computed per text.
        columns: By name of a task in the output, the column that each field was read from.
        parts: Number of parts that the rows were scored in.
        resumed_rows: Rows that runs before this one have scored, and this one has not.
        made_by: By name of a task in the output, its version, digest and columns.
        from_cache: Names of the tasks that this run computed from kept features, without a pass
            of the encoder.
        tokens: Tokens that this run gave to the encoder.
    """

    path: Path | None
    rows: int
    scored: int
    bad: int
    bad_path: Path | None
    truncated: int
    seconds: float
    tasks: tuple[str, ...]
    plan: Plan
    columns: Mapping[str, Mapping[str, str]]
    parts: int = 1
    resumed_rows: int = 0
    made_by: Mapping[str, TaskRecord] | None = None
    from_cache: tuple[str, ...] = ()
    tokens: int = 0

    @property
    def rows_per_second(self) -> float:
        """Returns the rows of this run per second."""
        return self.new_rows / max(self.seconds, 1e-9)

    @property
    def tokens_per_second(self) -> float:
        """Returns the tokens of this run per second."""
        return self.tokens / max(self.seconds, 1e-9)

    @property
    def passes(self) -> int:
        """Returns the passes of the encoder per text in this run."""
        return self.plan.passes_without(self.from_cache)

    @property
    def new_rows(self) -> int:
        """Returns the rows that this run has scored, bad ones included."""
        return self.rows - self.resumed_rows


def score_file(
    hub: ScoringHub,
    source: object,
    out: str | Path,
    *,
    tasks: Sequence[str] = (),
    options: ScoringOptions | None = None,
) -> ScoredFile:
    """Scores all rows of a source and writes them, with their predictions, to a file or folder.

    Args:
        hub: A `Hub`.
        source: As in `open_source`.
        out: The file, whose ending says the format, or a folder for parts.
        tasks: References; none for all tasks of the hub's registries that can read the
            source.
        options: None takes the defaults.

    Raises:
        DataError: The source or a row of it cannot be used, a file cannot be written, or the
            output belongs to another job.
        UsageError: Tasks, columns and options do not fit each other.
        AdapterHubError: As `Hub.load`.
    """
    options = absolute(options or ScoringOptions())
    registries = Registries(hub.registry_paths)
    # Before the first row is read: rows may come from code that changes the working folder.
    target = find_target(out, options)
    job = prepare(
        registries,
        open_source(source, options.format),
        out=target,
        tasks=tasks,
        options=options,
        encoder=EncoderSettings(registries.backbone_key(hub.backbone), hub.dtype, hub.max_windows),
    )
    return run(reopening(hub) if options.engine == "ray" else lambda: hub, job)


def prepare(
    registries: Registries | Registry,
    source: RowSource,
    *,
    out: Target | None,
    tasks: Sequence[str],
    options: ScoringOptions,
    encoder: EncoderSettings,
) -> ScoringJob:
    """Returns a job whose tasks, columns and files fit; needs no backbone and no torch.

    Args:
        registries: Where tasks are looked up.
        source: The rows.
        out: Where to write; None where the caller of `run` takes the chunks.
        tasks: As in `score_file`.
        options: As in `score_file`.
        encoder: What it will run on.

    Raises:
        DataError: A column is missing, a file is in the way, or the output is of another job.
        UsageError: Tasks, columns and options do not fit each other.
        AdapterHubError: As `Hub.spec`.
    """
    options = absolute(options)
    check_engine(options, source, writes=out is not None)
    if out is not None:
        check_target(out, source, options)
    assigned = assign_columns(
        as_registries(registries),
        source,
        tasks=tasks,
        options=options,
        backbone=encoder.backbone,
    )
    output = None
    if out is not None:
        output = plan_output(source, assigned, out, options=options, encoder=encoder)
    check_cache(options.features_cache)
    return ScoringJob(source, assigned, options, output)


def absolute(options: ScoringOptions) -> ScoringOptions:
    """Returns options whose paths do not depend on the working folder."""
    if options.features_cache is None:
        return options
    folder = absolute_path(options.features_cache, "features cache")
    return options.model_copy(update={"features_cache": folder})


def run(
    open_hub: OpenHub, job: ScoringJob, show: Callable[[ScoredChunk], None] | None = None
) -> ScoredFile:
    """Loads the tasks of a job, scores its rows, and writes them.

    Args:
        open_hub: Returns a `Hub`; called where rows are scored, so that workers of Ray pickle it.
        job: What to do.
        show: Called with every chunk, where nothing is written.

    Raises:
        DataError: A row is bad and is not to be skipped, or a file cannot be written.
        AdapterHubError: As `Hub.load`.
    """
    output = job.output
    if output is not None and output.is_done:
        done = totals(output.state.parts)
        with _watching(job):
            pass  # who reads it learns that all is done
        return _outcome(job, done, parts=len(output.state.parts), resumed=done.rows)
    # Before the clock starts: it takes seconds.
    hub = open_hub() if job.options.engine == "local" else None
    engine: Engine
    with ExitStack() as stack:
        progress = stack.enter_context(_watching(job))
        started = time.perf_counter()
        if output is None:
            assert hub is not None, "an engine of Ray writes files"
            found, use = _show(hub, job, show, progress.advance)
            parts, scored = 1, found.rows
        else:
            what, watch = (job.part_job, job.source), progress.advance
            if hub is None:
                engine = RayEngine(open_hub, *what, options=job.options, watch=watch)
            else:
                engine = LocalEngine(hub, *what, watch)
            records = run_job(engine, job, output)
            found, parts = totals(records), len(records)
            scored, use = engine.scored, engine.cache_use
        seconds = time.perf_counter() - started
    resumed = found.rows - scored
    outcome = _outcome(job, found, parts=parts, resumed=resumed, seconds=seconds)
    names = tuple(name for name in job.request.names.values() if name in use.all)
    return replace(outcome, from_cache=names, tokens=progress.snapshot().tokens)


def _outcome(
    job: ScoringJob, found: Totals, *, parts: int, resumed: int, seconds: float = 0.0
) -> ScoredFile:
    target = None if job.output is None else job.output.target
    tasks = job.assigned.records if job.output is None else job.output.record.tasks
    return ScoredFile(
        path=None if target is None else target.given,
        rows=found.rows,
        scored=found.scored,
        bad=found.bad,
        bad_path=target.given_errors if found.bad and target is not None else None,
        truncated=found.truncated,
        seconds=seconds,
        tasks=tuple(job.assigned.request.names),
        plan=job.plan,
        columns=job.assigned.read,
        parts=parts,
        resumed_rows=resumed,
        made_by={task.name: task for task in tasks},
    )


def _show(
    hub: ScoringHub, job: ScoringJob, show: Callable[[ScoredChunk], None] | None, watch: Watch
) -> tuple[Totals, CacheUse]:
    """Hands all rows to the caller."""
    found, use = Totals(), CacheUse()
    stages = RowStages.open(hub, job.request)
    features = kept_features(job.options.features_cache, stages.call)
    with ExitStack() as stack:
        windows = stack.enter_context(row_windows(job.source, features))
        chunks = stack.enter_context(closing(score_windows(stages, windows, watch=watch)))
        for chunk in chunks:
            use.add(chunk, job.request)
            refuse_bad(chunk, job.source, skip=job.options.on_error == "skip")
            if show is not None:
                show(chunk)
            found = Totals(
                rows=found.rows + len(chunk.rows) + len(chunk.bad),
                scored=found.scored + len(chunk.rows),
                bad=found.bad + len(chunk.bad),
                truncated=found.truncated + len(chunk.truncated),
            )
    return found, use


def _watching(job: ScoringJob) -> AbstractContextManager[Progress]:
    """Returns what counts the rows of a job, from where it is."""
    return watching(
        job.options.progress,
        total=job.source.count,
        resumed_rows=job.resumed_rows,
        passes_per_text=job.plan.passes,
    )
