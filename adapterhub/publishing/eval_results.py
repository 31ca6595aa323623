"""`.eval_results/<task>.yaml`: the result of a task on a benchmark that the Hub knows.

The Hub shows such a file on the page of the model and in the leaderboard of the benchmark's data
set, by the `task_id` that this data set defines. So it is written only where a user names both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from adapterhub.diagnostics import rows_text
from adapterhub.errors import RegistryError, UsageError
from adapterhub.publishing.hub_metadata import HUB_METRICS, metric_name
from adapterhub.specs import TASK_NAME_PATTERN, TaskSpec
from adapterhub.store.yamlsafe import read_yaml

_FOLDER = ".eval_results"
_MARK = b"# Written by adapterhub"
_BENCHMARK = re.compile(
    r"(?:(?P<task>[^=/:]+)=)?(?P<dataset>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})"
    r":(?P<task_id>[\w.-]+)",
    re.ASCII,
)
_OLD_KEYS = {"dataset", "value", "notes"}


def results_path(task: str) -> str:
    """Returns the path of the results of a task."""
    return f"{_FOLDER}/{task}.yaml"


def read_benchmarks(
    given: Sequence[str], specs: Mapping[str, TaskSpec]
) -> dict[str, list[tuple[str, str]]]:
    """Returns data set and `task_id` of benchmarks by task.

    Args:
        given: Each `owner/dataset:task_id`, of several tasks `task=owner/dataset:task_id`.
        specs: The tasks by name.

    Raises:
        UsageError: One is written otherwise, or names no task that has a metric for it.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for text in given:
        match = _BENCHMARK.fullmatch(text)
        if match is None or (match["task"] and not re.match(TASK_NAME_PATTERN, match["task"])):
            raise UsageError(
                f"The benchmark '{text}' is not written owner/dataset:task_id, or with the task "
                f"before it, as in sentiment-en=owner/dataset:task_id."
            )
        if match["task"] is None and len(specs) > 1:
            raise UsageError(
                f"The benchmark '{text}' is of one of {len(specs)} tasks; write which: "
                f"{next(iter(specs))}={text}"
            )
        name = match["task"] or next(iter(specs))
        if name not in specs:
            raise UsageError(f"The benchmark '{text}' is of '{name}', which is not published here.")
        if not any(metric.name in HUB_METRICS for metric in specs[name].metrics):
            raise UsageError(f"Task '{name}' has no metric that the Hub knows for '{text}'.")
        found.setdefault(name, []).append((match["dataset"], match["task_id"]))
    return found


def results_file(spec: TaskSpec, benchmarks: Sequence[tuple[str, str]]) -> bytes:
    """Returns the file of a task: for each benchmark the first metric that the Hub knows."""
    metric = next(metric for metric in spec.metrics if metric.name in HUB_METRICS)
    entries = [
        {
            "dataset": {"id": dataset, "task_id": task_id},
            "value": metric.value,
            "notes": f"{metric_name(metric.name)} on {rows_text(metric, spec.used_for(metric))}",
        }
        for dataset, task_id in benchmarks
    ]
    text = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True)
    return _MARK + b"; the next version replaces it\n" + text.encode()


def is_ours(data: bytes) -> bool:
    """Returns whether a file of results was written for a benchmark that a user named."""
    return data.startswith(_MARK)


def is_old(data: bytes, task: str) -> bool:
    """Returns whether it is of an earlier version, which put the name of the task for `task_id`."""
    try:
        entries: Any = read_yaml(data, Path(results_path(task))).value
    except RegistryError:
        return False
    return (
        isinstance(entries, list)
        and len(entries) > 0
        and all(isinstance(one, dict) and one.keys() == _OLD_KEYS for one in entries)
        and all(isinstance(one["dataset"], dict) for one in entries)
        and all(one["dataset"].get("task_id") == task for one in entries)
    )
