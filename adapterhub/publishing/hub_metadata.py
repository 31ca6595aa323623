"""What the Hub reads in the front matter of a card."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from adapterhub.remote.find import FoundTask
from adapterhub.specs import TaskSpec
from adapterhub.store.entries import RegistryContent, TaskEntry

_LIBRARY = "adapterhub"
_OWN_TAGS = ("base_model:adapter:", "adapterhub-backbone:")
_SEVERAL = "see-each-task"
PIPELINES: Mapping[str, str] = {"tagging": "token-classification"}
"""Pipeline tags of the Hub by kind of task, where they are not of the usual one."""

HUB_METRICS: Mapping[str, str] = {
    "accuracy": "accuracy",
    "macro_f1": "f1",
    "micro_f1": "f1",
    "span_f1": "f1",
    "span_precision": "precision",
    "span_recall": "recall",
    "mcc": "matthews_correlation",
    "spearman": "spearmanr",
    "pearson": "pearsonr",
    "mean_absolute_error": "mae",
}
"""Our metrics that the Hub knows, with its identifiers."""

_METRIC_NAMES: Mapping[str, str] = {
    "accuracy": "Accuracy",
    "macro_f1": "F1, mean over labels",
    "micro_f1": "F1 over all labels",
    "mcc": "Matthews correlation",
    "ece": "Expected calibration error",
    "spearman": "Spearman correlation",
    "pearson": "Pearson correlation",
    "mean_absolute_error": "Mean absolute error",
    "span_f1": "F1 of exact spans",
    "span_precision": "Precision of exact spans",
    "span_recall": "Recall of exact spans",
}
_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def front_matter(
    before: Mapping[str, Any],
    content: RegistryContent,
    tasks: Sequence[FoundTask],
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
    datasets = (hub_dataset(task.spec) for task in tasks)
    own: dict[str, Any] = {
        "library_name": _LIBRARY,
        "base_model": sorted(set(models)),
        "base_model_relation": "adapter" if models else None,
        "pipeline_tag": _pipeline(content, tasks),
        # The Hub knows `en` and finds nothing under `en-US`.
        "language": sorted({tag.partition("-")[0] for entry in entries for tag in entry.languages}),
        "license": licences[0] if len(licences) == 1 else None,
        "datasets": _united(before.get("datasets"), filter(None, datasets)),
        "metrics": sorted({HUB_METRICS[name] for name in named if name in HUB_METRICS}),
        "tags": _united(_tags(before.get("tags"), content, models, tasks), ["peft"] * has_peft),
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


def metric_name(name: str) -> str:
    """Returns the name of a metric for people."""
    return _METRIC_NAMES.get(name, name)


def pipeline_tag(spec: TaskSpec) -> str:
    """Returns the Hub's pipeline tag of a task."""
    if spec.kind == "tagging":
        return "token-classification"
    if spec.kind == "regression" and len(spec.fields) == 2:
        return "sentence-similarity"
    return "text-classification"


def hub_dataset(spec: TaskSpec) -> str | None:
    """Returns the data set of a task if it has the form of a name on the Hub, else None."""
    if spec.training is None or not _HUB_NAME.fullmatch(spec.training.dataset):
        return None
    return spec.training.dataset


def _newest_metrics(entry: TaskEntry) -> Iterable[str]:
    return entry.versions[entry.newest].metrics


def _pipeline(content: RegistryContent, tasks: Sequence[FoundTask]) -> str:
    """Returns the Hub's pipeline tag of most tasks of the repository."""
    known = {task.name: pipeline_tag(task.spec) for task in tasks}
    counts = Counter(
        known.get(name, PIPELINES.get(entry.kind, "text-classification"))
        for name, entry in sorted(content.tasks.items())
    )
    return counts.most_common(1)[0][0]


def _tags(
    before: object,
    content: RegistryContent,
    models: Iterable[str],
    tasks: Sequence[FoundTask],
) -> list[str]:
    """Returns the tags of a repository; a family stays when tasks of another one are added."""
    others = [tag for tag in _strings(before) if not tag.startswith(_OWN_TAGS)]
    prints = (
        f"adapterhub-backbone:{entry.fingerprint.removeprefix('sha256:')[:16]}"
        for entry in content.backbones.values()
    )
    families = sorted({task.spec.backbone.family for task in tasks})
    own = [*families, *(f"base_model:adapter:{model}" for model in sorted(set(models)))]
    return _united([_LIBRARY, *own, *sorted(prints)], others)


def _united(before: object, more: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*_strings(before), *more]))


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
