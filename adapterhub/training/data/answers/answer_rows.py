"""Values of rows -> answers, which are spans of a context.

Read are SQuAD's list of objects, `[{"text": …, "answer_start": …}]` (also with `start`), the form
of the datasets library, `{"text": [...], "answer_start": [...]}`, and a text with its start in a
column of its own. No answer is an empty list, or nothing.

Starts count characters (code points) from 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType

from adapterhub.cells import cell_value
from adapterhub.inputs import is_invisible
from adapterhub.store.jsonsafe import shown
from adapterhub.training.data.records import is_list
from adapterhub.training.data.values import plain

_TEXT = "text"
_STARTS = ("answer_start", "start")
_FORMS = (
    'expected answers such as [{"text": "Oslo", "start": 17}], or {"text": ["Oslo"], '
    '"answer_start": [17]}, and [] for none'
)
# Cells of data frames whose answers have arrays: {'text': array(['Oslo'], dtype=object), …}.
_ARRAY = re.compile(r"array\((\[.*?\])(?:,\s*dtype=\w+)?\)", re.DOTALL)
# More places where a text stands are not shown.
_MOST_PLACES = 4


@dataclass(frozen=True, slots=True, order=True)
class AnswerSpan:
    """An answer, as a span of its context.

    Attributes:
        start: First code point.
        end: Code point after its last one.
    """

    start: int
    end: int


def read_answers(value: object, context: str, *, starts: object = None) -> tuple[AnswerSpan, ...]:
    """Returns the different answers of a row in order; none where the question has no answer.

    Args:
        value: Answers in one of the forms above.
        context: The context.
        starts: The start of a text, or starts of texts, where those are not in `value`. A text
            without a start is found where it stands once.

    Raises:
        ValueError: It is in none of the forms, or an answer is not what the context has there.
    """
    pairs = _pairs(_parsed(value, Mapping | str), _parsed(starts, int))
    return tuple(dict.fromkeys(_span(text, start, context) for text, start in pairs))


def _parsed(value: object, parts: type | UnionType) -> object:
    """Returns a value, or the list of such parts or the mapping that a cell holds."""
    value = plain(value)
    if not isinstance(value, str):
        return value
    found = cell_value(_ARRAY.sub(r"\1", value) if "array(" in value else value)
    is_one = isinstance(found, Mapping) and _TEXT in found
    are_some = is_list(found) and all(isinstance(one, parts) for one in found)
    # Otherwise it is the text of an answer that looks like a list.
    return found if is_one or are_some else value


def _pairs(value: object, starts: object) -> Iterator[tuple[object, object]]:
    """Yields the text and the start of each answer.

    Raises:
        ValueError: The value is in none of the forms.
    """
    if _is_missing(value):
        return
    if isinstance(value, Mapping):
        own = [value[name] for name in _STARTS if name in value]
        if _TEXT not in value:
            raise ValueError(f"is {shown(dict(value))}, without a text; {_FORMS}")
        yield from _pairs(value[_TEXT], own[0] if own else starts)
    elif is_list(value):
        places = _starts_of(starts, len(value))
        for item, start in zip(value, places, strict=True):
            if is_list(item):
                raise ValueError(f"is {shown(value)}; {_FORMS}")
            yield from _pairs(item, start)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        whole = isinstance(value, float) and value.is_integer()
        yield str(int(value) if whole else value), starts
    else:
        raise ValueError(f"is {shown(value)}; {_FORMS}")


def _starts_of(starts: object, count: int) -> Sequence[object]:
    """Returns the start of each of some texts, None for those of which it is not known.

    Raises:
        ValueError: There are more starts, or fewer.
    """
    if not is_list(starts):
        starts = [starts] * (1 if starts is not None else count)
    if len(starts) != count:
        raise ValueError(f"has {count} texts, but {len(starts)} starts")
    return starts


def _span(text: object, start: object, context: str) -> AnswerSpan:
    """Returns where an answer stands.

    Raises:
        ValueError: The context does not have it there.
    """
    text = str(text)
    place = _place(start)
    if is_invisible(text):
        raise ValueError(f"has an answer without a visible character, {shown(text)}")
    if place is None:
        place = _only_place(text, context)
    if not 0 <= place < len(context):
        raise ValueError(
            f"has an answer that starts at {place}, outside the context, which has "
            f"{len(context)} characters; starts count characters from 0"
        )
    if not context.startswith(text, place):
        raise ValueError(
            f"has the answer {shown(text)} with the start {place}, but there the context has "
            f"{shown(context[place : place + len(text)])}; {_where(text, context)}"
        )
    first = place + len(text) - len(text.lstrip())
    return AnswerSpan(first, place + len(text.rstrip()))


def _place(start: object) -> int | None:
    """Returns a start as a number; None where there is none.

    Raises:
        ValueError: It is no whole number.
    """
    start = plain(start)
    if _is_missing(start):
        return None
    try:
        number = float(start) if isinstance(start, str | int | float) else math.nan
    except ValueError:
        number = math.nan
    if isinstance(start, bool) or not number.is_integer():
        raise ValueError(
            f"has an answer with the start {shown(start)}; expected its place in the context, in "
            f"characters from 0"
        )
    return int(number)


def _only_place(text: str, context: str) -> int:
    """Returns where a text stands that has no start.

    Raises:
        ValueError: It stands nowhere, or more than once.
    """
    places = _places(text, context)
    if len(places) != 1:
        raise ValueError(f"has the answer {shown(text)} without a start; {_where(text, context)}")
    return places[0]


def _places(text: str, context: str) -> list[int]:
    """Returns where a context has a text, also where two overlap."""
    return [found.start() for found in re.finditer(f"(?={re.escape(text)})", context)]


def _where(text: str, context: str) -> str:
    """Returns where a context has a text, for messages."""
    places = _places(text, context)
    if not places:
        return "it stands nowhere in the context"
    more = ", …" if len(places) > _MOST_PLACES else ""
    return f"it stands at {', '.join(map(str, places[:_MOST_PLACES]))}{more}"


def _is_missing(value: object) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))
