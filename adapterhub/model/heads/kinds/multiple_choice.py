"""One logit for each choice of a row -> its most probable choice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adapterhub.decoding import AnswerOptions
from adapterhub.model.heads.heads import Array, RowLogits, softmax
from adapterhub.model.heads.kinds.decoder import Decoder, least_confidence
from adapterhub.results import Answer, Choice
from adapterhub.specs import TaskSpec


def choice_scores(logits: Array, spec: TaskSpec) -> Array:
    """Returns the calibrated probability of each choice of a row, 0 where it has fewer: (N, C)."""
    return softmax(logits / spec.calibration.temperature)


class MultipleChoiceDecoder(Decoder):
    """Decodes to the most probable choice per row, or a list of the `top_k` most probable ones.

    There is none where its probability is under the minimum.
    """

    def decode(self, logits: RowLogits, spec: TaskSpec, options: AnswerOptions) -> list[Answer]:
        """Returns one prediction per row."""
        if not logits.choices:
            return []
        scores = choice_scores(logits.matrix, spec)
        rows = list(zip(logits.choices, scores, strict=True))
        if options.top_k == 1:
            least = least_confidence(spec, options)
            return [_best(row, own, least) for row, own in rows]
        orders = np.argsort(-scores, axis=1, kind="stable").tolist()
        return [
            [_choice(row, own, at) for at in order[: len(row)][: options.top_k]]
            for (row, own), order in zip(rows, orders, strict=True)
        ]


def _best(choices: Sequence[str], scores: Array, least: float) -> Choice:
    best = _choice(choices, scores, int(scores.argmax()))
    if best["score"] < least:
        return Choice(choice=None, index=None, score=best["score"])
    return best


def _choice(choices: Sequence[str], scores: Array, place: int) -> Choice:
    return Choice(choice=choices[place], index=place, score=float(scores[place]))
