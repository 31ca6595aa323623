"""Texts with a task's outputs, in its head file: some to check it by, some to show to people."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from pydantic import Field, StringConstraints

from adapterhub.schema import Spec

MOST_EXAMPLES = 50
MOST_CHARACTERS = 2_000
MOST_STRINGS = 257
"""Strings of one row: a prompt and its choices."""

_Text = Annotated[str, StringConstraints(min_length=1, max_length=MOST_CHARACTERS)]


class KnownAnswer(Spec):
    """A probe text with its logits from when the head file was written.

    Attributes:
        inputs: The probe, one string per input field; of choices each is one.
        logits: One row of K for a whole text; for tagging one row per token, for parsing one per
            unit, for multiple choice one per choice, see `TaskScores`.
        answers: The label of the largest logit of each row, which detects labels in another
            order; empty where there are no labels.
    """

    inputs: tuple[str, ...] = Field(min_length=1, max_length=MOST_STRINGS)
    logits: tuple[tuple[float, ...], ...] = Field(min_length=1)
    answers: tuple[str, ...] = ()


class PredictedLabel(Spec):
    """A label with its probability; in tagging an entity type and where the entity is.

    In parsing it is the relation of a word to its head, in question answering `answer`.

    Attributes:
        label: The label, entity type or relation; of a choice its place from 0.
        score: Its probability.
        start: First code point of the entity, word or answer; None for labels of a whole text.
        end: The code point after its last.
        head: Parsing only: place of the head among the words, from 1; 0 is the root.
    """

    later = ("head",)
    label: str = Field(min_length=1, max_length=256)
    score: float = Field(ge=0, le=1)
    start: int | None = Field(default=None, ge=0)
    end: int | None = Field(default=None, ge=1)
    head: int | None = Field(default=None, ge=0)


class Example(Spec):
    """A text, or a pair of texts, with the prediction of the task.

    Attributes:
        inputs: One string per input field; of choices each is one.
        labels: The predicted labels, or entities or words in the order of the text.
        value: Regression only: the predicted value.
        values: Of several numbers the predicted ones, in the order of the labels.
    """

    later = ("values",)
    inputs: tuple[_Text, ...] = Field(min_length=1, max_length=MOST_STRINGS)
    labels: tuple[PredictedLabel, ...] = ()
    value: float | None = None
    values: tuple[float, ...] = ()

    def entity(self, found: PredictedLabel) -> str | None:
        """Returns the text of an entity, word or answer; None for a label of the whole text.

        An answer is in the second text, the context.
        """
        return None if found.start is None else self.inputs[-1][found.start : found.end]

    def choice(self, found: PredictedLabel) -> str | None:
        """Returns the text of a choice, or None for a label: only choices make three texts."""
        return self.inputs[1 + int(found.label)] if len(self.inputs) > 2 else None

    def head(self, found: PredictedLabel) -> str | None:
        """Returns the text of the head of a word, or None where that is the root or has none."""
        return self.entity(self.labels[found.head - 1]) if found.head else None

    def fits(self, fields: int, labels: Collection[str], *, has_choices: bool = False) -> bool:
        """Returns whether it may be of a task with so many fields, and these labels or types."""
        if has_choices:
            fields = max(3, len(self.inputs))
            labels = [str(place) for place in range(fields - 1)]
        has_labels = all(found.label in labels for found in self.labels)
        has_heads = all((found.head or 0) <= len(self.labels) for found in self.labels)
        is_whole = len(self.inputs) == fields and has_labels and has_heads
        return is_whole and (self.value is None) == bool(labels)
