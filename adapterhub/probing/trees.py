"""Records with words, heads and relations -> examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapterhub.rows.reading import SourceRow
from adapterhub.training.data.columns import Columns
from adapterhub.training.data.parsing import Example
from adapterhub.training.data.records import Records, is_list
from adapterhub.training.data.tagging import TaggedWords, mark_words
from adapterhub.training.data.values import plain, read_tag, read_word


@dataclass(frozen=True, slots=True)
class TreeWords(TaggedWords):
    """The words of a sentence, with the relation of each as its tag.

    Attributes:
        heads: Place of each word's head, counted from 1; 0 for the root.
    """

    heads: tuple[int, ...]


def parse_trees(records: Records, columns: Columns, *, heads: str) -> list[Example]:
    """Returns the examples of rows with words and heads, and relations where the target has them.

    Args:
        records: The rows.
        columns: The columns of the words and of the relations; the latter may be that of heads.
        heads: The column of heads.

    Raises:
        DataError: A value is missing or invalid; names the line.
    """
    return [_parse(records, record, columns, heads) for record in records.rows]


def _parse(records: Records, record: SourceRow, columns: Columns, heads: str) -> Example:
    words, places, relations = (
        records.value(record, column) for column in (columns.inputs[0], heads, columns.target)
    )
    if not is_list(words) or not is_list(places) or not is_list(relations):
        records.refuse(
            'tokens, heads and relations must be lists, such as ["It", "rains"], [2, 0] and '
            '["nsubj", "root"], in a CSV file also words with spaces between',
            record,
        )
    if not len(words) == len(places) == len(relations):
        records.refuse(
            f"there are {len(words)} tokens, {len(places)} heads and {len(relations)} relations",
            record,
        )
    if not len(words):
        records.refuse("there are no tokens", record)
    try:
        texts = tuple(map(read_word, words))
        found = _read_heads(places)
        names = (
            [read_tag(name) for name in relations]
            if columns.target != heads
            else ["_"] * len(texts)
        )
        return Example((), TreeWords(texts, mark_words(names), found))
    except ValueError as error:
        records.refuse(str(error), record)


def _read_heads(places: Sequence[object]) -> tuple[int, ...]:
    """Returns heads as whole numbers.

    Raises:
        ValueError: One is none, is beyond the words, or the word itself.
    """
    heads = []
    for word, given in enumerate(map(plain, places), start=1):
        text = str(int(given)) if isinstance(given, float) and given.is_integer() else str(given)
        if not text.isdecimal() or isinstance(given, bool) or int(text) > len(places):
            raise ValueError(
                f"head {word} is {given!r:.40}; expected a whole number from 0, for the root, to "
                f"{len(places)}, the number of words"
            )
        if int(text) == word:
            raise ValueError(f"head {word} is {word}, the word itself; heads count from 1")
        heads.append(int(text))
    return tuple(heads)
