"""Reads as much of a text as its windows hold, and no more of a very long one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokenizers import Encoding
from tokenizers import Tokenizer as FastTokenizer

from adapterhub.model.encoder.offsets import Range, normalized, without
from adapterhub.model.tokenizers.described import counts_spaces

# Running text has fewer code points per token, so that one reading is nearly always enough.
_CODE_POINTS_PER_TOKEN = 8
# Where it was not, all that is read again is small beside the last reading.
_GROWTH = 4
# What has more code points without a space is no word, or of a script without spaces.
_LONGEST_WORD = 256
# Shorter runs are read as they are; such a run is far longer than any in running text.
_SHORTEST_RUN = 64


@dataclass(frozen=True, slots=True, eq=False)
class ReadText:
    """The part of a text that was read.

    Attributes:
        text: What the tokenizer was given.
        encoding: Its tokens, without special tokens added.
        gaps: The ranges that were left out of the text as given to get `text`.
    """

    text: str
    encoding: Encoding
    gaps: tuple[Range, ...] = ()


def read_texts(fast: FastTokenizer, texts: Sequence[str], *, budget: int) -> list[ReadText]:
    """Returns the tokens of each text: all of them, or more than `budget`.

    Texts are cut to some code points per token before they are tokenized, so that a very long one
    costs no more than its windows. Where that part has too few tokens, for instance because it is
    all spaces, more is read.

    Args:
        fast: The tokenizer.
        texts: Valid strings.
        budget: Number of tokens that go into windows at most.
    """
    limit = budget * _CODE_POINTS_PER_TOKEN
    parts = [text[:limit] for text in texts]
    encodings = fast.encode_batch(parts, add_special_tokens=False)
    return [
        ReadText(part, encoding)
        if len(part) == len(text) or _is_enough(part, encoding, budget)
        else _read_on(fast, text, limit=limit, budget=budget)
        for text, part, encoding in zip(texts, parts, encodings, strict=True)
    ]


def _read_on(fast: FastTokenizer, text: str, *, limit: int, budget: int) -> ReadText:
    """Returns the tokens of a text whose first `limit` code points have too few."""
    gaps = tuple(_silent_runs(fast, text))
    shorter = without(text, gaps)
    while True:
        part = shorter[:limit]
        encoding = fast.encode(part, add_special_tokens=False)
        if len(part) == len(shorter) or _is_enough(part, encoding, budget):
            return ReadText(part, encoding, gaps)
        limit *= _GROWTH


def _is_enough(part: str, encoding: Encoding, budget: int) -> bool:
    """Returns whether a part of a text has more than `budget` tokens besides those of a cut word.

    The last word may be cut, and then has other tokens than it has in the text.
    """
    more = len(encoding) - budget
    cut = len(part) - 1 - max(part.rfind(" "), part.rfind("\n"))
    return more > 0 and (more >= cut or cut > _LONGEST_WORD)


def _silent_runs(fast: FastTokenizer, text: str) -> Iterator[Range]:
    """Yields the ranges that can be left out of long runs of signs that make no token.

    One sign of each run stays: a space if it has one, so that words stay apart, else a sign that
    is dropped, so that they stay together.
    """
    if counts_spaces(fast):
        return
    forms = {sign: normalized(fast, sign) for sign in set(text)}
    spaces = [sign for sign, form in forms.items() if form in (" ", "\n", "\t", "\r")]
    silent = [*spaces, *(sign for sign, form in forms.items() if form == "")]
    if not silent:
        return
    space = _any_of(spaces)
    for run in re.finditer(f"{_any_of(silent)}{{{_SHORTEST_RUN},}}", text):
        found = re.compile(space).search(text, *run.span())
        kept = run.start() if found is None else found.start()
        yield from ((a, b) for a, b in ((run.start(), kept), (kept + 1, run.end())) if a < b)


def _any_of(signs: Sequence[str]) -> str:
    """Returns the pattern of one of some signs."""
    return f"[{''.join(map(re.escape, signs))}]" if signs else "(?!)"
