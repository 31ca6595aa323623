"""The card's model-index: metrics by task, rebuilt from the registry at each publication.

The Hub's client reads all results as one list and groups them by type of task, type of data set,
`config`, split and revision; so `config` is the name of the task here. All our results are in the
entry that has the name of the repository, which the client writes back as it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import yaml

from adapterhub.kinds import KINDS
from adapterhub.publishing.hub_metadata import (
    HUB_METRICS,
    hub_dataset,
    metric_name,
    pipeline_tag,
)
from adapterhub.remote.find import FoundTask
from adapterhub.specs import TaskSpec
from adapterhub.store.entries import RegistryContent, TaskEntry

MOST_BYTES = 16_000
"""Size of our results as YAML; a card is read as a whole, and the Hub shows all of them."""

_NESTED = 4  # spaces before each line of a result in the front matter
_OWN_METRICS = frozenset((kind, metric_name(name)) for name, kind in HUB_METRICS.items())
_Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Before:
    """The current index.

    Attributes:
        own: Results that earlier publications wrote, by task.
        beside: Results of others in our entry.
        entries: Entries of others.
    """

    own: dict[str, list[_Result]]
    beside: list[_Result]
    entries: list[_Result]


def model_index(
    before: object,
    content: RegistryContent,
    tasks: Sequence[FoundTask],
    *,
    repo: str,
    removed: Collection[str] = (),
) -> list[_Result]:
    """Returns the index of all tasks of a registry; results that others added are kept.

    If ours are more than `MOST_BYTES`, each task keeps its first metric; if these are too many as
    well, the last tasks by name are left out.

    Args:
        before: The current index of the card.
        content: The registry.
        tasks: The tasks to publish, whose whole specs are known.
        repo: `owner/name`.
        removed: Tasks that were in the registry before.
    """
    known = _read(before, {*content.tasks, *removed}, repo)
    specs = {task.name: task.spec for task in tasks}
    found = {}
    for name, entry in sorted(content.tasks.items()):
        if name in specs:
            found[name] = _results(name, specs[name])
        else:
            found[name] = _results_in_registry(name, entry, known.own.get(name, []))
    # Each copied by itself: YAML writes what two of them share as a reference.
    own = [deepcopy(result) for result in _merged([*_bounded(found), *known.beside])]
    return [*([{"name": repo, "results": own}] if own else []), *known.entries]


def _results(name: str, spec: TaskSpec) -> list[_Result]:
    """Returns the results of a task, one per split."""
    dataset = spec.training.dataset if spec.training else "unknown"
    of_hub = [metric for metric in spec.metrics if metric.name in HUB_METRICS]
    return [
        {
            "task": {"type": pipeline_tag(spec), "name": name},
            "dataset": {
                "name": dataset,
                "type": hub_dataset(spec) or "custom",
                "config": name,
                "split": split,
            },
            "metrics": [
                _metric(metric.name, metric.value) for metric in of_hub if metric.split == split
            ],
        }
        for split in dict.fromkeys(metric.split for metric in of_hub)
    ]


def _results_in_registry(name: str, entry: TaskEntry, before: Sequence[_Result]) -> list[_Result]:
    """Returns the results of a task of which only the registry is known, and the current card."""
    record = entry.versions[entry.newest]
    metrics = [
        _metric(name, value) for name, value in record.metrics.items() if name in HUB_METRICS
    ]
    there = [metric for result in before for metric in result["metrics"]]
    whole = [result for result in before if _is_whole(result, metrics)]
    if before and all(metric in there for metric in metrics) and len(whole) == len(before):
        return [_with_task(result, name) for result in before]
    if not metrics:
        return []
    last = before[0] if before and before[0] in whole else {}
    kind = KINDS[entry.kind].pipeline
    dataset = {"name": "unknown", "type": "custom", **last.get("dataset", {})}
    split = record.measured_on or dataset.get("split") or "validation"
    return [
        {
            "task": {"type": kind, **last.get("task", {}), "name": name},
            "dataset": {**dataset, "config": name, "split": split},
            "metrics": metrics,
        }
    ]


def _is_whole(result: _Result, metrics: Sequence[_Result]) -> bool:
    """Returns whether a result is of one task: the client puts those of several into one.

    Args:
        result: The result.
        metrics: What the registry has of the task, for results that do not name theirs.
    """
    kinds = [(metric["type"], metric["name"]) for metric in result["metrics"]]
    is_of_one = "config" in result["dataset"] or all(one in metrics for one in result["metrics"])
    return len(set(kinds)) == len(kinds) and is_of_one


def _with_task(result: _Result, name: str) -> _Result:
    """Returns a result that names its task, which those of earlier versions do not."""
    if "config" in result["dataset"]:
        return result
    task = {"type": "text-classification", **result.get("task", {}), "name": name}
    return {**result, "task": task, "dataset": {**result["dataset"], "config": name}}


def _metric(name: str, value: float) -> dict[str, Any]:
    return {"type": HUB_METRICS[name], "value": value, "name": metric_name(name)}


def _read(before: object, names: Collection[str], repo: str) -> _Before:
    """Returns the current index, divided into what is ours and what others wrote."""
    found = _Before({}, [], [])
    for entry in before if isinstance(before, list) else []:
        if not isinstance(entry, dict):
            continue  # the Hub's client reads no card with such an entry
        results, title = entry.get("results"), entry.get("name")
        if not isinstance(results, list):
            found.entries.append(entry)
            continue
        left: list[_Result] = []
        for result in results:
            task = _task_of(result, title, names)
            metrics = result["metrics"] if task is not None else []
            own = [metric for metric in metrics if _is_own(metric)]
            if task is not None and own:
                found.own.setdefault(task, []).append({**result, "metrics": own})
                others = [metric for metric in metrics if not _is_own(metric)]
                found.beside.extend([{**result, "metrics": others}] if others else [])
            else:
                left.append(result)
        if title == repo or title in names:
            found.beside.extend(left)
        elif left:
            found.entries.append({**entry, "results": left})
    return found


def _task_of(result: object, title: object, names: Collection[str]) -> str | None:
    """Returns the task that a result is of, None if others wrote it.

    Earlier versions of this module wrote an entry for each task, and no `config`.
    """
    if not isinstance(result, dict) or not isinstance(result.get("metrics"), list):
        return None
    dataset = result.get("dataset")
    if not isinstance(dataset, dict) or "source" in result:
        return None
    name = dataset.get("config", title)
    return name if isinstance(name, str) and name in names else None


def _is_own(metric: object) -> bool:
    # The client writes `verified` into each metric that a user adds.
    return (
        isinstance(metric, dict)
        and metric.keys() == {"type", "value", "name"}
        and (metric["type"], metric["name"]) in _OWN_METRICS
    )


def _merged(results: Sequence[_Result]) -> list[_Result]:
    """Returns results of which no two are of the same task, data set and split."""
    made: list[_Result] = []
    for result in results:
        same = next((one for one in made if _identity(one) == _identity(result)), None)
        if same is None:
            made.append(dict(result))
        else:
            same["metrics"] = [*same["metrics"], *result["metrics"]]
    return made


def _identity(result: _Result) -> object:
    if not all(isinstance(result.get(key), dict) for key in ("task", "dataset")):
        return id(result)
    dataset = result["dataset"]
    where = [dataset.get(key) for key in ("type", "config", "split", "revision")]
    return [result["task"].get("type"), *where]


def _bounded(found: Mapping[str, Sequence[_Result]]) -> list[_Result]:
    """Returns results whose YAML has at most `MOST_BYTES`."""
    results = [result for own in found.values() for result in own]
    if len(list(_fitting(results))) == len(results):
        return results
    first = [{**own[0], "metrics": own[0]["metrics"][:1]} for own in found.values() if own]
    return list(_fitting(first))


def _fitting(results: Sequence[_Result]) -> Iterator[_Result]:
    size = 0
    for result in results:
        lines = yaml.safe_dump([result], sort_keys=False, allow_unicode=True).splitlines()
        size += sum(len(line.encode()) + 1 + _NESTED for line in lines)
        if size > MOST_BYTES:
            return
        yield result
