"""`score_file`: rows in, a file with predictions out, in constant memory and whole at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from adapterhub.plan import Plan
from adapterhub.scoring.assign_columns import Assignment, assign_columns
from adapterhub.scoring.chunks import RowStages, ScoredChunk, ScoringHub
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.outputs import check_output, errors_path, open_output
from adapterhub.scoring.pipeline import RowWindow, score_windows, take_windows
from adapterhub.scoring.progress import watching
from adapterhub.scoring.sources import RowSource, open_source
from adapterhub.scoring.stream import row_windows
from adapterhub.store.paths import absolute_path
from adapterhub.store.registries import Registries, as_registries
from adapterhub.store.registry import Registry


@dataclass(frozen=True, slots=True, eq=False)
class ScoringJob:
    """A run, checked as far as possible without a backbone.

    Attributes:
        source: The rows.
        assigned: The tasks and their columns.
        options: As given.
        out: The file to be written; None where the caller takes the chunks.
    """

    source: RowSource
    assigned: Assignment
    options: ScoringOptions
    out: Path | None


@dataclass(frozen=True, slots=True)
class ScoredFile:
    """The outcome of scoring a file.

    Attributes:
        path: The file with the predictions; None where none was written.
        rows: Rows that were read.
        scored: Rows that all tasks scored.
        bad: The other rows.
        bad_path: The file with the bad rows and their reasons; None where there is none.
        truncated: Rows that were longer than all their windows.
        seconds: Time spent on reading, scoring and writing.
        tasks: References of the tasks that ran.
        plan: What was computed per text.
        columns: By name of a task in the output, the column that each field was read from.
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


def score_file(
    scorer: ScoringHub,
    source: object,
    out: str | Path,
    *,
    tasks: Sequence[str] = (),
    options: ScoringOptions | None = None,
) -> ScoredFile:
    """Scores all rows of a source and writes them, with their predictions, to a file.

    Args:
        scorer: A `Hub`.
        source: As in `open_source`.
        out: The file; the ending of its name says the format.
        tasks: References; none for all tasks of the scorer's registries that can read the
            source.
        options: None takes the defaults.

    Raises:
        DataError: The source or a row of it cannot be used, or a file cannot be written.
        UsageError: Tasks, columns and options do not fit each other.
        AdapterHubError: As `Hub.load`.
    """
    options = options or ScoringOptions()
    # Before the first row is read: rows may come from code that changes the working folder.
    place = absolute_path(out, "output")
    registries = Registries(scorer.registry_paths)
    job = prepare(
        registries,
        open_source(source, options.format),
        out=place,
        tasks=tasks,
        options=options,
        backbone=registries.backbone_key(scorer.backbone),
    )
    done = run(scorer, job)
    given = Path(os.path.expanduser(out))
    bad_path = None if done.bad_path is None else given.with_name(done.bad_path.name)
    return replace(done, path=given, bad_path=bad_path)


def prepare(
    registries: Registries | Registry,
    source: RowSource,
    *,
    out: Path | None,
    tasks: Sequence[str],
    options: ScoringOptions,
    backbone: str | None,
) -> ScoringJob:
    """Returns a job whose tasks, columns and files fit; needs no backbone and no torch.

    Args:
        registries: Where tasks are looked up.
        source: The rows.
        out: The file to be written; None where the caller of `run` takes the chunks.
        tasks: As in `score_file`.
        options: As in `score_file`.
        backbone: As in `Hub`.

    Raises:
        DataError: A column is missing, or a file is in the way.
        UsageError: Tasks, columns and options do not fit each other.
        AdapterHubError: As `Hub.spec`.
    """
    if out is not None:
        check_output(out, source, options)
    assigned = assign_columns(
        as_registries(registries), source, tasks=tasks, options=options, backbone=backbone
    )
    return ScoringJob(source, assigned, options, out)


def run(
    scorer: ScoringHub, job: ScoringJob, show: Callable[[ScoredChunk], None] | None = None
) -> ScoredFile:
    """Loads the tasks of a job, scores its rows, and writes them.

    Args:
        scorer: A `Hub`.
        job: What to do.
        show: Called with every chunk.

    Raises:
        DataError: A row is bad and is not to be skipped, or a file cannot be written.
        AdapterHubError: As `Hub.load`.
    """
    assigned, out = job.assigned, job.out
    takers = [] if show is None else [show]
    scored = bad = truncated = 0
    with ExitStack() as stack:
        if out is not None:
            files = open_output(out, job.source, assigned, job.options)
            takers.append(stack.enter_context(files))
        stages = RowStages.open(scorer, assigned.request)
        progress = stack.enter_context(
            watching(
                job.options.progress,
                total=job.source.count,
                passes_per_text=assigned.plan.passes,
            )
        )
        started = time.perf_counter()
        with closing(_scored_chunks(stages, job, progress.advance)) as chunks:
            for chunk in chunks:
                for take in takers:
                    take(chunk)
                scored += len(chunk.rows)
                bad += len(chunk.bad)
                truncated += chunk.truncated
        seconds = time.perf_counter() - started
    return ScoredFile(
        path=out,
        rows=scored + bad,
        scored=scored,
        bad=bad,
        bad_path=errors_path(out) if bad and out is not None else None,
        truncated=truncated,
        seconds=seconds,
        tasks=tuple(assigned.request.names),
        plan=assigned.plan,
        columns=assigned.read,
    )


def _scored_chunks(
    stages: RowStages, job: ScoringJob, watch: Callable[[int, int], object]
) -> Generator[ScoredChunk, None, None]:
    with ExitStack() as stack:
        windows: Iterable[RowWindow | None]
        if job.out is None:
            windows = stack.enter_context(row_windows(job.source, job.assigned.shown))
        else:
            windows = map(RowWindow, take_windows(job.source.rows, job.assigned.shown))
        chunks = stack.enter_context(closing(score_windows(stages, windows, watch=watch)))
        for chunk in chunks:
            if chunk.bad and job.options.on_error == "raise":
                first = chunk.bad[0]
                hint = "--on-error skip (on_error='skip') goes on without such rows"
                job.source.refuse(first.place, f"{first.problem} ({hint})", first.file)
            yield chunk
