"""The front matter of a card: what the Hub shows, filters and links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from adapterhub.publishing.hub_metrics import HUB_METRICS, hub_dataset, index_entry, pipeline_tag
from adapterhub.remote.read_task import ReadTask
from adapterhub.store.entries import RegistryContent, TaskEntry

LIBRARY = "adapterhub"
_OWN_TAGS = ("base_model:adapter:", "adapterhub-backbone:")
_SEVERAL = "see-each-task"
_PIPELINES = {"tagging": "token-classification"}


def front_matter(
    before: Mapping[str, Any],
    content: RegistryContent,
    tasks: Sequence[ReadTask],
    *,
    has_peft: bool = False,
) -> dict[str, Any]:
    """Returns the front matter for a registry; keys that others wrote are kept.

    Args:
        before: The current front matter.
        content: The registry with all tasks of the repository.
        tasks: The tasks to publish, whose whole specs are known.
        has_peft: Whether adapters are published in PEFT's format.
    """
    entries = content.tasks.values()
    models = [entry.source for entry in content.backbones.values() if entry.revision is not None]
    licences = list(dict.fromkeys(entry.license for entry in entries if entry.license))
    named = {name for entry in entries for name in _newest_metrics(entry)}
    datasets = (hub_dataset(task.head.spec) for task in tasks)
    own: dict[str, Any] = {
        "library_name": LIBRARY,
        "base_model": sorted(set(models)),
        "base_model_relation": "adapter" if models else None,
        "pipeline_tag": _pipeline(content, tasks),
        # The Hub knows `en` and finds nothing under `en-US`.
        "language": sorted({tag.partition("-")[0] for entry in entries for tag in entry.languages}),
        "license": licences[0] if len(licences) == 1 else None,
        "datasets": _united(before.get("datasets"), filter(None, datasets)),
        "metrics": sorted({HUB_METRICS[name] for name in named if name in HUB_METRICS}),
        "tags": _united(_tags(before.get("tags"), content, models), ["peft"] * has_peft),
        "model-index": _index(before.get("model-index"), tasks),
    }
    if len(licences) > 1:
        own |= {"license": "other", "license_name": _SEVERAL}
    filled = {key: value for key, value in own.items() if value not in (None, [])}
    kept = {key: value for key, value in before.items() if key not in own}
    if kept.get("license_name") == _SEVERAL:
        del kept["license_name"]  # it was ours, and the licences are equal now
    elif own["license"] is None and "license" in before:
        kept["license"] = before["license"]
    return {**filled, **kept}


def render_front_matter(values: Mapping[str, Any]) -> str:
    """Returns front matter as YAML between two lines of dashes."""
    text = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{text}---\n"


def _newest_metrics(entry: TaskEntry) -> Iterable[str]:
    return entry.versions[entry.newest].metrics


def _pipeline(content: RegistryContent, tasks: Sequence[ReadTask]) -> str:
    """Returns the Hub's pipeline tag of most tasks of the repository."""
    known = {task.name: pipeline_tag(task.head.spec) for task in tasks}
    counts = Counter(
        known.get(name, _PIPELINES.get(entry.kind, "text-classification"))
        for name, entry in sorted(content.tasks.items())
    )
    return counts.most_common(1)[0][0]


def _tags(before: object, content: RegistryContent, models: Iterable[str]) -> list[str]:
    others = [tag for tag in _strings(before) if not tag.startswith(_OWN_TAGS)]
    prints = (
        f"adapterhub-backbone:{entry.fingerprint.removeprefix('sha256:')[:16]}"
        for entry in content.backbones.values()
    )
    own = ["albert", *(f"base_model:adapter:{model}" for model in sorted(set(models)))]
    return _united([LIBRARY, *own, *sorted(prints)], others)


def _index(before: object, tasks: Sequence[ReadTask]) -> list[Any]:
    mine = {task.name for task in tasks}
    others = [
        entry
        for entry in (before if isinstance(before, list) else [])
        if isinstance(entry, dict) and entry.get("name") not in mine
    ]
    entries = (index_entry(task.name, task.head.spec) for task in tasks)
    found = [*others, *(entry for entry in entries if entry is not None)]
    return sorted(found, key=lambda entry: str(entry.get("name")))


def _united(before: object, more: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*_strings(before), *more]))


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
