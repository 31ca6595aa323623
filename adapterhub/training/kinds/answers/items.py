"""Contexts and their answers -> items: what a head for answers has start and end logits of.

The items of a window are its first token, which stands for no answer, and its tokens of the
context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapterhub.model.heads.answers.context import Context
from adapterhub.model.heads.spans import Places
from adapterhub.training.data.answers.answer_rows import AnswerSpan
from adapterhub.training.data.answers.token_targets import answer_tokens, token_targets

Flags = npt.NDArray[np.bool_]

# The longest answers are often mistakes, and every further token is one more wrong end.
_SHARE_OF_ANSWERS = 0.99
NO_TOKEN = -1
"""The token of a context at which the item of no answer stands."""


@dataclass(frozen=True, slots=True, eq=False)
class AnswerItems:
    """The M items of N rows, window by window.

    Attributes:
        contexts: The context of each row, with its windows.
        answers: First and last token of the true answers of each row, also of those that no
            window has whole.
        answerable: (N,) whether the question has an answer, also where it was truncated.
        sizes: (N,) items of each row.
        windows: (M,) the window of each item, counted over all rows.
        tokens: (M,) its token among those of the context, or `NO_TOKEN`.
        allowed: (M, 2) whether an answer, or none, may start and may end there.
        true: (M, 2) whether a true one does.
    """

    contexts: tuple[Context, ...]
    answers: tuple[tuple[tuple[int, int], ...], ...]
    answerable: Flags
    sizes: Places
    windows: Places
    tokens: Places
    allowed: Flags
    true: Flags

    @property
    def starts(self) -> Places:
        """Returns the first item of each row: (N,)."""
        starts: Places = np.cumsum(self.sizes) - self.sizes
        return starts

    @property
    def longest(self) -> int:
        """Returns the tokens that 99 of 100 answers have at most; 1 where there are none."""
        lengths = [end - start + 1 for row in self.answers for start, end in row]
        return int(np.quantile([1, *lengths], _SHARE_OF_ANSWERS, method="higher"))


def answer_items(
    contexts: Sequence[Context], answers: Sequence[Sequence[AnswerSpan]]
) -> AnswerItems:
    """Returns the items of contexts, and which of them are true.

    Args:
        contexts: Of each row.
        answers: The true answers of each row; none where the question has no answer.
    """
    rows = list(zip(contexts, answers, strict=True))
    found = [window for context, own in rows for window in _windows(context, own)]
    counts = [sum(1 + stop - first for first, stop in one.windows) for one in contexts]
    return AnswerItems(
        contexts=tuple(contexts),
        answers=tuple(tuple(answer_tokens(context, own)) for context, own in rows),
        answerable=np.array([len(own) > 0 for own in answers]),
        sizes=np.array(counts, np.int64),
        windows=np.repeat(np.arange(len(found)), [len(tokens) for tokens, _, _ in found]),
        tokens=np.concatenate([tokens for tokens, _, _ in found]),
        allowed=np.concatenate([allowed for _, allowed, _ in found]),
        true=np.concatenate([true for _, _, true in found]),
    )


def _windows(context: Context, answers: Sequence[AnswerSpan]) -> list[tuple[Places, Flags, Flags]]:
    """Returns tokens, and what is allowed and true, of the items of each window."""
    units, targets = context.units, token_targets(context, answers)
    windows = []
    for window, (first, stop) in enumerate(context.windows):
        part, is_here = units.within(first, stop), targets.windows == window
        tokens = np.concatenate(([NO_TOKEN], np.arange(first, stop)))
        allowed = np.zeros((len(tokens), 2), np.bool_)
        true = np.zeros_like(allowed)
        # Item 0 is the first token of the window.
        allowed[0], true[0] = True, not is_here.any()
        for flags, starts, ends in (
            (allowed, units.firsts[part], units.lasts[part]),
            (true, targets.starts[is_here], targets.ends[is_here]),
        ):
            flags[1 + starts - first, 0] = True
            flags[1 + ends - first, 1] = True
        windows.append((tokens, allowed, true))
    return windows
