"""Rows -> dependency trees: validates every value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from adapterhub.inputs import is_invisible
from adapterhub.rows.reading import SourceRow
from adapterhub.specs import INSIDE
from adapterhub.store.jsonsafe import shown
from adapterhub.training.data.columns import Columns
from adapterhub.training.data.records import Records, is_list
from adapterhub.training.data.values import plain, read_label, read_text, read_word
from adapterhub.training.data.words.trees import ParsedWords, check_heads

_Value = TypeVar("_Value")

_FORM = 'such as ["It", "works"], [2, 0] and ["nsubj", "root"]'


def read_tree(records: Records, record: SourceRow, columns: Columns) -> ParsedWords:
    """Returns the tree of a row.

    Raises:
        DataError: A value is missing or invalid, or the heads make no tree; names the row.
    """
    names = (columns.inputs[0], columns.heads, columns.target)
    lists = [records.value(record, name) for name in names]
    words, heads, relations = (value if is_list(value) else None for value in lists)
    if words is None or heads is None or relations is None:
        records.refuse(f"tokens, heads and relations must be lists, {_FORM}", record)
    for name, value in zip(names[1:], (heads, relations), strict=True):
        if len(value) != len(words):
            records.refuse(
                f"there are {len(words)} tokens, but {len(value)} values in column '{name}'", record
            )
    if not len(words):
        records.refuse("there are no tokens", record)
    try:
        texts = _each("token", words, read_word)
        if is_invisible("".join(texts)):
            raise ValueError("all tokens are spaces or other invisible signs")
        places = _each("the head of word", heads, _read_head)
        check_heads(places)
        named = _each("the relation of word", relations, _read_relation)
        return ParsedWords(texts, places, named, *_read_text(record, columns, texts))
    except ValueError as error:
        records.refuse(str(error), record)


def _each(
    what: str, values: Sequence[object], read: Callable[[object], _Value]
) -> tuple[_Value, ...]:
    """Returns what `read` makes of each value.

    Raises:
        ValueError: A value is invalid; names its place, from 1.
    """
    found = []
    for place, value in enumerate(values, start=1):
        try:
            found.append(read(value))
        except ValueError as error:
            raise ValueError(f"{what} {place} {error}") from None
    return tuple(found)


def _read_head(value: object) -> int:
    value = plain(value)
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    # A table with an empty cell has whole numbers as 1.0.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"is {shown(value)}; expected the place of a word from 1, or 0 for the root")


def _read_relation(value: object) -> str:
    relation = read_label(value)
    if relation == INSIDE:
        raise ValueError(
            f"is '{INSIDE}', which stands for none; a relation is a name such as nsubj"
        )
    return relation


_Offsets = tuple[tuple[int, int], ...]


def _read_text(
    record: SourceRow, columns: Columns, words: Sequence[str]
) -> tuple[str | None, _Offsets]:
    """Returns the text of a row and the offsets of its words; None where it has no such text.

    Without offsets the words are looked for in the text. A text that is not made of them and of
    spaces is another one.

    Raises:
        ValueError: An offset is none of a word of the text.
    """
    if columns.placed is None:
        return None, ()
    text_column, offsets_column = columns.placed
    value, offsets = record.values.get(text_column), record.values.get(offsets_column)
    if offsets is None:
        found = _find_words(str(value), words) if isinstance(value, str) else None
        return (None, ()) if found is None else (read_text(value), found)
    text = read_text(value)
    if not is_list(offsets) or len(offsets) != len(words):
        raise ValueError(f"column '{offsets_column}' is no list of one [start, end] per token")
    places: list[tuple[int, int]] = []
    last = 0
    for place, pair in enumerate(offsets, start=1):
        start, end = map(_read_head, pair) if is_list(pair) and len(pair) == 2 else (0, 0)
        if not last <= start < end <= len(text):
            raise ValueError(
                f"the offset of word {place} is {shown(pair)}; expected [start, end] within the "
                f"text of {len(text)} characters, in the order of the words"
            )
        last = start
        places.append((start, end))
    return text, tuple(places)


def _find_words(text: str, words: Sequence[str]) -> _Offsets | None:
    """Returns the offsets of words in a text; None where it has others, or nothing but these."""
    found = []
    end = 0
    for word in words:
        start = text.find(word, end)
        if start < 0 or text[end:start].strip():
            return None
        end = start + len(word)
        found.append((start, end))
    return None if text[end:].strip() else tuple(found)
