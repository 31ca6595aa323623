"""The outputs of a trunk -> what users get back, one task at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adapterhub.inputs import FieldInputs
from adapterhub.model.execution import TrunkOutput
from adapterhub.model.heads import DECODERS, Array, RowLogits
from adapterhub.model.resident import ResidentTask
from adapterhub.results import Answer, TaskScores


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """One task's outputs, to be spread over all rows of the call.

    Attributes:
        task: The task.
        given: The rows it could read.
        output: What its trunk gave for those; None where there were none.
        rows: Number of rows of the call.
    """

    task: ResidentTask
    given: FieldInputs
    output: TrunkOutput | None
    rows: int

    def scores(self, name: str, *, top_k: int | None, keep_logits: bool) -> TaskScores:
        """Returns the answers in input order, None in rows that were not read."""
        answers: list[Answer] = [None] * self.rows
        windows = [0] * self.rows
        truncated = [False] * self.rows
        spec = self.task.spec
        logits = None
        if self.output is not None:
            logits = self.output.logits[name]
            decoded = DECODERS[spec.kind](logits, spec, top_k)
            for place, row in enumerate(self.given.rows):
                answers[row] = decoded[place]
                windows[row] = self.output.windows[place]
                truncated[row] = self.output.truncated[place]
        return TaskScores(
            kind=spec.kind,
            answers=tuple(answers),
            made_by=self.task.made_by,
            windows=tuple(windows),
            truncated=tuple(truncated),
            logits=self._spread(logits) if keep_logits else None,
            top_k=top_k,
        )

    def _spread(self, logits: RowLogits | None) -> Array | tuple[Array, ...]:
        outputs = self.task.spec.outputs
        if self.task.spec.kind == "tagging":
            rows: list[Array] = [np.zeros((0, outputs), np.float32)] * self.rows
            if logits is not None:
                for row, values in zip(self.given.rows, logits.values, strict=True):
                    rows[row] = values
            return tuple(rows)
        matrix: Array = np.full((self.rows, outputs), np.nan, np.float32)
        if logits is not None:
            matrix[list(self.given.rows)] = logits.values
        return matrix
