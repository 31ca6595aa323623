"""The texts of examples, which a head file keeps with their predictions: read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapterhub.choices.rows import read_inputs
from adapterhub.errors import UsageError
from adapterhub.examples import MOST_CHARACTERS, MOST_EXAMPLES
from adapterhub.inputs import Record
from adapterhub.specs import TaskSpec
from adapterhub.store.jsonsafe import read_json_object


def examples_by_task(
    given: Sequence[Record], tasks: Sequence[TaskSpec]
) -> list[tuple[tuple[str, ...], ...]]:
    """Returns the strings of the examples that are for each task.

    Args:
        given: As in `read_examples`.
        tasks: The tasks.

    Raises:
        UsageError: One fits no task, or as `read_examples`.
    """
    for number, one in enumerate(given, 1):
        if not any(_is_for(one, spec) for spec in tasks):
            shown = [spec for spec in tasks if not spec.row.of_vectors]
            if not shown:
                raise UsageError(
                    "A card shows the predictions of examples, and those of the tasks here are "
                    "vectors; give none."
                )
            known = " or ".join(dict.fromkeys(", ".join(spec.fields) for spec in shown))
            raise UsageError(f"Example {number} fits no task here; these read {known}.")
    return [
        read_examples(
            [one for one in given if _is_for(one, spec)],
            spec.fields,
            has_choices=spec.row.of_choices,
        )
        for spec in tasks
    ]


def read_examples(
    given: Sequence[Record], fields: Sequence[str], *, has_choices: bool = False
) -> tuple[tuple[str, ...], ...]:
    """Returns the strings of examples, one per field of a task.

    Args:
        given: Texts, records, or records as JSON.
        fields: The fields of the task.
        has_choices: Whether the second one is a list of choices.

    Raises:
        UsageError: One lacks a field, or is no text.
    """
    if len(given) > MOST_EXAMPLES:
        raise UsageError(f"There are {len(given)} examples; give at most {MOST_EXAMPLES}.")
    read = read_inputs([_record(one) for one in given], fields, has_choices=has_choices)
    if read.bad:
        raise UsageError(f"Example {read.bad[0].row + 1}: {read.bad[0].problem}")
    for number, texts in enumerate(read.inputs, 1):
        if max(map(len, texts)) > MOST_CHARACTERS:
            raise UsageError(f"Example {number} is longer than {MOST_CHARACTERS:,} characters.")
    return read.inputs


def _is_for(one: Record, spec: TaskSpec) -> bool:
    """Returns whether an example is one for a task: it has its fields, and is not for vectors."""
    if spec.row.of_vectors:
        return False
    record, fields = _record(one), spec.fields
    return record.keys() == set(fields) if isinstance(record, Mapping) else len(fields) == 1


def _record(one: Record) -> Record:
    if not isinstance(one, str) or not one.lstrip().startswith("{"):
        return one
    try:
        return read_json_object(one)
    except ValueError:
        return one  # a text that begins with a brace
