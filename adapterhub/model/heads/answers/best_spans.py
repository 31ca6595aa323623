"""Logits of the starts and ends of answers -> the most probable answers.

An answer is a span of the context from the start of one of its units to the end of one, see
`Units`, that lies whole in one of the windows. Its score is start logit plus end logit; where
windows overlap, the largest one counts. The score of no answer (null) is that of the first token,
the smallest one of all windows, as in the script of BERT for SQuAD 2.0.

Probabilities are over all answers that are possible, and no answer, if that is allowed: its score
is lower by the threshold, so that the most probable one is the prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapterhub.model.heads.answers.context import Context
from adapterhub.model.heads.spans import Array
from adapterhub.results import ExtractedAnswer

MOST_ANSWERS = 20
"""Answers per row at most where no number is given."""


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """Which answers there are.

    Attributes:
        max_tokens: Tokens of an answer at most; a single unit may have more.
        null_threshold: There is no answer where the score of null is larger than the best
            answer's by more than this; None where there always is one.
        temperature: Divides scores, that of null less its threshold, before they become
            probabilities; changes no prediction.
    """

    max_tokens: int
    null_threshold: float | None = None
    temperature: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class SpanScores:
    """The scores of all answers that a context has.

    Attributes:
        context: The context.
        spans: (U, L) float32, the score of each answer by its first unit and its number of units
            less one; -inf where it is none.
        null: The score of no answer.
    """

    context: Context
    spans: Array
    null: float

    @property
    def null_gap(self) -> float:
        """Returns the score of no answer minus that of the best; infinite where there is none."""
        best = self.spans.max(initial=-np.inf)
        return float("inf") if best == -np.inf else float(self.null - best)

    def best(self, top_k: int, rules: AnswerRules) -> list[ExtractedAnswer]:
        """Returns the `top_k` most probable answers, one at least.

        Of equal probability, the one that starts first comes first, and of those the shortest; no
        answer comes last.
        """
        flat = self.spans.ravel().astype(np.float64) / rules.temperature
        places = _largest(flat, top_k)
        null = -np.inf
        if rules.null_threshold is not None or not places:
            null = (self.null - (rules.null_threshold or 0.0)) / rules.temperature
        top = max(null, flat.max(initial=-np.inf))
        total = np.exp(flat - top).sum() + np.exp(null - top)
        found = [self._answer(place, np.exp(flat[place] - top) / total) for place in places]
        if null > -np.inf:
            rank = sum(flat[place] >= null for place in places)
            none = np.exp(null - top) / total
            found.insert(rank, ExtractedAnswer(score=float(none), start=0, end=0, answer=""))
        return found[:top_k]

    def _answer(self, place: int, score: float) -> ExtractedAnswer:
        first, more = divmod(place, self.spans.shape[1])
        units = self.context.units
        start, end = int(units.starts[first]), int(units.ends[first + more])
        return ExtractedAnswer(
            score=float(score), start=start, end=end, answer=self.context.text.text[start:end]
        )


def span_scores(logits: Array, context: Context, *, max_tokens: int) -> SpanScores:
    """Returns the scores of all answers that a context has.

    Args:
        logits: (R, 2) start and end logits: of each window the first token's, then those of the
            context's tokens in it.
        context: The context with its windows.
        max_tokens: As in `AnswerRules`.
    """
    units = context.units
    length = max(1, min(max_tokens, len(units)))
    spans = np.full((len(units), length), -np.inf, np.float32)
    nulls = []
    start = 0
    for first, stop in context.windows:
        own = logits[start : start + 1 + stop - first]
        start += len(own)
        nulls.append(float(own[0].sum()))
        part = units.within(first, stop)
        if part.start == part.stop:
            continue
        # Row 0 is the first token.
        starts = own[1 + units.firsts[part] - first, 0]
        ends = own[1 + units.lasts[part] - first, 1]
        scores = starts[:, None] + _following(ends, length)
        np.maximum(spans[part], scores, out=spans[part])
    if len(units):
        # The first unit alone is always allowed.
        tokens = _following(units.lasts.astype(np.float64), length) - units.firsts[:, None] + 1
        tokens[:, 0] = 1
        spans[tokens > max_tokens] = -np.inf
    return SpanScores(context, spans, min(nulls))


def decode_answers(
    logits: Sequence[Array], contexts: Sequence[Context], rules: AnswerRules, top_k: int | None
) -> list[list[ExtractedAnswer]]:
    """Returns the most probable answers of each row, one at least.

    Args:
        logits: Per row, as in `span_scores`.
        contexts: The context of each row.
        rules: Which answers there are.
        top_k: The number of answers per row at most; None for `MOST_ANSWERS`.
    """
    most = MOST_ANSWERS if top_k is None else top_k
    return [
        span_scores(own, context, max_tokens=rules.max_tokens).best(most, rules)
        for own, context in zip(logits, contexts, strict=True)
    ]


def _following(values: npt.NDArray[np.floating], length: int) -> npt.NDArray[np.floating]:
    """Returns each value and those behind it: (n,) -> (n, length), -inf where there is none."""
    padded = np.concatenate((values, np.full(length - 1, -np.inf, values.dtype)))
    return np.lib.stride_tricks.sliding_window_view(padded, length)


def _largest(values: npt.NDArray[np.float64], count: int) -> list[int]:
    """Returns the places of the `count` largest finite values, of equal ones the first."""
    count = min(count, int(np.isfinite(values).sum()))
    if count == 0:
        return []
    least = np.partition(values, -count)[-count]
    places = np.flatnonzero(values >= least)
    order = np.argsort(-values[places], kind="stable")[:count]
    return [int(place) for place in places[order]]
