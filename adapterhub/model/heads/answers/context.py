"""A context as answers are cut from it: its units, and the windows that it was read in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adapterhub.model.encoder.tokens import Row, Window
from adapterhub.model.heads.spans import Places, TaggedText


@dataclass(frozen=True)
class Units:
    """The units of a context in text order: words; Han characters and signs are their own.

    Attributes:
        firsts: (U,) the first token of each.
        lasts: (U,) its last token.
        starts: (U,) its first code point.
        ends: (U,) the code point after its last one.
    """

    firsts: Places
    lasts: Places
    starts: Places
    ends: Places

    @classmethod
    def of(cls, text: TaggedText) -> Units:
        """Returns the units of a text, with all characters of their tokens; see `TaggedText`."""
        words = text.units
        firsts = [word.token for word in words]
        offsets = np.array(text.offsets, np.int64).reshape(-1, 2)
        lasts = []
        for word, stop in zip(words, [*firsts[1:], len(offsets)], strict=False):
            # What stands behind its end, such as a token of a space, is no part of it.
            own = offsets[word.token : stop]
            inside = (own[:, 0] < word.end) & (own[:, 1] > own[:, 0])
            lasts.append(word.token + int(np.flatnonzero(inside)[-1]))
        starts, ends = [word.start for word in words], [word.end for word in words]
        return cls(*(np.array(column, np.int64) for column in (firsts, lasts, starts, ends)))

    def __len__(self) -> int:
        """Returns their number U."""
        return len(self.firsts)

    def within(self, first: int, stop: int) -> slice:
        """Returns the units of which all tokens are among those from `first` to before `stop`."""
        a = int(np.searchsorted(self.firsts, first))
        return slice(a, max(a, int(np.searchsorted(self.lasts, stop))))

    def covering(self, start: int, end: int) -> slice:
        """Returns the units that share a character with those from `start` to before `end`."""
        a = int(np.searchsorted(self.ends, start, side="right"))
        return slice(a, max(a, int(np.searchsorted(self.starts, end))))


@dataclass(frozen=True)
class Context:
    """A context, its tokens, and its windows.

    Attributes:
        text: The text as given, with the offsets of its tokens.
        windows: First token of each window, and the token after its last one.
    """

    text: TaggedText
    windows: Sequence[tuple[int, int]]

    def __len__(self) -> int:
        """Returns the number of its tokens in all windows, the first ones of windows included."""
        return sum(1 + stop - first for first, stop in self.windows)

    @cached_property
    def units(self) -> Units:
        """Returns its units, computed once for all tasks that read it."""
        return Units.of(self.text)


def contexts_of(
    inputs: Sequence[tuple[str, ...]], rows: Sequence[Row], windows: Sequence[Window]
) -> list[Context]:
    """Returns the contexts of rows that are read with a second field that slides.

    Args:
        inputs: Question and context of each row.
        rows: Their tokens.
        windows: Their windows, in the order of rows.
    """
    own: list[list[tuple[int, int]]] = [[] for _ in rows]
    for window in windows:
        own[window.row].append((window.first, window.last))
    return [
        Context(TaggedText(texts[1], row.offsets), tuple(places))
        for texts, row, places in zip(inputs, rows, own, strict=True)
    ]
