"""Whether a job may go on where another stopped, or add its tasks to what that has finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from adapterhub.errors import DataError
from adapterhub.scoring.job.changes import job_changes, reading_changes, task_changes
from adapterhub.scoring.state.folder import FolderState
from adapterhub.scoring.state.records import JobRecord, TaskRecord

_ANEW = "start anew with --force (force=True), which removes what is there"


def continued(state: FolderState, job: JobRecord, place: Path) -> JobRecord:
    """Returns the fingerprint under which a job goes on in a folder that another has begun.

    The same one goes on. A finished job may get further tasks, or other versions of its tasks;
    those that are not named stay.

    Args:
        state: What is in the folder.
        job: The fingerprint of the job that is to be run.
        place: The folder, for messages.

    Raises:
        DataError: The jobs differ in more than that. The message lists each difference.
    """
    old = state.job
    if old is None:
        return job
    changes = job_changes(old, job)
    if not job.is_resumable and not changes:
        kind = "a finished" if state.is_finished else "an unfinished"
        raise DataError(
            place,
            f"it holds {kind} job, and this input can be read only once, so that nobody knows "
            f"whether it is the same: {_ANEW}, or name another folder",
        )
    if state.is_finished:
        changes += reading_changes(old, job)
        if changes:
            _refuse(
                place,
                changes,
                what="a finished job that differs from this one",
                way_out="Tasks may be added with all else as it was; for another job name another "
                f"folder, or {_ANEW}",
            )
        return _with_tasks(old, job.tasks)
    named = {task.name for task in job.tasks}
    # An update may be gone on with by its own tasks alone.
    kept = [task for task in old.tasks if task.name in named or not _stays(task, old)]
    changes += task_changes(old.model_copy(update={"tasks": tuple(kept)}), job)
    if changes:
        _refuse(
            place,
            changes,
            what="an unfinished job that differs from this one",
            way_out=f"Run it as it was begun, or {_ANEW}",
        )
    return old


def _with_tasks(old: JobRecord, tasks: Sequence[TaskRecord]) -> JobRecord:
    """Returns a finished job with tasks that are new or replaced; itself where there are none."""
    given = {task.name: task for task in tasks}
    adding = tuple(name for name, task in given.items() if old.digests.get(name) != task.sha256)
    if not adding:
        return old
    stay = [given[one.name] if one.name in adding else one for one in old.tasks]
    new = [task for name, task in given.items() if name not in old.digests]
    return old.model_copy(update={"tasks": (*stay, *new), "adding": adding})


def _stays(task: TaskRecord, job: JobRecord) -> bool:
    """Returns whether an update leaves a task as it is."""
    return bool(job.adding) and task.name not in job.adding


def _refuse(place: Path, changes: list[str], *, what: str, way_out: str) -> NoReturn:
    raise DataError(place, f"it holds {what}: {'; '.join(changes)}. {way_out}")
