"""Examples of a task: texts that its author chose, with what the task predicts for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from adapterhub.errors import UsageError
from adapterhub.examples import MOST_CHARACTERS, MOST_EXAMPLES, Example, PredictedLabel
from adapterhub.inputs import Record, read_fields
from adapterhub.model.backbone.caller_state import own_state
from adapterhub.model.execution.known_answers import run_alone
from adapterhub.model.execution.run_trunk import ExecutionContext
from adapterhub.model.heads.heads import DECODERS
from adapterhub.remote.find import FoundTask, task_in
from adapterhub.results import Answer
from adapterhub.specs import TaskSpec
from adapterhub.store.headfile import HeadFile, encode_head
from adapterhub.store.jsonsafe import read_json_object

_PLACES = 6  # of what is stored: beyond that processors differ


def read_examples(given: Sequence[Record], fields: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Returns the strings of examples, one per field of a task.

    Args:
        given: Texts, records, or records as JSON.
        fields: The fields of the task.

    Raises:
        UsageError: One lacks a field, or is no text.
    """
    if len(given) > MOST_EXAMPLES:
        raise UsageError(f"There are {len(given)} examples; give at most {MOST_EXAMPLES}.")
    read = read_fields([_record(one) for one in given], fields)
    if read.bad:
        raise UsageError(f"Example {read.bad[0].row + 1}: {read.bad[0].problem}")
    for number, texts in enumerate(read.inputs, 1):
        if max(map(len, texts)) > MOST_CHARACTERS:
            raise UsageError(f"Example {number} is longer than {MOST_CHARACTERS:,} characters.")
    return read.inputs


def is_for(one: Record, fields: Sequence[str]) -> bool:
    """Returns whether an example is one for tasks with these fields."""
    record = _record(one)
    return record.keys() == set(fields) if isinstance(record, Mapping) else len(fields) == 1


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
    for number, one in enumerate(given, 1):
        if not any(is_for(one, task.spec.fields) for task in tasks):
            fields = " or ".join(dict.fromkeys(", ".join(task.spec.fields) for task in tasks))
            raise UsageError(f"Example {number} fits no task here; these read {fields}.")
    made = []
    for task, head in zip(tasks, heads, strict=True):
        own = [one for one in given if is_for(one, task.spec.fields)]
        inputs = read_examples(own, task.spec.fields)
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
    decoded = DECODERS[spec.kind](output.logits[spec.task], spec, 1)
    found: dict[int, Answer] = dict(zip(output.rows[spec.task], decoded, strict=True))
    return tuple(_example(texts, found.get(row)) for row, texts in enumerate(inputs))


def _example(texts: tuple[str, ...], prediction: Any) -> Example:
    if isinstance(prediction, dict) and "value" in prediction:
        return Example(inputs=texts, value=round(prediction["value"], _PLACES))
    parts = [prediction] if isinstance(prediction, dict) else prediction or []
    labels = tuple(
        PredictedLabel(
            label=part.get("label") or part["entity_group"],
            score=round(part["score"], _PLACES),
            start=part.get("start"),
            end=part.get("end"),
        )
        for part in parts
    )
    return Example(inputs=texts, labels=labels)


def _record(one: Record) -> Record:
    if not isinstance(one, str) or not one.lstrip().startswith("{"):
        return one
    try:
        return read_json_object(one)
    except ValueError:
        return one  # a text that begins with a brace
