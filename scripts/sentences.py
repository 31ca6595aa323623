"""Tagged rows of plain sentences, with entities of a data set and of a list in their gaps.

News tags long sentences only, and who learned from them alone may miss what is plain to people.
A sentence here says what stands where: "{name} lives in {city}" is "Ann lives in Oslo".
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adapterhub.tags import OUTSIDE, mark_of

Row = Mapping[str, Any]
Words = Mapping[str, Sequence[str]]
"""Texts of entities by type."""

_GAP = re.compile(r"\{(\w+)\}")
_PLAIN = re.compile(r"《?[\u4e00-\u9fff·]{2,12}》?")
_TIMES = 24
"""Rows of one sentence, each with other entities."""
_LISTED = 0.5
"""Part of the entities that are drawn from the list, where it has their type."""


def sentence_rows(
    sentences: Sequence[str], mentions: Words, rows: Iterable[Row], columns: tuple[str, str]
) -> list[dict[str, Any]]:
    """Returns rows of sentences, one character per token, in a fixed order.

    Args:
        sentences: With entity types in braces; one without stands in one row.
        mentions: The list.
        rows: Of the data set.
        columns: Of tokens and of their tags in BIO.
    """
    draw, known = random.Random(0), plain_entities(rows, columns)
    times = [(text, _TIMES if _GAP.search(text) else 1) for text in sentences]
    filled = [_filled(text, mentions, known, draw) for text, count in times for _ in range(count)]
    return [dict(zip(columns, row, strict=True)) for row in filled]


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


def _filled(
    sentence: str, mentions: Words, known: Words, draw: random.Random
) -> tuple[list[str], list[str]]:
    tokens: list[str] = []
    tags: list[str] = []
    # Splitting at the gaps gives text and type in turn.
    for place, part in enumerate(_GAP.split(sentence)):
        is_gap = place % 2 == 1
        listed = is_gap and part in mentions and draw.random() < _LISTED
        text = draw.choice((mentions if listed else known)[part]) if is_gap else part
        tokens += text
        tags += [f"B-{part}"] + [f"I-{part}"] * (len(text) - 1) if is_gap else [OUTSIDE] * len(text)
    return tokens, tags
