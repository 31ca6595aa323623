"""Values of rows -> texts, labels, numbers and tags: one reading for training, scoring and eval.

A value is what it holds, whatever type carries it: a member of `class Q(str, Enum)` is its text,
a number of numpy, Decimal or torch the number, 1.0 in a table with an empty cell the label `1`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from typing import cast
from unicodedata import normalize

from adapterhub.cells import cell_value, looks_like_list
from adapterhub.inputs import is_invisible, text_problem
from adapterhub.store.jsonsafe import shown
from adapterhub.training.data.records import Records, Values, is_list

LIST_SEPARATOR = "|"
"""Separates labels in a cell of a CSV file."""

MAX_LABEL = 256
_MAX_TAG = MAX_LABEL - len("B-")
_LARGEST = 1e15
"""Largest regression target: its square is far within float32 too."""


def plain(value: object) -> object:
    """Returns a value as the str, bool, int or float that it is; anything else unchanged."""
    if isinstance(value, str):
        return str.__str__(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()  # a scalar of numpy or torch
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real | Decimal):
        return float(value)
    return value


def values_of(records: Records, column: str) -> list[object]:
    """Returns the values of a column, None where a row lacks it."""
    return [plain(record.values.get(column)) for record in records.rows]


NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def is_number(value: object) -> bool:
    """Returns whether a value is a number, or one as text."""
    if isinstance(value, str):
        return NUMBER.fullmatch(value.strip()) is not None
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def is_missing(value: object) -> bool:
    """Returns whether a value says nothing: None, NaN, or no text but spaces."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def read_text(value: object) -> str:
    """Returns a text.

    Raises:
        ValueError: It is no text, or an empty one.
    """
    value = plain(value)
    if isinstance(value, Enum):
        raise ValueError(
            f"is {shown(value)}, a member of an Enum that is no text; give its value or its name"
        )
    problem = text_problem(value)
    if problem is not None:
        raise ValueError(problem)
    return str(value)


def read_word(value: object) -> str:
    """Returns a word of a tagged row.

    A space can be one where text is tagged by character, a direction mark elsewhere.

    Raises:
        ValueError: It is no text, or an empty one.
    """
    value = plain(value)
    blank = isinstance(value, str) and value != "" and is_invisible(value)
    return str(value) if blank else read_text(value)


def read_label(value: object) -> str:
    """Returns a label; a whole number is one, whatever its type.

    Raises:
        ValueError: It is no label, or too long for one.
    """
    value = plain(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not value.is_integer():
        what = "a missing value" if math.isnan(value) else "not a label"
        raise ValueError(f"is {shown(value)}, {what}; to predict numbers, use kind 'regression'")
    label = normalized(str(int(value)) if isinstance(value, int | float) else read_text(value))
    if len(label) > MAX_LABEL:
        raise ValueError(f"is {len(label)} characters long; a label has {MAX_LABEL} at most")
    return label


def read_labels(value: object) -> tuple[str, ...]:
    """Returns the labels of a list, of a cell of a CSV file, or of a mapping of label to 0 or 1.

    Raises:
        ValueError: It is none of these, or holds something that is no label.
    """
    if isinstance(value, Mapping) and value and all(map(is_flag, value.values())):
        value = [name for name, flag in value.items() if as_flag(flag)]
    if isinstance(value, str) and looks_like_list(value):
        raise ValueError(
            f'is {shown(value)}, which is no complete list; write ["a", "b"], or labels '
            f"separated by '{LIST_SEPARATOR}'"
        )
    parts = parts_of(value)
    if parts is None:
        raise ValueError(
            f"is {shown(value)}; expected a list of labels, or in a CSV file labels separated by "
            f"'{LIST_SEPARATOR}'"
        )
    return tuple(dict.fromkeys(read_label(part) for part in parts))


def parts_of(value: object) -> list[object] | None:
    """Returns the parts of a list, or of a cell that holds several labels; None for others."""
    if isinstance(value, str):
        return [part for part in str.__str__(value).split(LIST_SEPARATOR) if part.strip()]
    if isinstance(value, set | frozenset):
        return sorted(value, key=lambda part: str(plain(part)))
    return list(value) if is_list(value) and getattr(value, "shape", None) != () else None


def is_flag(value: object) -> bool:
    """Returns whether a value says whether something is so: 0, 1, True, False, or as text."""
    value = plain(value)
    if isinstance(value, str):
        return value.strip().lower() in ("0", "1", "0.0", "1.0", "true", "false")
    return isinstance(value, bool | int | float) and value in (0, 1)


def as_flag(value: object) -> bool:
    """Returns what a value for which `is_flag` is true says."""
    value = plain(value)
    return value.strip().lower() in ("1", "1.0", "true") if isinstance(value, str) else bool(value)


def read_number(value: object) -> float:
    """Returns the target of a regression.

    Raises:
        ValueError: It is no finite number, or too large.
    """
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"is {shown(value)}; expected a number")
    try:
        number = float(value)
    except OverflowError:
        problem = f"is {shown(value)}; the largest absolute value is {_LARGEST:g}"
        raise ValueError(problem) from None
    except ValueError:
        raise ValueError(f"is {shown(value)}; expected a number") from None
    if isinstance(value, str) and "_" in value:
        raise ValueError(f"is {shown(value)}; expected a number")
    if not math.isfinite(number):
        raise ValueError(f"is {number}; expected a finite number")
    if abs(number) > _LARGEST:
        raise ValueError(f"is {number}; the largest absolute value is {_LARGEST:g}")
    return number


@dataclass(frozen=True, slots=True)
class NamedNumber:
    """One of the numbers of a row, by its name."""

    name: str
    value: float


def read_numbers(value: object, names: Sequence[str]) -> tuple[NamedNumber, ...]:
    """Returns the numbers of a mapping, of predictions, or of a list in the order of `names`.

    A number that is missing, None or NaN, is left out.

    Raises:
        ValueError: It is none of these, holds something that is no number, or nothing.
    """
    value = plain(value)
    if isinstance(value, str):
        value = cell_value(value) or value
    pairs: Iterable[tuple[object, object]]
    if isinstance(value, Mapping):
        pairs = value.items()
    elif is_list(value) and len(value) and all(map(_is_named, value)):
        pairs = [(one["name"], one["value"]) for one in cast("Sequence[Values]", value)]
    elif is_list(value) and len(value) == len(names):
        pairs = zip(names, value, strict=True)
    else:
        raise ValueError(
            f'is {shown(value)}; expected numbers with their names, such as {{"valence": 0.3, '
            f'"arousal": 0.1}}, or a list of as many as the option labels names'
        )
    found = [(read_label(name), part) for name, part in pairs if not is_missing(plain(part))]
    if not found:
        raise ValueError(f"is {shown(value)}, which has no number")
    if len(dict(found)) < len(found):
        raise ValueError(f"is {shown(value)}, which has two numbers of one name")
    return tuple(NamedNumber(name, _number_of(name, part)) for name, part in found)


def _is_named(part: object) -> bool:
    return isinstance(part, Mapping) and set(part) == {"name", "value"}


def _number_of(name: str, value: object) -> float:
    try:
        return read_number(value)
    except ValueError as error:
        raise ValueError(f"has '{name}', which {error}") from None


def read_tag(value: object) -> str:
    """Returns the tag of a word.

    Raises:
        ValueError: It is no text, or too long.
    """
    value = plain(value)
    if not isinstance(value, str):
        hint = "; write the names of tags, not their numbers" if isinstance(value, int) else ""
        raise ValueError(f"the tag {shown(value)} is no text{hint}")
    tag = normalized(value)
    if len(tag) > _MAX_TAG:
        raise ValueError(f"a tag is {len(tag)} characters long; {_MAX_TAG} are allowed")
    return tag


def normalized(label: str) -> str:
    """Returns a label without outer spaces: the same one, however its accents are encoded."""
    return normalize("NFC", label.strip())


_SEPARATORS = (";", ",", "/", "+", "&", "\t", "\n", "\uff5c", "\uff1b", "\uff0c", "\u3001")
# These are common within the name of one label.
_WITHIN_NAMES = (" and ", " or ", ":", "\\", "-", "_", " ")
_FEWEST_JOINED = 3
_WITH_DECIMAL_COMMA = re.compile(r"[-+\u2212]?[0-9]+,[0-9]+")


def find_separator(counts: Mapping[str, int]) -> str | None:
    """Returns what separates several labels within texts, or None if each is one label.

    Parts of several labels come back in other texts; those of names such as `Paris, France`
    mostly do not. Of what also stands within names, as in `non-toxic`, all parts must be labels.

    Args:
        counts: Rows by text.
    """
    for separator in (LIST_SEPARATOR, *_SEPARATORS):
        joined = _joined(counts, separator)
        where = Counter(part for text in counts for part in set(_split(text, separator)))
        parts = {part for own in joined for part in own}
        again = sum(where[part] > 1 for part in parts)
        is_ours = separator == LIST_SEPARATOR and again
        if len(joined) > 1 and (is_ours or again >= len(parts) * (1 if len(joined) < 3 else 0.5)):
            return separator
    for separator in _WITHIN_NAMES:
        joined = _joined(counts, separator)
        if len(joined) >= _FEWEST_JOINED and all(own <= counts.keys() for own in joined):
            return separator
    return None


def are_decimal_commas(counts: Mapping[str, int]) -> bool:
    """Returns whether commas are rather those of numbers: `3,5` in most rows, `1,0,1` in none."""
    joined = [text for text in counts if "," in text]
    if not all(map(_WITH_DECIMAL_COMMA.fullmatch, joined)):
        return False
    return 2 * sum(counts[text] for text in joined) >= sum(counts.values())


def _joined(counts: Mapping[str, int], separator: str) -> list[set[str]]:
    """Returns the different parts of each text that has several."""
    parts = [set(_split(text, separator)) for text in counts if separator in text]
    return [own for own in parts if len(own) > 1]


def _split(text: str, separator: str) -> list[str]:
    parts = [part.strip() for part in text.split(separator)]
    # A date is one thing.
    if separator == "/" and all(part.isdecimal() for part in parts):
        return [text]
    return [part for part in parts if part]
