"""Predictions of a trained task as users get them: saved, loaded and scored by name."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from adapterhub.choices.rows import record_of
from adapterhub.hub import Hub
from adapterhub.results import Answer
from adapterhub.specs import Kind
from adapterhub.training.data.answers.answer_rows import AnswerSpan
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.data.labels import Target
from adapterhub.training.data.words.trees import Arc
from adapterhub.training.evaluation.attachment import attached_words
from adapterhub.training.evaluation.metrics import answer_spans
from adapterhub.training.finalize import TrainedTask


def head_predictions(
    trained: TrainedTask, dataset: Dataset, *, dtype: str = "float32"
) -> tuple[Target, ...]:
    """Returns the predictions of a task for the rows of a data set, in the form of its targets.

    Args:
        trained: The task.
        dataset: Rows of its kind; their targets are not read.
        dtype: Of the encoder.
    """
    task = trained.spec.task
    fields, has_choices = dataset.fields, dataset.has_choices
    rows = [record_of(texts, fields, has_choices=has_choices) for texts in dataset.inputs]
    with tempfile.TemporaryDirectory() as folder:
        registry = Path(folder) / "registry.yaml"
        trained.save(registry)
        answers = Hub(registry, dtype=dtype).score(rows, task, min_confidence=0)[task].answers
    return tuple(_TARGETS[dataset.kind](answers))


def what_it_reads(trained: TrainedTask) -> str:
    """Returns what a head reads, in words."""
    spec, head = trained.spec, trained.spec.head
    apart = "apart, " if spec.apart else ""
    hidden = f", hidden layer {head.hidden_width}" if head.hidden_width else ""
    ngrams = f", {head.ngrams:,} n-grams" if head.ngrams else ""
    return f"{apart}depth {'+'.join(map(str, head.depths))} {head.pooling}{hidden}{ngrams}"


def _labels(answers: Sequence[Any]) -> list[Target]:
    return [answer["label"] for answer in answers]


def _label_sets(answers: Sequence[Any]) -> list[Target]:
    return [tuple(one["label"] for one in found) for found in answers]


def _numbers(answers: Sequence[Any]) -> list[Target]:
    return [answer["value"] for answer in answers]


def _spans(answers: Sequence[Answer]) -> list[Target]:
    return [tuple(row) for row in answer_spans(answers)]


def _trees(answers: Sequence[Answer]) -> list[Target]:
    return [tuple(Arc(*word) for word in row) for row in attached_words(answers)]


def _places(answers: Sequence[Any]) -> list[Target]:
    return [str(answer["index"]) for answer in answers]


def _answers(answers: Sequence[Any]) -> list[Target]:
    return [(AnswerSpan(answer["start"], answer["end"]),) for answer in answers]


_TARGETS = cast(
    "Mapping[Kind, Callable[[Sequence[Answer]], list[Target]]]",
    {
        "single_label": _labels,
        "multi_label": _label_sets,
        "regression": _numbers,
        "tagging": _spans,
        "parsing": _trees,
        "multiple_choice": _places,
        "question_answering": _answers,
    },
)
