"""Logits of a whole text -> the labels that it has."""

from __future__ import annotations

import numpy as np

from adapterhub.decoding import AnswerOptions
from adapterhub.model.heads.heads import Array, RowLogits, sigmoid
from adapterhub.model.heads.kinds.decoder import Decoder, least_confidence, ranked
from adapterhub.results import Answer, LabelScore
from adapterhub.specs import TaskSpec


def set_scores(logits: Array, spec: TaskSpec) -> Array:
    """Returns the calibrated probability of each label by itself: (N, K)."""
    return sigmoid(logits / spec.calibration.temperature)


def thresholds(spec: TaskSpec) -> Array:
    """Returns the probability from which on each label is predicted: (K,)."""
    return np.asarray(spec.calibration.thresholds or [0.5] * len(spec.labels), np.float32)


class MultiLabelDecoder(Decoder):
    """Decodes to the labels at or over their threshold, or the `top_k` most probable ones.

    Those under the minimum of confidence are left out.
    """

    def decode(self, logits: RowLogits, spec: TaskSpec, options: AnswerOptions) -> list[Answer]:
        """Returns one prediction per row."""
        scores = set_scores(logits.matrix, spec)
        if options.top_k != 1:
            return ranked(scores, spec.labels, options.top_k)
        least, confident = thresholds(spec), least_confidence(spec, options)
        answers: list[Answer] = []
        for row in scores:
            predicted = np.flatnonzero((row >= least) & (row.astype(np.float64) >= confident))
            order = predicted[np.argsort(-row[predicted], kind="stable")]
            answers.append([LabelScore(label=spec.labels[i], score=float(row[i])) for i in order])
        return answers
