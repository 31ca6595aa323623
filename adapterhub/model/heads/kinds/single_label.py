"""Logits of a whole text -> its most probable label."""

from __future__ import annotations

from adapterhub.decoding import AnswerOptions
from adapterhub.model.heads.heads import Array, RowLogits, softmax
from adapterhub.model.heads.kinds.decoder import Decoder, best_label, least_confidence, ranked
from adapterhub.results import Answer
from adapterhub.specs import TaskSpec


def label_scores(logits: Array, spec: TaskSpec) -> Array:
    """Returns the calibrated probability of each label, which add up to one: (N, K)."""
    return softmax(logits / spec.calibration.temperature)


class SingleLabelDecoder(Decoder):
    """Decodes to the most probable label per row, or a list of the `top_k` most probable ones.

    There is no label where its probability is under the minimum.
    """

    def decode(self, logits: RowLogits, spec: TaskSpec, options: AnswerOptions) -> list[Answer]:
        """Returns one prediction per row."""
        scores = label_scores(logits.matrix, spec)
        if options.top_k != 1:
            return ranked(scores, spec.labels, options.top_k)
        return best_label(scores, spec.labels, least_confidence(spec, options))
