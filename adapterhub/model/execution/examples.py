"""Examples of a task: texts that its author chose, with what the task predicts for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from adapterhub.decoding import BEST
from adapterhub.examples import Example, PredictedLabel
from adapterhub.inputs import Record
from adapterhub.kinds import ANSWER
from adapterhub.model.backbone.caller_state import own_state
from adapterhub.model.execution.known_answers import run_alone
from adapterhub.model.execution.run_trunk import ExecutionContext
from adapterhub.model.heads.kinds.table import DECODERS
from adapterhub.remote.find import FoundTask, task_in
from adapterhub.results import Answer
from adapterhub.specs import TaskSpec
from adapterhub.store.example_texts import examples_by_task
from adapterhub.store.headfile import HeadFile, encode_head

_SAID = ("label", "choice", "answer")
_NAMES = ("label", "entity_group", "relation", "index")  # of a label, entity, word, choice
_PLACES = 6  # of what is stored: beyond that processors differ


def with_examples(
    tasks: Sequence[FoundTask],
    heads: Sequence[HeadFile],
    given: Sequence[Record],
    *,
    context: ExecutionContext,
) -> list[FoundTask]:
    """Returns tasks whose head files have these examples, each those with its fields.

    Args:
        tasks: The tasks.
        heads: Their head files.
        given: Texts or records; none leaves the tasks as they are.
        context: The backbone of the tasks.

    Raises:
        UsageError: An example fits none of the tasks, or is too long.
    """
    made = []
    texts = examples_by_task(given, [task.spec for task in tasks])
    for task, head, inputs in zip(tasks, heads, texts, strict=True):
        examples = make_examples(head.spec, head.tensors, inputs, context=context)
        if examples and examples != head.spec.examples:
            spec = head.spec.model_copy(update={"examples": examples})
            found = task_in(encode_head(spec, head.tensors), task.source)
            task = replace(task, header=found.header, data=found.data, sha256=found.sha256)
        made.append(task)
    return made


@own_state
def make_examples(
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    inputs: Sequence[tuple[str, ...]],
    *,
    context: ExecutionContext,
) -> tuple[Example, ...]:
    """Returns `inputs` with the predictions of a task, to be stored in its head file."""
    if not inputs:
        return ()
    output = run_alone(spec, tensors, inputs, context=context)
    decoded = DECODERS[spec.kind].decode(output.logits[spec.task], spec, BEST)
    found: dict[int, Answer] = dict(zip(output.rows[spec.task], decoded, strict=True))
    return tuple(_example(texts, found.get(row)) for row, texts in enumerate(inputs))


def _example(texts: tuple[str, ...], prediction: Any) -> Example:
    if isinstance(prediction, dict) and "value" in prediction:
        return Example(inputs=texts, value=round(prediction["value"], _PLACES))
    if isinstance(prediction, dict) and "values" in prediction:
        values = prediction["values"].values()
        return Example(inputs=texts, values=tuple(round(value, _PLACES) for value in values))
    parts = [prediction] if isinstance(prediction, dict) else prediction or []
    # An empty answer says that there is none, a label or choice that is None that it is not sure.
    parts = [part for part in parts if all(part.get(key, key) for key in _SAID)]
    labels = tuple(
        PredictedLabel(
            label=str(next((part[key] for key in _NAMES if key in part), ANSWER)),
            score=round(part["score"], _PLACES),
            start=part.get("start"),
            end=part.get("end"),
            head=part.get("head"),
        )
        for part in parts
    )
    return Example(inputs=texts, labels=labels)
