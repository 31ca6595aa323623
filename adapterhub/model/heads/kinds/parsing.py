"""Logits and heads of words -> dependency trees."""

from __future__ import annotations

from adapterhub.decoding import AnswerOptions
from adapterhub.model.heads.heads import RowLogits
from adapterhub.model.heads.kinds.decoder import Decoder
from adapterhub.model.heads.parses import parsed_words
from adapterhub.results import Answer
from adapterhub.specs import TaskSpec


class ParsingDecoder(Decoder):
    """Decodes to the words of each row with head and relation, in text order."""

    def decode(self, logits: RowLogits, spec: TaskSpec, options: AnswerOptions) -> list[Answer]:
        """Returns one prediction per row."""
        del options  # Only the best tree is decoded.
        rows = zip(logits.values, logits.heads, logits.texts, strict=True)
        return [parsed_words(row, heads, text, spec.labels) for row, heads, text in rows]
