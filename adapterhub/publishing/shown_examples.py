"""A task that was published with examples is the same task without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from adapterhub.remote.find import FoundTask, task_in
from adapterhub.store.entries import RegistryContent, version_record
from adapterhub.store.header import LENGTH_BYTES


def as_published(
    tasks: Sequence[FoundTask], there: RegistryContent | None, read: Callable[[str], bytes]
) -> list[FoundTask]:
    """Returns the tasks, with the head file that a repository has where only examples differ.

    So a task that was published with examples gets no new version when it is published without.

    Args:
        tasks: The tasks.
        there: The registry of the repository.
        read: Returns a file of the repository.
    """
    known = {} if there is None else there.tasks
    made = []
    for task in tasks:
        entry = known.get(task.name)
        records = {} if entry is None else entry.versions
        if entry is not None and all(one.sha256 != task.sha256 for one in records.values()):
            newest = records[entry.newest]
            own = version_record(task.spec, newest.file, size=newest.size, sha256=newest.sha256)
            same = {"origin": newest.origin, "task": newest.task}
            if newest.size > len(task.data) and own.model_copy(update=same) == newest:
                task = _without_difference(task, read(newest.file))
        made.append(task)
    return made


def _without_difference(task: FoundTask, data: bytes) -> FoundTask:
    # Not `task.spec`: its backbone may be named by another source than in the file.
    own = task_in(task.data, task.source).spec
    other = task_in(data, task.source)
    examples = other.spec.examples
    is_same = other.spec.model_copy(update={"examples": ()}) == own
    if not is_same or _tensors(data) != _tensors(task.data):
        return task
    spec = task.spec.model_copy(update={"examples": examples})
    return replace(task, header=replace(other.header, spec=spec), data=data, sha256=other.sha256)


def _tensors(data: bytes) -> bytes:
    return data[LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little") :]
