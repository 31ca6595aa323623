"""Which columns hold the prompt and the choices of a row."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile

from adapterhub.kinds import KINDS

PROMPT, CHOICES = "prompt", "choices"
FIELDS = (PROMPT, CHOICES)
"""The fields of a task of multiple choice, and so the columns that are looked for first."""

_PROMPTS: tuple[tuple[str, ...], ...] = (
    (PROMPT,),
    ("sent1", "sent2"),  # SWAG
    ("article", "question"),  # RACE
    ("passage", "question"),
    ("context", "question"),  # C3, Cosmos QA, ReClor, Social IQa
    ("dialogue", "question"),  # DREAM
    ("ctx",),  # HellaSwag
    ("premise", "question"),  # COPA
    ("premise",),
    ("goal",),  # PIQA
    ("question_stem",),  # OpenBookQA
    ("question",),  # ARC, CommonsenseQA, MMLU, C-Eval
    ("sentence",),  # WinoGrande
    ("content",),  # CHID
    ("context",),
    ("startphrase",),
    ("text",),
)
_LISTS = (CHOICES, "options", "endings", "candidates", "choice", "answers")
_STEMS = ("choice", "ending", "option", "answer", "sol", "")
"""What stands before the numbers of columns with one choice each; with none, these are letters."""
TARGETS = KINDS["multiple_choice"].targets
"""Usual names of the column that says which choice is right."""


@dataclass(frozen=True, slots=True)
class ChoiceColumns:
    """The columns of prompt and choices.

    Attributes:
        prompt: Those whose texts make the prompt, in order; empty where there are none.
        choices: One that holds a list, or one for each choice, in order; empty where there are
            none.
    """

    prompt: tuple[str, ...]
    choices: tuple[str, ...]

    @property
    def are_there(self) -> bool:
        """Returns whether both are there."""
        return bool(self.prompt and self.choices)

    @property
    def names(self) -> tuple[str, str]:
        """Returns both for display: `sent1, sent2` and `ending0, ending1, ending2, ending3`."""
        return ", ".join(self.prompt), ", ".join(self.choices)


def find_choice_columns(columns: Collection[str], fields: Sequence[str] = FIELDS) -> ChoiceColumns:
    """Returns the columns that hold prompt and choices.

    Args:
        columns: All that are there.
        fields: The column of the prompt, and that of the choices or the name before the numbers of
            `choice_0`, `choice_1`, …; of the usual names also those of known data sets are found.
    """
    prompt, choices = fields
    prompts = _PROMPTS if prompt == PROMPT else ((prompt,),)
    known = set(columns)
    found = next((names for names in prompts if known.issuperset(names)), ())
    lists, stems = (_LISTS, _STEMS) if choices == CHOICES else ((choices,), (choices,))
    whole = next(((name,) for name in lists if name in known), ())
    if choices in whole:
        return ChoiceColumns(found, whole)
    # Before other lists: beside columns with one choice each, `choice` may say which is right.
    each = next((names for stem in stems if (names := _numbered(columns, stem))), ())
    return ChoiceColumns(found, each or whole)


def _numbered(columns: Collection[str], stem: str) -> tuple[str, ...]:
    """Returns the columns of single choices, such as `ending0`, `option_1` or `answerA`."""
    pattern = re.compile(rf"{re.escape(stem)}[_ -]?(?:([0-9]{{1,3}})|([A-Za-z]))")
    numbers: dict[int, str] = {}
    letters: dict[int, str] = {}
    for name in columns:
        match = pattern.fullmatch(name) if isinstance(name, str) else None
        if match is None:
            continue
        if match[1]:
            numbers.setdefault(int(match[1]), name)
        elif stem or name.isupper():
            letters.setdefault(ord(match[2].upper()) - ord("A"), name)
    for found in (numbers if stem else {}, letters):
        first = 0 if 0 in found or found is letters else 1
        names = tuple(found[n] for n in takewhile(found.__contains__, count(first)))
        if len(names) > 1:
            return names
    return ()


def choice_fields(
    given: Mapping[str, str | None], trained: Mapping[str, str], columns: Collection[str]
) -> dict[str, str]:
    """Returns the column of each field of a task, as `find_choice_columns` takes them.

    Args:
        given: By field the column that the user named, or None. The first alone may be meant for
            other tasks, which read one text, and counts only where the task's own is not there.
        trained: By field its column in the training data, where that is known.
        columns: All columns that are there.
    """
    fields = tuple(given)
    named = {field: column or field for field, column in given.items()}
    usual = (fields[0], named[fields[1]])
    if given[fields[1]] is None and find_choice_columns(columns, usual).prompt:
        named[fields[0]] = fields[0]
    is_open = not any(given.values()) and trained.keys() == given.keys()
    if is_open and find_choice_columns(columns, tuple(trained.values())).are_there:
        return dict(trained)
    return named


def columns_read(
    fields: Sequence[str], columns: Collection[str], *, has_choices: bool
) -> tuple[str, ...]:
    """Returns the columns that are read for some fields, those of choices as far as there are."""
    if not has_choices:
        return tuple(fields)
    found = find_choice_columns(columns, fields)
    return (*found.prompt, *found.choices)
