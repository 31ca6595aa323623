"""Paragraphs -> pairs of consecutive sentences, about half of them swapped.

This is the sentence-order objective of ALBERT (arXiv:1909.11942) on single sentences: which of two
neighbours stood first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import regex

Order = Literal["in order", "swapped"]

ORDERS: tuple[Order, ...] = ("in order", "swapped")
"""The two labels."""

SHORTEST = 10
"""Code points of a sentence at least: headings and exclamations say little about their place."""

# A sentence ends with a full-width mark, or with a mark before a space and a new beginning; quotes
# and brackets that close go with it.
_CLOSING = r"[\"'”’»)\]」』）】》]*"
_WIDE = rf"[。！？!?…]*[。！？]+{_CLOSING}"
_NARROW = rf"[.!?…]+{_CLOSING}(?=\s+[\"'“‘«(\[]*[\p{{Lu}}\p{{Lt}}\p{{N}}\p{{Lo}}])"
_END = regex.compile(rf"{_WIDE}|{_NARROW}")
# A full stop behind these ends no sentence: initials, abbreviations with stops inside, titles.
_ABBREVIATED = regex.compile(
    r"(?:^|[^\p{L}])(?:\p{L}|(?:\p{L}\.)+\p{L}|(?i:mr|mrs|ms|dr|prof|st|sr|jr|gen|col|capt|lt|sgt|"
    r"rev|hon|gov|sen|rep|no|nos|vol|vols|vs|fig|figs|ch|sec|pp|ed|eds|approx|ca|cf|etc|inc|ltd|co|"
    r"corp|dept|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec))\.$"
)


@dataclass(frozen=True, slots=True)
class SentencePair:
    """Two sentences that stand one behind the other in a paragraph.

    Attributes:
        text: The one that is given first.
        text_pair: The one that is given second.
        label: Whether they are given in the order of the paragraph.
    """

    text: str
    text_pair: str
    label: Order


def sentences_of(paragraph: str) -> list[str]:
    """Returns the sentences of an English or Chinese paragraph, in order."""
    text = " ".join(paragraph.split())
    sentences: list[str] = []
    start = 0
    for match in _END.finditer(text):
        if _ABBREVIATED.search(text[start : match.end()]):
            continue
        sentences.append(text[start : match.end()].strip())
        start = match.end()
    rest = text[start:].strip()
    return [*sentences, rest] if rest else sentences


def sentence_pairs(paragraph: str, *, seed: int = 0) -> Iterator[SentencePair]:
    """Yields pairs of consecutive sentences of a paragraph; no sentence is in two of them.

    A hash of seed and sentences decides which are swapped, so that a pair has the same label in
    every run, beside whatever other paragraphs.

    Args:
        paragraph: English or Chinese prose.
        seed: Of the order.
    """
    sentences = sentences_of(paragraph)
    place = 0
    while place + 1 < len(sentences):
        first, second = sentences[place : place + 2]
        if min(len(first), len(second)) < SHORTEST or first == second:
            place += 1
            continue
        if _is_swapped(first, second, seed):
            yield SentencePair(second, first, "swapped")
        else:
            yield SentencePair(first, second, "in order")
        place += 2


def _is_swapped(first: str, second: str, seed: int) -> bool:
    digest = hashlib.blake2b(f"{seed}\n{first}\n{second}".encode(), digest_size=1).digest()
    return digest[0] % 2 == 1
