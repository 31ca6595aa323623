"""Labelled rows of tasks through a Hub, to what is measured of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, cast

from adapterhub.choices.rows import record_of
from adapterhub.decoding import BEST, AnswerOptions
from adapterhub.evaluation.labelled import LabelledTask, column_options, read_labelled
from adapterhub.evaluation.result import Evaluation, TaskEvaluation
from adapterhub.inputs import Record
from adapterhub.model.heads.kinds.decoder import least_confidence
from adapterhub.results import LabelScore, Scores, TaskScores
from adapterhub.specs import RiskPoint, TaskSpec, check_confidence
from adapterhub.training.evaluation.abstention.judged import Given, Judged, risk_point
from adapterhub.training.kinds.kind import Outputs
from adapterhub.training.kinds.table import TRAINED
from adapterhub.training.kinds.table import evaluate as measure

_SPLIT = "given"


class Scoring(Protocol):
    """What is needed of a `Hub`."""

    def spec(self, reference: str) -> TaskSpec:
        """Returns the spec of a task."""

    def score(
        self, texts: list[Record], tasks: Sequence[str], *, min_confidence: float, logits: bool
    ) -> Scores:
        """Returns the predictions of tasks."""


def evaluate_tasks(
    hub: Scoring, data: object, tasks: Sequence[str], options: Mapping[str, object]
) -> Evaluation:
    """Returns what tasks score on labelled rows.

    Args:
        hub: Has the tasks.
        data: As `train` takes it.
        tasks: Names of tasks of the hub.
        options: As `column_options` takes them, and `min_confidence`.

    Raises:
        AdapterHubError: As `read_labelled` and `Hub.score`.
    """
    least = AnswerOptions(min_confidence=options.get("min_confidence"))  # type: ignore[arg-type]
    columns = column_options({n: v for n, v in options.items() if n != "min_confidence"})
    # Each task reads all of them.
    data = list(data) if isinstance(data, Iterator) else data
    specs = {name: hub.spec(name) for name in tasks}
    check_confidence(least, {name: spec.row for name, spec in specs.items()})
    return evaluate(hub, read_labelled(data, specs, columns), data, least)


def evaluate(
    hub: Scoring, labelled: Sequence[LabelledTask], data: object, least: AnswerOptions = BEST
) -> Evaluation:
    """Returns what tasks score on their rows; tasks with the same texts share one call.

    Args:
        hub: Has the tasks.
        labelled: The tasks with their rows.
        data: Where the rows came from; only named.
        least: Has the minimum of confidence of which coverage and accuracy are measured.

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
        # All answers: the metrics are of these, and those that are given are among them.
        names = [one.name for one in together]
        scores |= hub.score(rows, names, min_confidence=0.0, logits=True)
    place = os.fspath(data) if isinstance(data, str | os.PathLike) else ""
    found = {
        one.name: replace(
            _evaluate(one, scores[one.name], str(place)),
            abstention=_abstention(hub, one, scores[one.name], least),
        )
        for one in labelled
    }
    return Evaluation(found)


def _abstention(
    hub: Scoring, one: LabelledTask, scores: TaskScores, options: AnswerOptions
) -> RiskPoint | None:
    """Returns what the minimum of confidence costs and gains, or None where there is none."""
    spec, dataset = one.spec, one.dataset
    least = least_confidence(spec, options)
    if not spec.row.withheld or (options.min_confidence is None and spec.abstention is None):
        return None
    outside: list[float] = []
    if dataset.outside:
        rows: list[Record] = [
            record_of(texts, dataset.fields, has_choices=False) for texts in dataset.outside
        ]
        found = hub.score(rows, [one.name], min_confidence=0.0, logits=False)[one.name].answers
        outside = [answer["score"] for answer in cast("tuple[LabelScore, ...]", found)]
    judged = Judged.of(TRAINED[spec.kind].judged(scores.answers, dataset), outside)
    return risk_point(judged, Given.over(judged, least), least)


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
        outside=len(one.dataset.outside),
    )
