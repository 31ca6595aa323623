"""The outputs of a trunk -> what users get back, one task at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adapterhub.inputs import FieldInputs
from adapterhub.model.execution import TrunkOutput
from adapterhub.model.heads import DECODERS, Array, RowLogits
from adapterhub.model.task import ResidentTask
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
        logits = None if self.output is None else self.output.logits.get(name)
        rows = self._rows(name)
        if self.output is not None and logits is not None:
            decoded = DECODERS[spec.kind](logits, spec, top_k)
            places = self.output.rows[name]
            for place, row, answer in zip(places, rows, decoded, strict=True):
                answers[row] = answer
                windows[row] = self.output.windows[place]
                truncated[row] = self.output.truncated[place]
        return TaskScores(
            kind=spec.kind,
            answers=tuple(answers),
            made_by=self.task.made_by,
            windows=tuple(windows),
            truncated=tuple(truncated),
            logits=self._spread(logits, rows) if keep_logits else None,
            top_k=top_k,
        )

    def _rows(self, name: str) -> list[int]:
        """Returns the rows of the call that the task was asked of and could read."""
        if self.output is None:
            return []
        return [self.given.rows[place] for place in self.output.rows[name]]

    def _spread(self, logits: RowLogits | None, read: list[int]) -> Array | tuple[Array, ...]:
        outputs = self.task.spec.outputs
        if self.task.spec.kind == "tagging":
            rows: list[Array] = [np.zeros((0, outputs), np.float32)] * self.rows
            if logits is not None:
                for row, values in zip(read, logits.values, strict=True):
                    rows[row] = values
            return tuple(rows)
        matrix: Array = np.full((self.rows, outputs), np.nan, np.float32)
        if logits is not None:
            matrix[read] = logits.values
        return matrix
