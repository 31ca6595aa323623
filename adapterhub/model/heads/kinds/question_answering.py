"""Start and end logits of the tokens of a context -> the answer to a question."""

from __future__ import annotations

from adapterhub.decoding import AnswerOptions
from adapterhub.model.heads.answers.best_spans import AnswerRules, decode_answers
from adapterhub.model.heads.heads import RowLogits
from adapterhub.model.heads.kinds.decoder import Decoder, least_confidence
from adapterhub.results import Answer, ExtractedAnswer
from adapterhub.specs import TaskSpec


def rules_of(spec: TaskSpec) -> AnswerRules:
    """Returns which answers a task may give."""
    assert spec.extraction is not None  # as the spec checks
    return AnswerRules(
        max_tokens=spec.extraction.max_tokens,
        null_threshold=spec.extraction.null_threshold,
        temperature=spec.calibration.temperature,
    )


class QuestionAnsweringDecoder(Decoder):
    """Decodes to the most probable answer per row, or a list of the `top_k` most probable ones.

    The answer is empty where its probability is under the minimum.
    """

    def decode(self, logits: RowLogits, spec: TaskSpec, options: AnswerOptions) -> list[Answer]:
        """Returns one prediction per row."""
        found = decode_answers(list(logits.values), logits.contexts, rules_of(spec), options.top_k)
        if options.top_k != 1:
            return [*found]
        least = least_confidence(spec, options)
        return [_sure(row[0], least) for row in found]


def _sure(answer: ExtractedAnswer, least: float) -> ExtractedAnswer:
    """Returns an answer, or the empty one with its probability where that is under the minimum."""
    if answer["score"] >= least:
        return answer
    return ExtractedAnswer(score=answer["score"], start=0, end=0, answer="")
