"""How the logits of a task become predictions, as its head file says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from adapterhub.errors import UsageError
from adapterhub.schema import Spec


class Calibration(Spec):
    """Calibration of probabilities and decision thresholds.

    Attributes:
        temperature: Divides the logits before softmax or sigmoid.
        thresholds: Multi-label only: minimum probability to predict each label, in label order.
    """

    temperature: float = Field(default=1.0, ge=1e-3, le=1e3)
    thresholds: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = None


class Extraction(Spec):
    """Which spans of a context are answers.

    Attributes:
        max_tokens: Tokens of an answer at most; a single word may have more.
        null_threshold: The question has no answer where the score of none is larger than that of
            the best span by more than this; None where it always has one.
    """

    max_tokens: int = Field(ge=1)
    null_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """What a caller wants to see of the predictions.

    Attributes:
        top_k: 1 for the prediction, n for the n most probable labels, None for all labels; without
            meaning for kinds with one prediction.
        min_confidence: Probability in [0, 1] under which a task does not answer, where `top_k` is
            1; None for what its file says. Without meaning for kinds that always answer.

    Raises:
        UsageError: A value is none of these.
    """

    top_k: int | None = 1
    min_confidence: float | None = None

    def __post_init__(self) -> None:
        top_k, least = self.top_k, self.min_confidence
        if top_k is not None and (type(top_k) is not int or top_k < 1):
            raise UsageError(f"top_k is {top_k!r}; expected 1 or more, or None for all labels.")
        is_number = isinstance(least, int | float) and not isinstance(least, bool)
        if least is not None and not (is_number and 0 <= least <= 1):
            raise UsageError(
                f"min_confidence is {least!r}; expected a probability from 0 to 1, or None for "
                f"what the file of each task says."
            )


BEST = AnswerOptions()
"""The prediction itself."""
ALWAYS = AnswerOptions(min_confidence=0.0)
"""The same, however improbable."""
