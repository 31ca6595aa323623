"""Tagged rows of plain sentences, with entities of a data set and of a list in their gaps.

Tagged news has long sentences only, and a model trained on it alone fails on plain ones. Here a
sentence is a template: "{name} lives in {city}" gives "Ann lives in Oslo". A gap may have its own
text, as in "{name:Ann} lives in {city:Oslo}": the sentence is then also a row by itself, and the
text one of the list.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from adapterhub.tags import OUTSIDE, mark_of

Row = Mapping[str, Any]
Words = Mapping[str, Sequence[str]]
"""Texts of entities by type."""


class Part(NamedTuple):
    """A part of a sentence: an entity of a type, or what stands between two; a gap has no text."""

    kind: str | None
    text: str | None


_GAP = re.compile(r"\{(\w+)(?::([^{}]+))?\}")
_PLAIN = re.compile(r"《?[\u4e00-\u9fff·]{2,12}》?")
_TIMES = 6
"""Rows of one sentence with gaps, each with other entities."""
_LISTED = 0.5
"""Share of the entities that are drawn from the list, where it has their type."""


def sentence_rows(
    sentences: Sequence[str], mentions: Words, rows: Iterable[Row], columns: tuple[str, str]
) -> list[dict[str, Any]]:
    """Returns rows of sentences, one character per token, in a fixed order.

    Args:
        sentences: With entity types in braces, and texts behind them where they have their own.
        mentions: The list; a type that is not in it, and of which no gap has a text, is drawn
            from the data set.
        rows: Of the data set.
        columns: Of tokens and of their tags in BIO.
    """
    draw, known = random.Random(0), plain_entities(rows, columns)
    listed = with_own_texts(mentions, sentences)
    found = []
    for parts in map(parts_of, sentences):
        if all(part.text is not None for part in parts):
            found.append(_tagged(parts))
        if any(part.kind is not None for part in parts):
            found += [_tagged(_drawn(parts, listed, known, draw)) for _ in range(_TIMES)]
    return [dict(zip(columns, row, strict=True)) for row in found]


def with_own_texts(mentions: Words, sentences: Sequence[str]) -> dict[str, list[str]]:
    """Returns the list and the texts of the gaps, each once, by type."""
    found = defaultdict(dict, {kind: dict.fromkeys(texts) for kind, texts in mentions.items()})
    for kind, text in (gap for sentence in sentences for gap in _GAP.findall(sentence)):
        if text:
            found[kind][text] = None
    return {kind: list(texts) for kind, texts in found.items()}


def parts_of(sentence: str) -> list[Part]:
    """Returns a sentence as what stands between its gaps, and the gaps."""
    # Splitting at the gaps yields the text before a gap, its type and its own text in turn.
    between, *rest = _GAP.split(sentence)
    parts = [Part(None, between)]
    for place in range(0, len(rest), 3):
        kind, text, between = rest[place : place + 3]
        parts += [Part(kind, text), Part(None, between)]
    return parts


def plain_entities(rows: Iterable[Row], columns: tuple[str, str]) -> dict[str, list[str]]:
    """Returns the different Chinese entities of rows by type, in order of their characters."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for kind, text in _entities(*(row[column] for column in columns)):
            if _PLAIN.fullmatch(text) and text.count("《") == text.count("》"):
                found[kind].add(text)
    return {kind: sorted(texts) for kind, texts in found.items()}


def _entities(tokens: Sequence[str], tags: Sequence[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for token, tag in zip(tokens, tags, strict=True):
        if mark_of(tag) == "I" and found:
            found[-1] = found[-1][0], found[-1][1] + token
        elif tag != OUTSIDE:
            found.append((tag[2:], token))
    return found


def _drawn(parts: Sequence[Part], listed: Words, known: Words, draw: random.Random) -> list[Part]:
    """Returns a sentence with other texts in its gaps."""

    def other(kind: str) -> str:
        sources = [texts[kind] for texts in (listed, known) if kind in texts]
        return draw.choice(sources[0] if draw.random() < _LISTED else sources[-1])

    return [part if part.kind is None else Part(part.kind, other(part.kind)) for part in parts]


def _tagged(parts: Sequence[Part]) -> tuple[list[str], list[str]]:
    """Returns the characters of a sentence without empty gaps, and their tags."""
    tokens: list[str] = []
    tags: list[str] = []
    for kind, text in parts:
        assert text is not None, "gaps are filled before they are tagged"
        tokens += text
        first, rest = (OUTSIDE, OUTSIDE) if kind is None else (f"B-{kind}", f"I-{kind}")
        tags += [first if place == 0 else rest for place in range(len(text))]
    return tokens, tags
