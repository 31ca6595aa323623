"""In what two jobs differ, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest

from adapterhub.scoring.state.records import InputRecord, JobRecord, TaskRecord

_SETTINGS: Mapping[str, str] = {
    "input_format": "format of the input",
    "keep": "keep_columns",
    "truncated": "column of mark_truncated",
    "dtype": "dtype",
    "max_windows": "max_windows",
    "top_k": "top_k",
    "min_confidence": "min_confidence",
    "prefix": "prefix",
    "part_rows": "part_rows",
    "part_format": "part_format",
    "adapterhub": "version of adapterhub",
    "torch": "version of torch",
}
"""What a message calls a field of a job; options by their name."""
_OF_NONE = {"truncated": "none", "min_confidence": "that of each file"}


def job_changes(old: JobRecord, new: JobRecord) -> list[str]:
    """Returns each difference of a job from an earlier one in words, but for their tasks."""
    changes = list(_input_changes(old, new))
    if old.backbone.fingerprint != new.backbone.fingerprint:
        changes.append(f"the backbone was {_backbone(old)} and is {_backbone(new)} now")
    for field, words in _SETTINGS.items():
        before, now = getattr(old, field), getattr(new, field)
        if before != now:
            was, now_is = (_shown(value, field) for value in (before, now))
            changes.append(f"{words} was {was} and is {now_is} now")
    return changes


def task_changes(old: JobRecord, new: JobRecord) -> list[str]:
    """Returns in words how the tasks of a job differ from those of an earlier one."""
    before = {task.name: task for task in old.tasks}
    now = {task.name: task for task in new.tasks}
    added = [f"task '{name}' is new" for name in now if name not in before]
    gone = [f"task '{name}' was there and is not now" for name in before if name not in now]
    both = [(before[name], now[name]) for name in before if name in now]
    return [*added, *gone, *(change for pair in both for change in _task_change(*pair))]


def reading_changes(old: JobRecord, new: JobRecord) -> list[str]:
    """Returns in words which tasks of both jobs read other columns, or fill others."""
    before = {task.name: task for task in old.tasks}
    both = [(before[task.name], task) for task in new.tasks if task.name in before]
    return [change for pair in both for change in _reading_change(*pair)]


def _task_change(old: TaskRecord, new: TaskRecord) -> Iterator[str]:
    if old.sha256 != new.sha256:
        yield f"task '{old.name}' was {_version(old)} and is {_version(new)} now"
    yield from _reading_change(old, new)


def _reading_change(old: TaskRecord, new: TaskRecord) -> Iterator[str]:
    if list(old.read.values()) != list(new.read.values()):
        before, now = (" and ".join(map(repr, task.read.values())) for task in (old, new))
        yield f"task '{old.name}' read the column {before} and reads {now} now"
    if old.columns != new.columns:
        before, now = (", ".join(task.columns) for task in (old, new))
        yield f"task '{old.name}' filled {before} and fills {now} now"


def _input_changes(old: JobRecord, new: JobRecord) -> Iterator[str]:
    if len(old.inputs) != len(new.inputs):
        yield f"the input was {_files(old)} and is {_files(new)} now"
    for before, now in zip_longest(old.inputs, new.inputs):
        if before is None or now is None:
            yield f"{now.name} is new" if before is None else f"{before.name} is gone"
        elif (before.sha256, before.bytes) != (now.sha256, now.bytes):
            same = "it" if before.name == now.name else now.name
            yield f"{before.name} was {_content(before)} and {same} is {_content(now)} now"


def _files(job: JobRecord) -> str:
    return "1 file" if len(job.inputs) == 1 else f"{len(job.inputs)} files"


def _content(one: InputRecord) -> str:
    size = "" if one.bytes is None else f"{one.bytes:,} bytes with "
    return f"{size}sha256 {_short(one.sha256)}"


def _backbone(job: JobRecord) -> str:
    return f"{job.backbone.name} ({job.backbone.fingerprint[:19]}…)"


def _version(task: TaskRecord) -> str:
    name = task.reference if task.version is None else f"version {task.version}"
    return f"{name} (sha256 {_short(task.sha256)})"


def _short(digest: str | None) -> str:
    return "unknown" if digest is None else f"{digest[:12]}…"


def _shown(value: object, field: str) -> str:
    if value is None:
        return _OF_NONE.get(field, "all")
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return repr(value) if value == "" else str(value)
