"""Input rows -> the strings of the fields that a task reads, and every bad row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import regex

from adapterhub.errors import InputError, UsageError, nearest

Record = str | Mapping[str, object]

# Format characters (U+00AD, U+2060), controls, and all that is not drawn by default (U+200B,
# U+FEFF, variation selectors); also U+2800, the blank of Braille. Not U+0600 and its like, which
# are drawn around a number.
_INVISIBLE = regex.compile(r"[\s\p{Z}\p{Cc}\p{WB=Format}\p{DI}\u2800]*")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read.

    Attributes:
        row: Its index.
        problem: What was found and what was expected.
    """

    row: int
    problem: str


@dataclass(frozen=True, slots=True)
class FieldInputs:
    """The strings of some fields of rows.

    Attributes:
        rows: Indices of the good rows, ascending.
        inputs: Their strings, one per field.
        bad: The bad rows.
    """

    rows: tuple[int, ...]
    inputs: tuple[tuple[str, ...], ...]
    bad: tuple[BadRow, ...]


def read_records(texts: Record | Iterable[Record]) -> tuple[object, ...]:
    """Returns the rows of a call; a single text or record is one row, and none are none.

    Raises:
        InputError: `texts` is not a list of rows.
    """
    if isinstance(texts, str | Mapping):
        return (texts,)
    # These are iterable, but over numbers or the names of columns.
    is_other = isinstance(texts, bytes | bytearray | memoryview) or hasattr(texts, "columns")
    if is_other or not isinstance(texts, Iterable):
        raise InputError(
            f"Texts are of type {type(texts).__name__}; expected a list of strings or records."
        )
    return tuple(texts)


def read_names(tasks: str | Sequence[str]) -> list[str]:
    """Returns the names of tasks of a call, each once.

    Raises:
        UsageError: There is none, or one is no string.
    """
    is_one = isinstance(tasks, str) or not isinstance(tasks, Iterable)
    given: list[object] = [tasks] if is_one else list(tasks)
    names = list(dict.fromkeys(name for name in given if isinstance(name, str)))
    if not all(isinstance(name, str) for name in given):
        raise UsageError(f"Tasks are {repr(tasks)[:80]}; expected a name or a list of names.")
    if not names:
        raise UsageError("No task was given; pass at least one. `hub.tasks()` lists them.")
    return names


def read_pair(row: object) -> tuple[Record, list[str]]:
    """Returns a record and the names of the tasks to score it with.

    Raises:
        UsageError: It is no such pair.
    """
    if not isinstance(row, tuple | list) or len(row) != 2:
        raise UsageError(
            f"A row of score_rows is {repr(row)[:80]}; expected (text or record, task or tasks)."
        )
    return row[0], read_names(row[1])


def read_fields(rows: Sequence[object], fields: Sequence[str]) -> FieldInputs:
    """Returns the strings of `fields` in every row that has them all, and the bad rows."""
    good: list[int] = []
    inputs: list[tuple[str, ...]] = []
    bad: list[BadRow] = []
    for index, row in enumerate(rows):
        found = _read_row(row, fields)
        if isinstance(found, str):
            bad.append(BadRow(index, found))
        else:
            good.append(index)
            inputs.append(found)
    return FieldInputs(tuple(good), tuple(inputs), tuple(bad))


def _read_row(row: object, fields: Sequence[str]) -> tuple[str, ...] | str:
    """Returns the strings of one row, or the problem with it."""
    if isinstance(row, Mapping):
        values = []
        for name in fields:
            if name not in row:
                return missing_field(name, row)
            values.append((f"field '{name}'", row[name]))
    elif len(fields) == 1:
        values = [("the text", row)]
    elif isinstance(row, str):
        names = ", ".join(f"'{name}': …" for name in fields)
        return f"is one string, but the task reads {len(fields)} fields; give {{{names}}}."
    else:
        return f"is of type {type(row).__name__}; expected a record with {', '.join(fields)}."
    for what, value in values:
        problem = text_problem(value)
        if problem is not None:
            return f"{what} {problem}"
    # A subclass of str, such as an Enum, may have another __str__.
    return tuple(str.__str__(value) for _, value in values)


def text_problem(value: object) -> str | None:
    """Returns why `value` is not a text that can be scored, or None if it is."""
    if value is None:
        return "is None; expected a string."
    if not isinstance(value, str):
        shown = " ".join(repr(value)[:40].split())
        return f"is of type {type(value).__name__} ({shown}); expected a string."
    if not value.strip():
        return "is empty."
    if is_invisible(value):
        return tokenless(value)
    if "\0" in value and _is_wide(value):
        return (
            "has a NUL beside every character: it is UTF-16 or UTF-32 that was read as another "
            "encoding; decode it again."
        )
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            code = ord(value[error.start])
            return (
                f"has a lone surrogate (U+{code:04X}) at code point {error.start}; "
                f"decode the text as UTF-8 again."
            )
    return None


def _is_wide(text: str) -> bool:
    """Returns whether every other character of a text is NUL, as bytes of UTF-16 are."""
    halves = {frozenset(text[::2]), frozenset(text[1::2])}
    return len(text) > 3 and frozenset("\0") in halves and len(halves) > 1


def tokenless(text: str) -> str:
    """Returns the problem of a text that leaves no token."""
    signs = sorted(set(text) - set(" \t\r\n"))
    codes = ", ".join(f"U+{ord(sign):04X}" for sign in signs[:3])
    return f"is empty: no token is left of {codes}{', …' if len(signs) > 3 else ''}."


def is_invisible(text: str) -> bool:
    """Returns whether a text has only spaces, controls, format and other invisible characters."""
    return _INVISIBLE.fullmatch(text) is not None


def missing_field(name: str, row: Mapping[str, object]) -> str:
    """Returns the problem of a row that lacks a field."""
    known = [" ".join(str(key).split()) for key in row]
    hint = nearest(name, known)
    have = f"it has {', '.join(known[:8])}" if known else "it is empty"
    return f"has no field '{name}'; {have}." + (f" Did you mean '{hint}'?" if hint else "")


_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_bytes(size: int | str | None) -> int | None:
    """Returns a size in bytes: `"2GB"` is 2 * 10**9, `"512MiB"` is 512 * 2**20, None is None.

    Raises:
        UsageError: It is not a size.
    """
    if size is None or (isinstance(size, int) and not isinstance(size, bool) and size > 0):
        return size
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(size))
    unit = None if match is None else _UNITS.get(match[2].lower() or "b")
    if match is None or unit is None or float(match[1]) <= 0:
        raise UsageError(f"max_bytes is {size!r}; expected a size such as 500MB, 2GB or 1GiB.")
    return max(1, int(float(match[1]) * unit))
