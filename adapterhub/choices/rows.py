"""Rows -> prompts and choices, and every bad row; prompts and choices -> pairs of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapterhub.cells import cell_value
from adapterhub.choices.columns import ChoiceColumns, find_choice_columns
from adapterhub.inputs import BadRow, FieldInputs, missing_field, read_fields, text_problem

Inputs = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChoiceRow:
    """A prompt with its choices.

    Attributes:
        prompt: The text before each choice.
        choices: Two or more texts.
        marks: What the row calls its choices, such as A, B and C; empty where it does not.
    """

    prompt: str
    choices: tuple[str, ...]
    marks: tuple[str, ...] = ()

    @property
    def inputs(self) -> Inputs:
        """Returns the prompt and the choices, as the strings of one row."""
        return (self.prompt, *self.choices)


class _BadValueError(ValueError):
    """A value that cannot be read; the message says which."""


def read_choice_row(row: object, fields: Sequence[str]) -> ChoiceRow | str:
    """Returns the prompt and the choices of a row, or the problem with it.

    Args:
        row: A record.
        fields: As in `find_choice_columns`.
    """
    if not isinstance(row, Mapping):
        example = f"{{'{fields[0]}': …, '{fields[1]}': [a, b]}}"
        return f"is of type {type(row).__name__}; expected a record such as {example}."
    columns = find_choice_columns(row, fields)
    if not columns.are_there:
        return missing_field(fields[bool(columns.prompt)], row)
    try:
        prompt = _prompt(row, columns.prompt)
        choices, marks = _choices(row, columns)
    except _BadValueError as error:
        return str(error)
    for place, text in enumerate(choices):
        problem = text_problem(text)
        if problem is not None:
            return f"choice {place} (from 0) of {_named(columns.choices)} {problem}"
    # A subclass of str, such as an Enum, may have another __str__.
    return ChoiceRow(prompt, tuple(str.__str__(text) for text in choices), marks)


def _prompt(row: Mapping[str, object], columns: Sequence[str]) -> str:
    """Returns the texts of some columns in one; those that are empty are left out.

    A list of texts, such as the turns of a dialogue, has one on each line.
    """
    texts = []
    for name in columns:
        value = row[name]
        value = value.tolist() if hasattr(value, "tolist") else value
        parts = list(value) if isinstance(value, list | tuple) else [value]
        parts = [part for part in parts if part is not None]
        for part in parts:
            if not isinstance(part, str):
                raise _BadValueError(f"field '{name}' {text_problem(part)}")
        texts.append("\n".join(str.__str__(part) for part in parts))
    prompt = " ".join(text for text in texts if text.strip())
    problem = text_problem(prompt)
    if problem is not None:
        raise _BadValueError(f"{_named(columns)} {problem}")
    return prompt


def _choices(
    row: Mapping[str, object], columns: ChoiceColumns
) -> tuple[list[object], tuple[str, ...]]:
    """Returns the choices, and what the row calls them."""
    names = columns.choices
    marks: tuple[str, ...] = ()
    if len(names) > 1:
        choices = _without_last_empty([row[name] for name in names])
    else:
        choices, marks = _listed(row[names[0]], names[0])
    if len(choices) < 2:
        found = "no choices" if not choices else "one choice"
        raise _BadValueError(f"{_named(names)} has {found}; two or more are needed.")
    return choices, marks


def _listed(value: object, name: str) -> tuple[list[object], tuple[str, ...]]:
    """Returns the choices of one field: a list of texts, or texts with their names."""
    marks: object = None
    found = _plain_list(value)
    if isinstance(found, Mapping) and "text" in found:
        marks = _plain_list(found.get("label"))
        found = _plain_list(found["text"])
    elif isinstance(found, list) and found:
        named = [one for one in found if isinstance(one, Mapping)]
        if len(named) == len(found):
            marks = [one.get("label") for one in named]
            found = [one.get("text") for one in named]
    if not isinstance(found, list):
        shown = " ".join(repr(value)[:40].split())
        raise _BadValueError(
            f"field '{name}' is of type {type(value).__name__} ({shown}); expected a list of texts."
        )
    names = [mark for mark in marks if mark is not None] if isinstance(marks, list) else []
    if names and len(names) != len(found):
        raise _BadValueError(
            f"field '{name}' has {len(found)} texts, but {len(names)} labels of these."
        )
    return found, tuple(map(str, names))


def _plain_list(value: object) -> object:
    """Returns a list, whatever type carries it, also in a cell of a CSV file; else the value."""
    if isinstance(value, str):
        found = cell_value(value) if value.lstrip()[:1] in ("[", "(", "{") else None
        value = value if found is None else found
    elif hasattr(value, "tolist"):
        value = value.tolist()  # an array of NumPy, a series of pandas
    return list(value) if isinstance(value, tuple) else value


def _without_last_empty(values: list[object]) -> list[object]:
    """Returns values without those at the end that are missing: rows have different numbers."""
    while values and _is_missing(values[-1]):
        values = values[:-1]
    return values


def _is_missing(value: object) -> bool:
    is_nan = isinstance(value, float) and value != value
    return value is None or is_nan or (isinstance(value, str) and not value.strip())


def _named(columns: Sequence[str]) -> str:
    fields = f"'{columns[0]}'" if len(columns) == 1 else f"'{columns[0]}' to '{columns[-1]}'"
    return f"field{'s' if len(columns) > 1 else ''} {fields}"


def read_inputs(rows: Sequence[object], fields: Sequence[str], *, has_choices: bool) -> FieldInputs:
    """Returns the strings of every good row, and the bad rows.

    Args:
        rows: Strings or records.
        fields: The fields that are read.
        has_choices: Whether the second field is a list of choices; the strings of a row are then
            the prompt and its choices.
    """
    if not has_choices:
        return read_fields(rows, fields)
    found = [read_choice_row(row, fields) for row in rows]
    good = [(place, one) for place, one in enumerate(found) if isinstance(one, ChoiceRow)]
    return FieldInputs(
        rows=tuple(place for place, _ in good),
        inputs=tuple(one.inputs for _, one in good),
        bad=tuple(BadRow(place, one) for place, one in enumerate(found) if isinstance(one, str)),
    )


def record_of(inputs: Inputs, fields: Sequence[str], *, has_choices: bool) -> dict[str, object]:
    """Returns the record that has these strings in its fields."""
    if has_choices:
        return {fields[0]: inputs[0], fields[1]: list(inputs[1:])}
    return dict(zip(fields, inputs, strict=True))


def place_name(fields: Sequence[str], place: int, *, has_choices: bool) -> str:
    """Returns the name of one of the strings of a row for messages."""
    if has_choices and place:
        return f"choice {place - 1} (from 0) of field '{fields[1]}'"
    return f"field '{fields[place]}'"


def choice_pairs(inputs: Sequence[Inputs]) -> list[Inputs]:
    """Returns the pairs of each prompt with each of its choices, row by row."""
    return [(row[0], choice) for row in inputs for choice in row[1:]]


def choice_counts(inputs: Sequence[Inputs]) -> list[int]:
    """Returns the number of choices of each row."""
    return [len(row) - 1 for row in inputs]
