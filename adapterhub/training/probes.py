"""Texts whose answers a head file carries, so that a reader can tell that it computes the same.

They are ours and say nothing of any training data, whose licence might not allow a copy.
"""

from __future__ import annotations

from adapterhub.specs import TaskSpec

_TEXTS = (
    ("The room was clean and the staff were friendly.",),
    ("这家店的东西不错，下次还会再来。",),
)
_PAIRS = (
    ("A man is playing a guitar.", "Somebody makes music."),
    ("他明天要坐火车去上海。", "他明天出门旅行。"),
)
# Known answers of tagging have a row for every token, so these are short.
_TAGGED = (
    ("Anna flew from Berlin to Oslo on Monday.",),
    ("李明昨天在北京工作。",),
)


def probes_for(spec: TaskSpec) -> tuple[tuple[str, ...], ...]:
    """Returns the probes of a task: one in English and one in Chinese."""
    if spec.kind == "tagging":
        return _TAGGED
    return _TEXTS if len(spec.fields) == 1 else _PAIRS
