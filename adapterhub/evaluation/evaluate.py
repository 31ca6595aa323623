"""Labelled rows of tasks through a Hub, to what is measured of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from adapterhub.choices.rows import record_of
from adapterhub.evaluation.labelled import LabelledTask, column_options, read_labelled
from adapterhub.evaluation.result import Evaluation, TaskEvaluation
from adapterhub.inputs import Record
from adapterhub.results import Scores, TaskScores
from adapterhub.specs import TaskSpec
from adapterhub.training.kinds.kind import Outputs
from adapterhub.training.kinds.table import TRAINED
from adapterhub.training.kinds.table import evaluate as measure

_SPLIT = "given"


class Scoring(Protocol):
    """What is needed of a `Hub`."""

    def spec(self, reference: str) -> TaskSpec:
        """Returns the spec of a task."""

    def score(self, texts: list[Record], tasks: Sequence[str], *, logits: bool) -> Scores:
        """Returns the predictions of tasks."""


def evaluate_tasks(
    hub: Scoring, data: object, tasks: Sequence[str], options: Mapping[str, object]
) -> Evaluation:
    """Returns what tasks score on labelled rows.

    Args:
        hub: Has the tasks.
        data: As `train` takes it.
        tasks: Names of tasks of the hub.
        options: As `column_options` takes them.

    Raises:
        AdapterHubError: As `read_labelled` and `Hub.score`.
    """
    columns = column_options(options)
    # Each task reads all of them.
    data = list(data) if isinstance(data, Iterator) else data
    specs = {name: hub.spec(name) for name in tasks}
    return evaluate(hub, read_labelled(data, specs, columns), data)


def evaluate(hub: Scoring, labelled: Sequence[LabelledTask], data: object) -> Evaluation:
    """Returns what tasks score on their rows; tasks with the same texts share one call.

    Args:
        hub: Has the tasks.
        labelled: The tasks with their rows.
        data: Where the rows came from; only named.

    Raises:
        AdapterHubError: As `Hub.score`.
    """
    calls: dict[tuple[object, ...], list[LabelledTask]] = {}
    for one in labelled:
        calls.setdefault((one.dataset.fields, one.dataset.scored), []).append(one)
    scores: dict[str, TaskScores] = {}
    for together in calls.values():
        dataset = together[0].dataset
        has_choices = together[0].spec.row.of_choices
        rows: list[Record] = [
            record_of(texts, dataset.fields, has_choices=has_choices) for texts in dataset.scored
        ]
        scores |= hub.score(rows, [one.name for one in together], logits=True)
    place = os.fspath(data) if isinstance(data, str | os.PathLike) else ""
    found = {one.name: _evaluate(one, scores[one.name], str(place)) for one in labelled}
    return Evaluation(found)


def _evaluate(one: LabelledTask, scores: TaskScores, place: str) -> TaskEvaluation:
    return TaskEvaluation(
        made_by=scores.made_by,
        data=place or one.dataset.name,
        rows=len(one.dataset),
        columns=one.dataset.roles,
        metrics=measure(one.spec, scores, one.dataset),
        labels=one.spec.labels,
        comparison=TRAINED[one.spec.kind].compare(
            one.spec, Outputs.of_scores(scores), one.dataset, split=_SPLIT
        ),
        earlier_use=one.earlier_use,
    )
