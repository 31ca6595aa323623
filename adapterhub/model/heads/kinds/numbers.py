"""The logits of a whole text -> a number for each name."""

from __future__ import annotations

import numpy as np

from adapterhub.decoding import AnswerOptions
from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.model.heads.kinds.decoder import Decoder
from adapterhub.results import Answer
from adapterhub.specs import TaskSpec


def clipped_numbers(logits: Array, spec: TaskSpec) -> Array:
    """Returns the values of logits (N, K) in their units, each clipped to its range: (N, K)."""
    if spec.value_ranges is None:
        return logits
    low, high = np.asarray(spec.value_ranges, np.float32).T
    return logits.clip(low, high)


class NumbersDecoder(Decoder):
    """Decodes to the values of a row by their names."""

    def decode(self, logits: RowLogits, spec: TaskSpec, options: AnswerOptions) -> list[Answer]:
        """Returns one prediction per row."""
        del options  # All numbers are always predicted.
        return [
            {"values": dict(zip(spec.labels, row, strict=True))}
            for row in clipped_numbers(logits.matrix, spec).tolist()
        ]
