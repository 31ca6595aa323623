"""Runs a job to its end: into a folder of parts, or into one file made of them."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from adapterhub.errors import AdapterHubError, DataError
from adapterhub.scoring.engines.local_engine import LocalEngine
from adapterhub.scoring.job.job import OutputJob, ScoringJob
from adapterhub.scoring.job.target import is_joined
from adapterhub.scoring.output.whole_file import give_name, reserve, resolved, temp_beside
from adapterhub.scoring.parts.joining import append_file, join_parts
from adapterhub.scoring.parts.new_part import NewPart, flushed
from adapterhub.scoring.parts.parts import PartSink, commit
from adapterhub.scoring.pipeline.cache_use import CacheUse
from adapterhub.scoring.pipeline.chunks import Request, ScoredChunk
from adapterhub.scoring.pipeline.windows import Window, take_windows
from adapterhub.scoring.state.folder import (
    FolderState,
    JobFolder,
    clear,
    hold_folder,
    read_state,
    refuse_folder,
    settle,
)
from adapterhub.scoring.state.records import (
    JobRecord,
    JoinedRecord,
    PartRecord,
    SuccessRecord,
    schema_metadata,
    totals,
    write_record,
)
from adapterhub.store.atomic import sweep, sync_folder

Parts = Mapping[int, PartRecord]


class Engine(Protocol):
    """What scores the parts of a job.

    Attributes:
        scored: Rows of the input that it has scored, bad ones included.
        cache_use: Which tasks came from kept features.
    """

    scored: int
    cache_use: CacheUse

    def load(self, request: Request) -> None:
        """Loads the tasks of a request; see `LocalEngine.load`."""
        ...

    def score_parts(self, windows: Iterator[Window], sink: PartSink) -> None:
        """Scores what the sink has not; see `LocalEngine.score_parts`."""
        ...


def run_job(engine: Engine, job: ScoringJob, output: OutputJob) -> Parts:
    """Scores what is not done of a job and writes it; returns the manifests of all parts.

    Args:
        engine: What scores.
        job: What to do.
        output: Where it writes.

    Raises:
        DataError: A row is bad and is not to be skipped, or a file cannot be written.
        AdapterHubError: As `Hub.load`.
    """
    # Before anything is written: what cannot be loaded leaves no folder.
    engine.load(job.request)
    run = _to_folder if output.target.is_folder else _to_file
    return run(engine, job, output)


def _to_folder(engine: Engine, job: ScoringJob, output: OutputJob) -> Parts:
    with hold_folder(output.target.folder):
        parts = begin(output)
        windows = take_windows(job.source.rows, output.record.part_rows)
        # Workers of Ray may still be at a part when the driver stops.
        undo = _undone(output) if isinstance(engine, LocalEngine) else contextlib.nullcontext()
        with undo, PartSink(job.part_job, parts) as sink:
            engine.score_parts(windows, sink)
        job.source.check_unchanged()
        finish(output.target.folder, output.record, sink.parts, engine.cache_use.plan(job.plan))
    return sink.parts


@contextlib.contextmanager
def _undone(output: OutputJob) -> Iterator[None]:
    """Leaves a finished folder as it was if an update fails before it has changed a part.

    Else a task that cannot read the first rows would take the mark of its end from the folder,
    which then waits for that task.
    """
    folder, before = output.target.folder, output.state
    try:
        yield
    except AdapterHubError:
        job, success = before.job, None if output.anew else before.success
        if job and success and read_state(folder.path).parts == before.parts:
            write_record(folder.job, job)
            write_record(folder.success, success)
        raise


def begin(output: OutputJob) -> Parts:
    """Makes a folder that of a job; returns the manifests of the parts that it has.

    Raises:
        DataError: The folder was changed in the meantime, or cannot be written to.
    """
    folder = output.target.folder
    state = FolderState() if output.anew else read_state(folder.path)
    if output.anew:
        clear(folder)
    elif state.job != output.state.job:
        raise DataError(folder.path, "another job has changed it in the meantime; run it again")
    settle(folder, state.parts)
    if state.job != output.record:
        # Before the mark of the end goes: until then that is of other tasks, and so not valid.
        write_record(folder.job, output.record)
    try:
        folder.success.unlink(missing_ok=True)
    except OSError as error:
        refuse_folder(folder.path, error)
    return state.parts


def finish(folder: JobFolder, record: JobRecord, parts: Parts, plan: Mapping[str, object]) -> None:
    """Ends a job all parts of which are finished: the bad rows in one file, and `_SUCCESS`.

    Raises:
        DataError: The system cannot write it, or a part is missing.
    """
    missing = next((number for number in range(len(parts)) if number not in parts), None)
    if missing is not None:
        raise DataError(folder.part(missing), "it is missing; run the job again")
    _write_errors(folder, parts, folder.errors, force=True)
    success = SuccessRecord(
        **totals(parts).model_dump(),
        parts=len(parts),
        adapterhub=record.adapterhub,
        torch=record.torch,
        backbone=record.backbone,
        tasks=record.tasks,
        plan=json.loads(json.dumps(plan)),
    )
    write_record(folder.success, success)
    if record.adding:
        write_record(folder.job, record.model_copy(update={"adding": ()}))


def _write_errors(folder: JobFolder, parts: Parts, path: Path, *, force: bool) -> None:
    """Writes the bad rows of all parts to one file; leaves none where there are none."""
    with temp_beside(path) as temp:
        for number in sorted(parts):
            if parts[number].bad:
                append_file(folder.bad(number), temp)
        give_name(temp, path, force=force, unless_empty=True)


def _to_file(engine: Engine, job: ScoringJob, output: OutputJob) -> Parts:
    target, record = output.target, output.record
    part_rows = record.part_rows if record.is_resumable else sys.maxsize
    with ExitStack() as stack:
        for path in (target.path, target.errors, target.record):
            stack.enter_context(reserve(path))
        sweep(resolved(target.path).parent)
        windows = take_windows(job.source.rows, part_rows)
        if output.state.job is None:
            if output.anew:
                _remove_work(target.folder)
            if not isinstance(engine, LocalEngine):
                _begin_folder(output)
            elif only := _first_part(engine, job, output, windows):
                return {0: only}
        with hold_folder(target.folder):
            parts = read_state(target.folder.path).parts
            with PartSink(job.part_job, parts) as sink:
                engine.score_parts(windows, sink)
            job.source.check_unchanged()
            _join(output, job, sink.parts)
        _remove_work(target.folder, joined=True)
    return sink.parts


def _first_part(
    engine: LocalEngine, job: ScoringJob, output: OutputJob, windows: Iterator[Window]
) -> PartRecord | None:
    """Scores the first part of one file; returns its manifest if it is the file itself.

    If there are more rows, or bad ones, it becomes a part of the folder that is made then.
    """
    target, part_job = output.target, job.part_job
    with temp_beside(target.path) as rows, temp_beside(target.errors) as bad:
        part = NewPart(rows, bad, part_job, header=True)
        ended = False

        def take(window: Window, chunk: ScoredChunk) -> None:
            nonlocal ended
            part.write(window, chunk)
            ended = window.ends_input

        with contextlib.closing(part):
            engine.score(part_job.request, _first_windows(windows), take=take)
            found = part.finish()
        # A job that is killed between the names of its two files goes on from the parts.
        if not ended or (found.bad and output.record.is_resumable):
            _begin_folder(output)
            with hold_folder(target.folder):
                commit(target.folder, 0, found, rows=rows, bad=bad)
            return None
        job.source.check_unchanged()
        _name(output, rows, force=job.options.force)
        if part_job.skip or job.options.force:
            # Also without such rows: those of a run before this one are none of this file.
            give_name(bad, target.errors, force=job.options.force, unless_empty=True)
        _write_own_record(output)
    return found


def _begin_folder(output: OutputJob) -> None:
    """Makes the folder of the parts of one file."""
    with hold_folder(output.target.folder):
        write_record(output.target.folder.job, output.record)


def _first_windows(windows: Iterator[Window]) -> Iterator[Window]:
    for window in windows:
        yield window
        if window.ends_part:
            return


def _join(output: OutputJob, job: ScoringJob, parts: Parts) -> None:
    """Makes one file of all parts; on a full disk the parts stay."""
    target, folder = output.target, output.target.folder
    metadata = schema_metadata(output.record)
    with temp_beside(target.path) as temp:
        paths = [folder.part(number) for number in sorted(parts)]
        try:
            join_parts(paths, temp, output.layout, metadata)
        except DataError as error:
            raise DataError(
                error.source,
                f"{error.problem}. All parts are scored, in {folder.path}; the same command goes "
                f"on from there",
            ) from error
        # If this is killed in what follows, the file that is there then is that of this job.
        force = job.options.force or is_joined(target)
        write_record(folder.joined, JoinedRecord(size=flushed(temp)))
        _name(output, temp, force=force)
    if force or job.options.on_error == "skip" or any(part.bad for part in parts.values()):
        _write_errors(folder, parts, target.errors, force=force)
    _write_own_record(output)


def _name(output: OutputJob, temp: Path, *, force: bool) -> None:
    """Gives the finished file its name; what says how one before it was made goes first."""
    target = output.target
    if not target.describes_itself:
        with contextlib.suppress(FileNotFoundError):
            target.record.unlink()
    give_name(temp, target.path, force=force)


def _write_own_record(output: OutputJob) -> None:
    if not output.target.describes_itself:
        write_record(output.target.record, output.record)


def _remove_work(folder: JobFolder, *, joined: bool = False) -> None:
    """Removes the parts of one file; what is not ours stays."""
    if not folder.path.is_dir():
        return
    clear(folder, joined=joined)
    with contextlib.suppress(OSError):
        folder.state.rmdir()
        folder.path.rmdir()
        sync_folder(folder.path.parent)
