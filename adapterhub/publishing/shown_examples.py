"""A task that was published with examples is the same task without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import isclose

from adapterhub.examples import Example
from adapterhub.remote.find import FoundTask, task_in
from adapterhub.specs import TaskSpec
from adapterhub.store.entries import RegistryContent, version_record
from adapterhub.store.header import LENGTH_BYTES

_CLOSE = 1e-3


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
            may_differ = newest.size > len(task.data) or task.spec.examples
            if may_differ and own.model_copy(update=same) == newest:
                task = _without_difference(task, read(newest.file))
        made.append(task)
    return made


def _without_difference(task: FoundTask, data: bytes) -> FoundTask:
    # Not `task.spec`: its backbone may be named by another source than in the file.
    own = task_in(task.data, task.source).spec
    other = task_in(data, task.source)
    is_same = _bare(other.spec) == _bare(own) and _tensors(data) == _tensors(task.data)
    if not is_same or (own.examples and not _are_alike(own.examples, other.spec.examples)):
        return task
    spec = task.spec.model_copy(update={"examples": other.spec.examples})
    return replace(task, header=replace(other.header, spec=spec), data=data, sha256=other.sha256)


def _bare(spec: TaskSpec) -> TaskSpec:
    return spec.model_copy(update={"examples": ()})


def _are_alike(own: Sequence[Example], other: Sequence[Example]) -> bool:
    """Returns whether examples are the same up to the last digits, in which processors differ."""
    return len(own) == len(other) and all(
        _names(a) == _names(b)
        and all(map(partial(isclose, abs_tol=_CLOSE), _figures(a), _figures(b)))
        for a, b in zip(own, other, strict=True)
    )


def _names(example: Example) -> object:
    return example.inputs, [
        (found.label, found.start, found.end, found.head) for found in example.labels
    ]


def _figures(example: Example) -> list[float]:
    return [*(found.score for found in example.labels), example.value or 0.0, *example.values]


def _tensors(data: bytes) -> bytes:
    return data[LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little") :]
