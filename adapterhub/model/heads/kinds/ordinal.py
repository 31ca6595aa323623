"""Logits of a whole text -> the label in the middle of its distribution over ordered labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from adapterhub.decoding import AnswerOptions
from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.model.heads.kinds.decoder import Decoder, chosen_label, least_confidence, ranked
from adapterhub.model.heads.kinds.single_label import label_scores
from adapterhub.results import Answer
from adapterhub.specs import TaskSpec


def median_places(scores: Array) -> npt.NDArray[np.int64]:
    """Returns the median of each distribution (N, K), which has the least expected error in steps.

    The most probable label ignores how far off the others are: of 0.4, 0.3, 0.3 it is the lowest.
    """
    below: npt.NDArray[np.int64] = (scores.cumsum(1) < 0.5).sum(1)
    return below.clip(max=scores.shape[1] - 1)


class OrdinalDecoder(Decoder):
    """Decodes to the median label per row, or a list of the `top_k` most probable ones.

    There is no label where the probability of the median is under the minimum.
    """

    def decode(self, logits: RowLogits, spec: TaskSpec, options: AnswerOptions) -> list[Answer]:
        """Returns one prediction per row."""
        scores = label_scores(logits.matrix, spec)
        if options.top_k != 1:
            return ranked(scores, spec.labels, options.top_k)
        least = least_confidence(spec, options)
        return chosen_label(scores, median_places(scores), spec.labels, least)
