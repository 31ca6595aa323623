"""How the logits of a task become predictions, as its head file says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

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
    """

    top_k: int | None = 1


BEST = AnswerOptions()
"""The prediction itself."""
