"""Metrics in the formats of the Hub: model-index, evaluation results, names of metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from adapterhub.specs import TaskSpec

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


def index_entry(name: str, spec: TaskSpec) -> dict[str, Any] | None:
    """Returns the entry of a task in the card's model-index, or None without metrics."""
    known = [metric for metric in spec.metrics if metric.name in HUB_METRICS]
    if not known:
        return None
    dataset = spec.training.dataset if spec.training else "unknown"
    return {
        "name": name,
        "results": [
            {
                "task": {"type": pipeline_tag(spec), "name": spec.description or name},
                "dataset": {"name": dataset, "type": hub_dataset(spec) or "custom", "split": split},
                "metrics": [
                    {
                        "type": HUB_METRICS[metric.name],
                        "value": metric.value,
                        "name": metric_name(metric.name),
                    }
                    for metric in known
                    if metric.split == split
                ],
            }
            for split in dict.fromkeys(metric.split for metric in known)
        ],
    }


def evaluation_results(name: str, spec: TaskSpec) -> list[dict[str, Any]]:
    """Returns the content of `.eval_results/<task>.yaml`: one entry per metric.

    Empty unless the data set is on the Hub, because an entry refers to it by its Hub name.
    """
    dataset = hub_dataset(spec)
    if dataset is None:
        return []
    return [
        {
            "dataset": {"id": dataset, "task_id": name},
            "value": metric.value,
            "notes": f"{metric_name(metric.name)} on {metric.rows} rows of the "
            f"split '{metric.split}'",
        }
        for metric in spec.metrics
        if metric.name in HUB_METRICS
    ]
