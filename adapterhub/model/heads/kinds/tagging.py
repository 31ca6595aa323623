"""Logits of tokens -> entity spans."""

from __future__ import annotations

from adapterhub.decoding import AnswerOptions
from adapterhub.model.heads.heads import RowLogits, log_softmax
from adapterhub.model.heads.kinds.decoder import Decoder, least_confidence
from adapterhub.model.heads.spans import decode_spans
from adapterhub.results import Answer
from adapterhub.specs import TaskSpec


class TaggingDecoder(Decoder):
    """Decodes to the entity spans of each row, in text order, of the best sequence of tags.

    Those under the minimum of confidence are left out.
    """

    def decode(self, logits: RowLogits, spec: TaskSpec, options: AnswerOptions) -> list[Answer]:
        """Returns one prediction per row."""
        temperature = spec.calibration.temperature
        scores = [log_softmax(row / temperature) for row in logits.values]
        found = decode_spans(scores, logits.texts, spec.labels)
        least = least_confidence(spec, options)
        return [[span for span in row if span["score"] >= least] for row in found]
