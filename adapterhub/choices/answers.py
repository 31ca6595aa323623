"""Which choice of each row is right, from the ways in which data sets write it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from adapterhub.choices.rows import ChoiceRow

_LETTER = re.compile(r"\(?([A-Za-z])[).:]?")
# No place has more digits, and Python refuses to read numbers of thousands.
_WHOLE = re.compile(r"([0-9]{1,18})(?:\.0+)?")
_FORMS = ("mark", "place", "letter", "text")
_WORDS = {
    "mark": "a name of a choice",
    "place": "the place of a choice, counted from 0",
    "letter": "the letter of a choice",
    "text": "the text of a choice",
}


def read_answers(values: Sequence[object], rows: Sequence[ChoiceRow]) -> list[int | str]:
    """Returns the place of the right choice of each row, from 0, or the problem with it.

    All rows say it in one way: by what the row calls its choices, by their place from 0, by letter
    (A is the first), or by text.

    Args:
        values: One per row: texts or whole numbers.
        rows: The choices.

    Raises:
        ValueError: Two ways fit all rows, and mean different choices.
    """
    found = [_readings(value, row) for value, row in zip(values, rows, strict=True)]
    counts = {form: sum(form in one for one in found) for form in _FORMS}
    whole = [form for form in _FORMS if counts[form] == len(found)]
    if "mark" not in whole:
        for other in whole[1:]:
            if any(one[whole[0]] != one[other] for one in found):
                raise ValueError(
                    f"may hold {_WORDS[whole[0]]}, or {_WORDS[other]}, which are not the same; "
                    f"write the place, counted from 0, under another name"
                )
    # The first of those that fit most rows; rows that name no choice have no names.
    named = any(row.marks for row in rows)
    form = max(_FORMS if named else _FORMS[1:], key=lambda one: counts[one])
    starts_at_one = form == "place" and not any(one.get("place") == 0 for one in found)
    return [
        one[form] if form in one else _problem(value, row, form, starts_at_one=starts_at_one)
        for value, row, one in zip(values, rows, found, strict=True)
    ]


def _readings(value: object, row: ChoiceRow) -> dict[str, int]:
    """Returns what a value means in each of the ways in which it can be read."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return {}
    text, count = str(value).strip(), len(row.choices)
    readings: dict[str, int] = {}
    if text in row.marks:
        readings["mark"] = row.marks.index(text)
    number, letter = _WHOLE.fullmatch(text), _LETTER.fullmatch(text)
    if number is not None and int(number[1]) < count:
        readings["place"] = int(number[1])
    if letter is not None and ord(letter[1].upper()) - ord("A") < count:
        readings["letter"] = ord(letter[1].upper()) - ord("A")
    choices = [choice.strip() for choice in row.choices]
    if choices.count(text) == 1:
        readings["text"] = choices.index(text)
    return readings


def _problem(value: object, row: ChoiceRow, form: str, *, starts_at_one: bool) -> str:
    """Returns why a value does not say which choice is right, where others do."""
    is_nan = isinstance(value, float) and value != value
    if value is None or is_nan or (isinstance(value, str) and not value.strip()):
        return "is missing; it says which choice is right."
    shown, count = " ".join(repr(value)[:60].split()), len(row.choices)
    if [choice.strip() for choice in row.choices].count(str(value).strip()) > 1:
        return f"is {shown}, which is the text of more than one choice; write its place, from 0."
    if form == "place" and _WHOLE.fullmatch(str(value).strip()):
        hint = " No row has 0: if places count from 1, subtract 1." if starts_at_one else ""
        return f"is {shown}, but there are {count} choices, and places count from 0.{hint}"
    named = f" ({', '.join(row.marks[:8])})" if form == "mark" else ""
    return f"is {shown}; expected {_WORDS[form]}{named}, of which there are {count}."
