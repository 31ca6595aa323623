"""The widget of a card: the examples of its tasks, which the Hub shows on the model's page."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import yaml

from adapterhub.examples import Example
from adapterhub.publishing.hub_metadata import pipeline_tag
from adapterhub.remote.find import FoundTask
from adapterhub.specs import TaskSpec
from adapterhub.store.entries import RegistryContent

MOST_BYTES = 6_000
"""Size of our entries as YAML."""

_OURS = re.compile(r"([a-z0-9][a-z0-9_-]{0,63}) \(example [0-9]+\)")
_Entry = dict[str, Any]


def widget(
    before: object,
    content: RegistryContent,
    tasks: Sequence[FoundTask],
    *,
    removed: Collection[str] = (),
) -> list[Any]:
    """Returns the widget of a repository; entries that others wrote are kept.

    Args:
        before: The current one.
        content: The registry.
        tasks: The tasks to publish, whose examples are known.
        removed: Tasks that were in the registry before.
    """
    own: dict[str, list[_Entry]] = {}
    others = []
    for entry in before if isinstance(before, list) else []:
        name = _task_of(entry)
        if name in content.tasks:
            own.setdefault(name, []).append(entry)
        elif name not in removed:
            others.append(entry)
    for task in tasks:
        own[task.name] = list(_entries(task.name, task.spec))
    every = (entry for _, entries in sorted(own.items()) for entry in entries)
    return [*others, *_fitting(every)]


def _entries(name: str, spec: TaskSpec) -> Iterator[_Entry]:
    for number, example in enumerate(spec.examples, 1):
        entry = {**_texts(spec, example), "example_title": f"{name} (example {number})"}
        output = _output(spec, example)
        yield {**entry, "output": output} if output else entry


def _texts(spec: TaskSpec, example: Example) -> _Entry:
    first, *more = example.inputs
    if spec.row.of_choices:
        return {"text": first, "choices": more}
    if pipeline_tag(spec) == "sentence-similarity":
        return {"source_sentence": first, "sentences": more}
    second = "context" if spec.row.slides_second else "text_pair"
    return {"text": first, **({second: more[0]} if more else {})}


def _output(spec: TaskSpec, example: Example) -> list[_Entry]:
    # The Hub shows outputs of several forms, of which this one fits all kinds of tasks.
    if example.value is not None:
        return [{"label": "value", "score": example.value}]
    if example.values:
        pairs = zip(spec.labels, example.values, strict=True)
        return [{"label": name, "score": value} for name, value in pairs]
    return [
        {
            "label": (example.choice(one) or one.label)
            if one.start is None
            else f"{one.label}: {example.entity(one)}",
            "score": one.score,
        }
        for one in example.labels
    ]


def _task_of(entry: object) -> str:
    title = entry.get("example_title") if isinstance(entry, dict) else None
    found = _OURS.fullmatch(title) if isinstance(title, str) else None
    return "" if found is None else found[1]


def _fitting(entries: Iterable[_Entry]) -> Iterator[_Entry]:
    size = 0
    for entry in entries:
        size += len(yaml.safe_dump([entry], allow_unicode=True).encode())
        if size > MOST_BYTES:
            return
        yield entry
