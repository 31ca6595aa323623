"""Tagged words <-> entity spans of a text.

Training data are words with BIO tags; predictions are character spans. Words are joined to a text,
their tags become spans of it, and the words that scoring tags (`spans.words_of`) get tags from the
spans.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adapterhub.model.heads.spans import Word, is_han
from adapterhub.tags import OUTSIDE, entity_types, have_ends, tags_of
from adapterhub.training.options import Joining

# Data sets tagged by character have a few longer tokens, mostly numbers and Latin names.
_SHARE_OF_CHARACTERS = 0.95

# B- and I-, and the E-, S-, L-, U-, M- of other schemes.
_SCHEME = re.compile(r"[A-Z]-")

# Treebanks split these off as words: 's of "it's", n't of "don't".
_LEANS_LEFT = re.compile(r"[,;:)\]}%…]|[.!?]+|n['’]t|['’](?:s|m|d|re|ve|ll)", re.IGNORECASE)
_LEANS_RIGHT = re.compile(r"[(\[{$£€#]")

# Union of BIO, BIOES, BILOU and BMES: E or L ends an entity, S or U is a whole one, M is I.
_MARKS, _BEGINNING, _ENDING = tuple("BIMELSU"), ("B", "S", "U"), ("E", "L", "S", "U")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """One entity.

    Attributes:
        start: First code point.
        end: Code point after its last one.
        entity: Its type.
    """

    start: int
    end: int
    entity: str


@dataclass(frozen=True, slots=True)
class TaggedWords:
    """One tagged row as it was read.

    Attributes:
        words: The words.
        tags: BIO, one per word; every `I-x` follows `B-x` or `I-x`.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SpannedText:
    """A text and its entities.

    Attributes:
        text: The joined words.
        spans: Its entities in text order.
    """

    text: str
    spans: tuple[Span, ...]


def repair_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Returns the same entities in plain BIO, from BIO, BIOES, BILOU or BMES.

    An `I-x` that continues nothing begins an entity, as in IOB1.

    Raises:
        ValueError: A tag is neither `O` nor of one of these schemes.
    """
    repaired: list[str] = []
    current = ""  # type of the open entity
    for tag in tags:
        mark, dash, entity = tag.partition("-")
        if tag != OUTSIDE and (mark not in _MARKS or not dash or not entity):
            raise ValueError(
                f"the tag '{tag}' is not BIO: expected 'O', 'B-…' or 'I-…', in schemes with ends "
                f"also 'E-…', 'S-…' or 'L-…', 'U-…'"
            )
        begins = mark in _BEGINNING or current != entity
        repaired.append(OUTSIDE if tag == OUTSIDE else f"{'B' if begins else 'I'}-{entity}")
        current = "" if mark in _ENDING else entity
    return tuple(repaired)


def mark_words(labels: Sequence[str]) -> tuple[str, ...]:
    """Returns word labels, such as parts of speech, as BIO: every word is an entity.

    Raises:
        ValueError: A label is empty.
    """
    if not all(labels):
        raise ValueError("a tag is empty")
    return tuple(f"B-{label}" for label in labels)


def are_word_labels(tags: Iterable[str]) -> bool:
    """Returns whether tags are word labels: none follows a scheme for entities such as BIO."""
    return not any(tag == OUTSIDE or _SCHEME.match(tag) for tag in tags)


def tag_labels(tags: Iterable[str]) -> tuple[str, ...]:
    """Returns the labels of a task with these tags: BIOES, types by name.

    BIOES instead of BIO, because a separate tag of the last word makes both borders explicit.
    """
    return tags_of(sorted(entity_types(tags)), ends=True)


def are_characters(rows: Iterable[TaggedWords]) -> bool:
    """Returns whether the rows are Han text tagged by character."""
    words = single = han = 0
    for row in rows:
        words += len(row.words)
        for word in row.words:
            if len(word) == 1:
                single += 1
                han += is_han(word)
    return han > 0 and single >= _SHARE_OF_CHARACTERS * words


def join_words(row: TaggedWords, joining: Joining) -> SpannedText:
    """Returns the text of a row and its entities.

    Args:
        row: The words and their tags.
        joining: `none` puts nothing between words, `space` a space, `auto` a space except between
            Han characters and at punctuation.
    """
    parts: list[str] = []
    length = 0
    spans: list[Span] = []
    for word, tag in zip(row.words, row.tags, strict=True):
        if parts and _apart(parts[-1], word, joining):
            parts.append(" ")
            length += 1
        if tag.startswith("B-"):
            spans.append(Span(length, length + len(word), tag[2:]))
        elif tag != OUTSIDE:
            spans[-1] = Span(spans[-1].start, length + len(word), tag[2:])
        parts.append(word)
        length += len(word)
    return SpannedText("".join(parts), tuple(spans))


def unit_tags(units: Sequence[Word], spans: Sequence[Span], labels: Sequence[str]) -> list[str]:
    """Returns the tag of each word of scoring, by the scheme of `labels`.

    An entity covers all words that its span overlaps, since scoring cannot split a word.
    """
    ends = have_ends(labels)
    tags = [OUTSIDE] * len(units)
    index = 0
    for span in spans:
        covered = []
        while index < len(units) and units[index].start < span.end:
            if units[index].end > span.start:
                covered.append(index)
            index += 1
        for place, mark in zip(covered, _marks(len(covered), ends=ends), strict=True):
            tags[place] = f"{mark}-{span.entity}"
    return tags


def _marks(size: int, *, ends: bool) -> str:
    """Returns the marks of an entity of `size` words."""
    if not ends or size == 0:
        return ("B" + "I" * size)[:size]
    return "S" if size == 1 else "B" + "I" * (size - 2) + "E"


def character_tags(length: int, spans: Iterable[Span]) -> list[str]:
    """Returns one BIO tag per code point of a text of `length` code points."""
    tags = [OUTSIDE] * length
    for span in spans:
        tags[span.start : span.end] = [f"I-{span.entity}"] * (span.end - span.start)
        tags[span.start] = f"B-{span.entity}"
    return tags


def _apart(before: str, after: str, joining: Joining) -> bool:
    if joining != "auto":
        return joining == "space"
    last, first = before[-1], after[0]
    if _is_wide_mark(last) or _is_wide_mark(first) or (is_han(last) and is_han(first)):
        return False
    return not (_LEANS_LEFT.fullmatch(after) or _LEANS_RIGHT.fullmatch(before))


def _is_wide_mark(sign: str) -> bool:
    """Returns whether a character is full-width punctuation, which includes its space."""
    return unicodedata.category(sign)[0] == "P" and unicodedata.east_asian_width(sign) in "WF"
