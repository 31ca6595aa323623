"""Examples that are given at publishing: stored in the head files that are published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from adapterhub.errors import UsageError
from adapterhub.inputs import Record
from adapterhub.model.execution.examples import is_for, make_examples, read_examples
from adapterhub.model.execution.run_trunk import ExecutionContext
from adapterhub.remote.find import FoundTask, task_in
from adapterhub.store.entries import RegistryContent, version_record
from adapterhub.store.header import LENGTH_BYTES
from adapterhub.store.headfile import HeadFile, encode_head


def with_examples(
    tasks: Sequence[FoundTask],
    heads: Sequence[HeadFile],
    given: Sequence[Record],
    *,
    context: ExecutionContext,
) -> list[FoundTask]:
    """Returns tasks whose head files have these examples, each those with its fields.

    Args:
        tasks: The tasks.
        heads: Their head files.
        given: Texts or records; none leaves the tasks as they are.
        context: The backbone of the tasks.

    Raises:
        UsageError: An example fits none of the tasks, or is too long.
    """
    for number, one in enumerate(given, 1):
        if not any(is_for(one, task.spec.fields) for task in tasks):
            fields = " or ".join(dict.fromkeys(", ".join(task.spec.fields) for task in tasks))
            raise UsageError(f"Example {number} fits no task here; these read {fields}.")
    made = []
    for task, head in zip(tasks, heads, strict=True):
        own = [one for one in given if is_for(one, task.spec.fields)]
        inputs = read_examples(own, task.spec.fields)
        examples = make_examples(head.spec, head.tensors, inputs, context=context)
        if examples and examples != head.spec.examples:
            spec = head.spec.model_copy(update={"examples": examples})
            task = _with_data(task, encode_head(spec, head.tensors))
        made.append(task)
    return made


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
    other = _with_data(task, data)
    bare = other.spec.model_copy(update={"examples": task.spec.examples})
    is_same = bare == task.spec and _tensors(data) == _tensors(task.data)
    return other if is_same and not task.spec.examples else task


def _tensors(data: bytes) -> bytes:
    return data[LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little") :]


def _with_data(task: FoundTask, data: bytes) -> FoundTask:
    found = task_in(data, task.source)
    return replace(task, header=found.header, data=data, sha256=found.sha256)
