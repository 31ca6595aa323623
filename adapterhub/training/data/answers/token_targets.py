"""Answers of a context -> the tokens where they start and end, in each window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adapterhub.inputs import is_invisible
from adapterhub.model.heads.answers.context import Context
from adapterhub.model.heads.spans import Places
from adapterhub.training.data.answers.answer_rows import AnswerSpan


@dataclass(frozen=True, slots=True, eq=False)
class TokenTargets:
    """The answers that lie whole in a window, window by window.

    A window without any is to say that it has no answer, also where another window of the same
    context has one.

    Attributes:
        windows: (T,) the window of each.
        starts: (T,) its first token among those of the context.
        ends: (T,) its last token.
    """

    windows: Places
    starts: Places
    ends: Places


def answer_units(context: Context, answers: Sequence[AnswerSpan]) -> list[tuple[int, int]]:
    """Returns the units of the different answers: the first, and the one after the last.

    They are those that share a character with an answer.

    Args:
        context: The context.
        answers: Answers to one question; what was truncated is left out.
    """
    found: dict[tuple[int, int], None] = {}
    for answer in answers:
        own = context.units.covering(answer.start, answer.end)
        if own.stop > own.start and not _is_cut(context, answer, own.stop):
            found[own.start, own.stop] = None
    return list(found)


def answer_tokens(context: Context, answers: Sequence[AnswerSpan]) -> list[tuple[int, int]]:
    """Returns first and last token of the different answers; see `answer_units`."""
    units = context.units
    return [
        (int(units.firsts[start]), int(units.lasts[stop - 1]))
        for start, stop in answer_units(context, answers)
    ]


def token_targets(context: Context, answers: Sequence[AnswerSpan]) -> TokenTargets:
    """Returns the answers that lie whole in a window; see `answer_tokens`.

    Args:
        context: The context with its windows.
        answers: Answers to one question.
    """
    tokens = answer_tokens(context, answers)
    found = [
        (window, start, end)
        for window, (first, stop) in enumerate(context.windows)
        for start, end in tokens
        if first <= start and end < stop
    ]
    windows, starts, ends = np.array(found, np.int64).reshape(-1, 3).T
    return TokenTargets(windows, starts, ends)


def _is_cut(context: Context, answer: AnswerSpan, stop: int) -> bool:
    """Returns whether an answer goes on behind the units that were read."""
    behind = context.text.text[context.units.ends[stop - 1] : answer.end]
    return not is_invisible(behind)
