"""The one logit of a whole text -> a number."""

from __future__ import annotations

from adapterhub.decoding import AnswerOptions
from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.model.heads.kinds.decoder import Decoder
from adapterhub.results import Answer
from adapterhub.specs import TaskSpec


def clipped_values(logits: Array, spec: TaskSpec) -> Array:
    """Returns the values of logits (N, 1) in the task's unit, clipped to its range: (N,)."""
    values = logits[:, 0]
    return values if spec.value_range is None else values.clip(*spec.value_range)


class RegressionDecoder(Decoder):
    """Decodes to one value per row."""

    def decode(self, logits: RowLogits, spec: TaskSpec, options: AnswerOptions) -> list[Answer]:
        """Returns one prediction per row."""
        del options  # A regression task has one output.
        return [{"value": float(value)} for value in clipped_values(logits.matrix, spec)]
