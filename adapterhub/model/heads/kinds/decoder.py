"""What every kind of task has in scoring: the decoding of its logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adapterhub.decoding import AnswerOptions
from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.results import Answer, LabelScore
from adapterhub.specs import TaskSpec


class Decoder(ABC):
    """Turns the logits of one kind of task into predictions."""

    @abstractmethod
    def decode(self, logits: RowLogits, spec: TaskSpec, options: AnswerOptions) -> list[Answer]:
        """Returns one prediction per row.

        Args:
            logits: The raw outputs.
            spec: Gives labels and calibration.
            options: What is wanted of them.
        """


def least_confidence(spec: TaskSpec, options: AnswerOptions) -> float:
    """Returns the probability from which on a task gives an answer; 0 where it always does."""
    if options.min_confidence is not None:
        return options.min_confidence
    return 0.0 if spec.abstention is None else spec.abstention.min_confidence


def best_label(scores: Array, labels: Sequence[str], least: float) -> list[Answer]:
    """Returns the label with the highest score (N, K) per row, None where that is under `least`."""
    return chosen_label(scores, scores.argmax(1), labels, least)


def chosen_label(
    scores: Array, chosen: npt.NDArray[np.int64], labels: Sequence[str], least: float
) -> list[Answer]:
    """Returns the label `chosen` (N,) of each row, None where its score is under `least`.

    Args:
        scores: (N, K).
        chosen: Places of labels.
        labels: All K labels.
        least: The lowest score of a label that is given.
    """
    # As Python's floats: in float32 a score could be rounded to a minimum that is larger.
    found = [(place, float(row[place])) for row, place in zip(scores, chosen, strict=True)]
    return [
        LabelScore(label=labels[place] if score >= least else None, score=score)
        for place, score in found
    ]


def ranked(scores: Array, labels: Sequence[str], top_k: int | None) -> list[Answer]:
    """Returns the `top_k` labels with the highest scores (N, K) per row."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return [
        [LabelScore(label=labels[i], score=float(row[i])) for i in best]
        for row, best in zip(scores, order.tolist(), strict=True)
    ]
