"""What the Hub reads in the front matter of a card."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adapterhub.kinds import KINDS
from adapterhub.remote.find import FoundTask
from adapterhub.specs import TaskSpec
from adapterhub.store.entries import RegistryContent, TaskEntry

LIBRARY = "adapterhub"
"""Our name as a library on the Hub."""
BACKBONE_TAG = "adapterhub-backbone:"
"""What the tag begins with under which tasks on a backbone are found; see `backbone_tag`."""
OWN_TAGS = ("base_model:adapter:", BACKBONE_TAG)
"""What our tags about backbones begin with."""
SEVERAL = "see-each-task"
"""The name of a licence where tasks have several."""
OWN_KEYS = (
    "library_name",
    "base_model",
    "base_model_relation",
    "pipeline_tag",
    "language",
    "license",
    "license_name",
    "datasets",
    "metrics",
    "tags",
    "widget",
    "model-index",
)
"""The keys of front matter that we write, in their order."""
REBUILT = ("widget", "model-index")
"""Those of them whose entries are told apart, ours and of others, where they are made."""
HUB_METRICS: Mapping[str, str] = {
    "accuracy": "accuracy",
    "macro_f1": "f1",
    "micro_f1": "f1",
    "span_f1": "f1",
    "span_precision": "precision",
    "span_recall": "recall",
    "las": "f1",
    "uas": "f1",
    "mcc": "matthews_correlation",
    "spearman": "spearmanr",
    "pearson": "pearsonr",
    "mean_absolute_error": "mae",
    "f1": "f1",
    "exact_match": "exact_match",
    "hierarchical_f1": "f1",
    "mae": "mae",
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
    "las": "LAS (CoNLL 2018)",
    "uas": "UAS (CoNLL 2018)",
    "word_f1": "F1 of words",
    "f1": "F1 of answers",
    "exact_match": "Exact match of answers",
    "hierarchical_f1": "F1 over labels and those above",
    "answerable_f1": "F1 of questions with an answer",
    "answerable_exact_match": "Exact match of questions with an answer",
    "unanswerable_accuracy": "Questions without an answer that get none",
    "recall_at_1": "Recall of the partner of a text, first one found",
    "recall_at_5": "Recall of the partners of a text, first 5 found",
    "recall_at_10": "Recall of the partners of a text, first 10 found",
    "kappa": "Quadratic weighted kappa",
    "mae": "Mean absolute error in steps",
}
_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def front_matter(
    content: RegistryContent,
    tasks: Sequence[FoundTask],
    *,
    has_peft: bool = False,
) -> dict[str, Any]:
    """Returns the front matter for a registry; None or an empty list where there is no value.

    Args:
        content: The registry with all tasks of the repository.
        tasks: The tasks to publish, whose whole specs are known.
        has_peft: Whether adapters are published in PEFT's format.
    """
    entries = content.tasks.values()
    models = [entry.source for entry in content.backbones.values() if entry.revision is not None]
    licences = list(dict.fromkeys(entry.license for entry in entries if entry.license))
    named = {name for entry in entries for name in _newest_metrics(entry)}
    datasets = (hub_dataset(task.spec) for task in tasks)
    return {
        "library_name": LIBRARY,
        "base_model": sorted(set(models)),
        "base_model_relation": "adapter" if models else None,
        "pipeline_tag": _pipeline(content, tasks),
        # The Hub knows `en` and finds nothing under `en-US`.
        "language": sorted({tag.partition("-")[0] for entry in entries for tag in entry.languages}),
        "license": "other" if len(licences) > 1 else next(iter(licences), None),
        "license_name": SEVERAL if len(licences) > 1 else None,
        "datasets": list(dict.fromkeys(name for name in datasets if name is not None)),
        "metrics": sorted({HUB_METRICS[name] for name in named if name in HUB_METRICS}),
        "tags": [*_tags(content, models, tasks), *["peft"] * has_peft],
    }


def metric_name(name: str) -> str:
    """Returns the name of a metric for people."""
    return _METRIC_NAMES.get(name, name)


def backbone_tag(fingerprint: str) -> str:
    """Returns the tag of a backbone and of the tasks on it."""
    return f"{BACKBONE_TAG}{fingerprint.removeprefix('sha256:')[:16]}"


def pipeline_tag(spec: TaskSpec) -> str:
    """Returns the Hub's pipeline tag of a task."""
    pair = spec.row.pair_pipeline
    return pair if pair and len(spec.fields) == 2 else spec.row.pipeline


def hub_dataset(spec: TaskSpec) -> str | None:
    """Returns the data set of a task if it has the form of a name on the Hub, else None."""
    if spec.training is None or not _HUB_NAME.fullmatch(spec.training.dataset):
        return None
    return spec.training.dataset


def _newest_metrics(entry: TaskEntry) -> Iterable[str]:
    return entry.versions[entry.newest].metrics


def _pipeline(content: RegistryContent, tasks: Sequence[FoundTask]) -> str | None:
    """Returns the Hub's pipeline tag of most tasks of the repository; None if it has none."""
    known = {task.name: pipeline_tag(task.spec) for task in tasks}
    counts = Counter(
        known.get(name, KINDS[entry.kind].pipeline) for name, entry in sorted(content.tasks.items())
    )
    return next((tag for tag, _ in counts.most_common(1)), None)


def _tags(content: RegistryContent, models: Iterable[str], tasks: Sequence[FoundTask]) -> list[str]:
    """Returns the tags of a repository, of families those of `tasks`."""
    prints = {backbone_tag(entry.fingerprint) for entry in content.backbones.values()}
    families = sorted({task.spec.backbone.family for task in tasks})
    own = (f"base_model:adapter:{model}" for model in sorted(set(models)))
    return [LIBRARY, *families, *own, *sorted(prints)]
