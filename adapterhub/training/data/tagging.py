"""Tagged words <-> entity spans of a text.

Training data are words with BIO tags; predictions are character spans. Words are joined to a text,
their tags become spans of it, and the words that scoring tags (`spans.words_of`) get tags from the
spans.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from adapterhub.model.heads.spans import Word, is_han
from adapterhub.tags import OUTSIDE, entity_types, have_ends, tags_of
from adapterhub.training.options import Joining

# Data sets tagged by character have a few longer tokens, mostly numbers and Latin names.
_SHARE_OF_CHARACTERS = 0.95

# B- and I-, and the E-, S-, L-, U-, M- of other schemes.
_SCHEME = re.compile(r"[A-Z]-")
_SPELLED = re.compile(
    r"([BIMELSU])\s*[-_.:/|\u2010-\u2015\u2212]\s*(.+)", re.IGNORECASE | re.DOTALL
)
_OUTSIDE_NAMES = ("o", "0", "", "out", "outside", "none", "null")
# Cyrillic and Greek letters that look like the marks.
_LOOKALIKES = str.maketrans(
    "\u0412\u041e\u0406\u0415\u0405\u041c\u043e\u0456\u0435\u0455\u0392\u039f\u0399\u0395\u039c",
    "BOIESMoiesBOIEM",
)

# Treebanks split these off as words: 's of "it's", n't of "don't".
_LEANS_LEFT = re.compile(r"[,;:)\]}%…]|[.!?]+|n['’]t|['’](?:s|m|d|re|ve|ll)", re.IGNORECASE)
_LEANS_RIGHT = re.compile(r"[(\[{$£€#]")

# Union of BIO, BIOES, BILOU and BMES: E or L ends an entity, S or U is a whole one, M is I.
_MARKS, _BEGINNING, _ENDING = tuple("BIMELSU"), ("B", "S", "U"), ("E", "L", "S", "U")


Marks = Callable[[Sequence[str]], tuple[str, ...]]
"""Converts the tags of one row to BIO."""


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


def find_scheme(counts: Mapping[str, int]) -> Marks:
    """Returns what converts the tags of a row to BIO.

    Tags of one of the schemes may be spelled otherwise: `b-per`, `B_PER`, `o` for `O`. Tags that
    follow none are labels of every word, such as parts of speech.

    Args:
        counts: How often each tag occurs in all rows, so that one invalid row of entities is not
            taken for word labels.

    Raises:
        ValueError: They look like a scheme, but are none.
    """
    spelled = _with_known_types({tag: _respell(tag) for tag in counts})
    strict = any(tag == OUTSIDE or _SCHEME.match(tag) for tag in counts)
    odd = next((tag for tag, same in spelled.items() if same is None), None)
    begins = any(tag is not None and tag[0] in "BI" for tag in spelled.values())
    if strict or begins or odd is None:
        if odd is None:
            return lambda tags: repair_tags([spelled[tag] or tag for tag in tags])
        if strict:
            return repair_tags
        example = next(tag for tag, same in spelled.items() if same is not None)
        raise ValueError(
            f"the tag '{example}' looks like one of BIO, but '{odd}' does not; write 'O', 'B-…' "
            f"and 'I-…' for entities, or a label without such a beginning for every word"
        )
    _refuse_lookalikes(counts)
    return mark_words


def _with_known_types(spelled: Mapping[str, str | None]) -> dict[str, str | None]:
    """Returns the same tags; the type of `i-per` is that of `B-PER`, if there is such a tag."""
    plain = [tag for tag, same in spelled.items() if tag == same]
    known = {entity.casefold(): entity for entity in entity_types(plain)}
    return {
        tag: f"{same[:2]}{known.get(same[2:].casefold(), same[2:])}"
        if same is not None and tag != same and same != OUTSIDE
        else same
        for tag, same in spelled.items()
    }


def _respell(tag: str) -> str | None:
    """Returns a tag as the schemes write it, or None if it is of none in any spelling."""
    plain = unicodedata.normalize("NFKC", tag)
    marked = _SPELLED.fullmatch(plain[:1].translate(_LOOKALIKES) + plain[1:])
    if marked is not None:
        # The type stays as it was written, unless its full form is of another length.
        entity = tag[-len(marked[2]) :] if len(tag) == len(plain) else marked[2]
        return f"{marked[1].upper()}-{entity.strip()}"
    return OUTSIDE if tag and _is_outside(tag) else None


def _is_outside(tag: str) -> bool:
    plain = unicodedata.normalize("NFKC", tag).translate(_LOOKALIKES)
    return plain.strip("-_ ").lower() in _OUTSIDE_NAMES


def _refuse_lookalikes(counts: Mapping[str, int]) -> None:
    """Refuses word labels that are more likely numbers, marks, or outside of all entities.

    Raises:
        ValueError: They are.
    """
    if counts and all(tag.isdecimal() for tag in counts):
        raise ValueError("the tags are numbers; write the names of tags")
    bare = {tag.upper() for tag in counts if not _is_outside(tag)}
    if "B" in bare and bare <= set(_MARKS) and len(counts) > 1:
        raise ValueError(
            f"the tags {', '.join(sorted(counts))} name no entity type; write for instance 'B-x' "
            f"and 'I-x'"
        )
    most = max(counts, key=counts.__getitem__, default="x")
    if _is_outside(most):
        raise ValueError(
            f"most words have the tag '{most}', but no tag begins with 'B-' or 'I-'; write 'O' for "
            f"words outside of all entities and 'B-…', 'I-…' for entities"
        )


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
