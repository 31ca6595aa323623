"""Offsets of tokens in a text as given, also where the tokenizer drops characters.

The tokenizers library counts wrongly where the character map of a SentencePiece model (its
normalizer `Precompiled`) drops characters at the start of a text, or of what follows a special
token such as `[SEP]`: all later offsets of that part are too small by their number. So such
characters are cut out before, which changes no id, and the offsets are mapped back.

Where a normalizer makes one character of several, as ALBERT's makes `"` of two backticks, the
library gives it the place of the last of them; a token that starts with it starts at the first.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from tokenizers import Encoding
from tokenizers import Tokenizer as FastTokenizer

from adapterhub.model.tokenizers.described import SPACE, has_bytes

Offsets = list[tuple[int, int]]
Range = tuple[int, int]

_BLANK = f"\N{REPLACEMENT CHARACTER}{SPACE}"
"""Visible characters that the character map of a SentencePiece model may turn into spaces."""


class TextAligner:
    """Finds the offsets of tokens in a text; thread-safe."""

    def __init__(self, fast: FastTokenizer) -> None:
        self._fast = fast
        self._space = fast.token_to_id(SPACE)
        self._has_bytes = has_bytes(fast)
        self._blank = "".join(
            character for character in _BLANK if normalized(fast, f"a{character}a") == "a a"
        )
        self._merged = re.compile("|".join(map(re.escape, _merged_by(fast))) or "(?!)")
        added = fast.get_added_tokens_decoder()
        self._special = frozenset(added)
        names = sorted((token.content for token in added.values()), key=len, reverse=True)
        self._names = re.compile("|".join(map(re.escape, names)) or "(?!)")

    def offsets(self, text: str, encoding: Encoding, *, tokens: int) -> Offsets:
        """Returns start and end of the first tokens, in code points, empty for one of a space.

        Args:
            text: A text.
            encoding: Its tokens, without special tokens added.
            tokens: The number of tokens wanted.
        """
        ids: list[int] = encoding.ids[:tokens]
        offsets: Offsets = encoding.offsets[:tokens]
        # A space may be dropped at the end of a text only, where each is alone.
        for behind in ("", "a"):
            gaps = list(self._dropped_at_starts(text, ids, behind))
            if not gaps:
                break
            other = self._fast.encode(without(text, gaps), add_special_tokens=False)
            # Otherwise they are not only dropped, for instance before a token for single words.
            if other.ids[:tokens] == ids:
                offsets = restored(other.offsets[:tokens], gaps)
                break
        offsets = self._from_first(text, offsets)
        if self._has_bytes:
            return [_trimmed(text, start, end, " ") for start, end in offsets]
        if any(character in text for character in self._blank):
            offsets = [self._without_blank(text, start, end) for start, end in offsets]
        return self._without_spaces(ids, offsets)

    def _dropped_at_starts(self, text: str, ids: Sequence[int], behind: str) -> Iterator[Range]:
        """Yields the ranges that are dropped at the start, and directly behind special tokens.

        Args:
            text: A text.
            ids: Its tokens.
            behind: What stands behind a character where it is seen whether that is dropped.
        """
        alone = normalized(self._fast, behind)
        starts = [0]
        if not self._special.isdisjoint(ids):
            starts += [match.end() for match in self._names.finditer(text)]
        for start in starts:
            stop = start
            while stop < len(text) and normalized(self._fast, text[stop] + behind) == alone:
                stop += 1
            if stop > start:
                yield start, stop

    def _from_first(self, text: str, offsets: Offsets) -> Offsets:
        """Returns offsets in which a character that was made of several starts at the first."""
        firsts = {found.end() - 1: found.start() for found in self._merged.finditer(text)}
        if not firsts:
            return offsets
        return [(firsts.get(start, start) if end > start else start, end) for start, end in offsets]

    def _without_blank(self, text: str, start: int, end: int) -> Range:
        if not any(character in text[start:end] for character in self._blank):
            return start, end
        return _trimmed(text, start, end, f" \n{self._blank}")

    def _without_spaces(self, ids: Sequence[int], offsets: Offsets) -> Offsets:
        """Returns offsets with empty ranges for tokens that are only a space.

        SentencePiece's offsets of such a token include the next character, for instance a Han
        one, although that has its own token.
        """
        if self._space is None or self._space not in ids:
            return offsets
        return [
            (start, start if token == self._space else end)
            for token, (start, end) in zip(ids, offsets, strict=True)
        ]


def _merged_by(fast: FastTokenizer) -> list[str]:
    """Returns the strings of which the first steps of a normalizer make one character each."""
    if fast.normalizer is None:
        return []
    rules = json.loads(fast.normalizer.__getstate__())
    found = []
    for step in rules.get("normalizers", [rules]):
        if step["type"] != "Replace":
            break  # what comes later sees another text
        string = step["pattern"].get("String", "")
        if len(string) > 1 and len(step["content"]) == 1:
            found.append(string)
    return found


def _trimmed(text: str, start: int, end: int, spaces: str) -> Range:
    """Returns a range without the spaces at its ends, which some tokens have around their word."""
    found = text[start:end]
    start += len(found) - len(found.lstrip(spaces))
    return start, max(start, end - len(found) + len(found.rstrip(spaces)))


def normalized(fast: FastTokenizer, text: str) -> str:
    """Returns a text as a tokenizer normalizes it."""
    return text if fast.normalizer is None else str(fast.normalizer.normalize_str(text))


def without(text: str, gaps: Iterable[Range]) -> str:
    """Returns a text without some ranges, which are ascending and do not overlap."""
    parts = []
    start = 0
    for first, stop in gaps:
        parts.append(text[start:first])
        start = stop
    return "".join([*parts, text[start:]])


def restored(offsets: Offsets, gaps: Sequence[Range]) -> Offsets:
    """Returns offsets in a text, from those in the text without `gaps`."""
    if not gaps:
        return offsets
    sizes = [0, *accumulate(stop - start for start, stop in gaps)]
    places = [start - size for (start, _), size in zip(gaps, sizes, strict=False)]

    def place(index: int) -> int:
        return index + sizes[bisect_right(places, index)]

    return [
        (place(start), place(end - 1) + 1 if end > start else place(start))
        for start, end in offsets
    ]
