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
_SPACES = ("a a", "a\na", "a\ta", "a\ra")
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
        if len(part) == len(text) or _is_enough(fast, part, encoding, budget)
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
        if len(part) == len(shorter) or _is_enough(fast, part, encoding, budget):
            return ReadText(part, encoding, gaps)
        limit *= _GROWTH


def _is_enough(fast: FastTokenizer, part: str, encoding: Encoding, budget: int) -> bool:
    """Returns whether the first `budget` tokens of a part of a text are those of the text, or more.

    What follows the last space may be a cut word, which has other tokens than the whole word; so
    may a cut run of spaces.
    """
    more = len(encoding) - budget
    if more <= 0:
        return False
    word = max(part.rfind(" "), part.rfind("\n"))
    while word > 0 and part[word - 1].isspace():
        word -= 1
    if word <= 0 or len(part) - word > _LONGEST_WORD:
        return more > _LONGEST_WORD  # a cut changes few tokens before it
    return more > len(fast.encode(part[word:], add_special_tokens=False))


def _silent_runs(fast: FastTokenizer, text: str) -> Iterator[Range]:
    """Yields the ranges that can be left out of long runs of characters that make no token.

    One character of each run stays: its last space if it has one, so that words stay apart, else
    one that is dropped, so that they stay together.
    """
    if counts_spaces(fast):
        return
    # Between letters, since some normalizers strip spaces off the ends of a text.
    forms = {character: normalized(fast, f"a{character}a") for character in set(text)}
    spaces = [character for character, form in forms.items() if form in _SPACES]
    silent = [*spaces, *(character for character, form in forms.items() if form == "aa")]
    if not silent:
        return
    characters = "".join(map(re.escape, silent))
    for run in re.finditer(f"[{characters}]{{{_SHORTEST_RUN},}}", text):
        last = max((text.rfind(character, *run.span()) for character in spaces), default=-1)
        kept = run.start() if last < 0 else last
        yield from ((a, b) for a, b in ((run.start(), kept), (kept + 1, run.end())) if a < b)
