"""Tagging: how readily entities begin and go on, as is best on the validation rows.

A head is fitted word by word, and an entity counts only where all of its words are right: it had
better begin less often and go on longer than single words say. Two numbers, added to the biases
of all tags that begin an entity and of all that go on one, cost nothing when a task is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.specs import TaskSpec
from adapterhub.tags import mark_of
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.measure import measured

_BIAS = "head.bias"
_STEPS: Mapping[str, tuple[float, ...]] = {
    "inside": (-0.5, 0.0, 0.5, 1.0, 1.5, 2.0),
    "begin": (-1.5, -1.0, -0.5, 0.0, 0.5),
}
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Balance:
    """What is added to the logits of tags.

    Attributes:
        begin: To those of `B-` and `S-` tags.
        inside: To those of `I-` and `E-` tags.
    """

    begin: float = 0.0
    inside: float = 0.0

    def of(self, labels: Sequence[str]) -> Array:
        """Returns what each label gets: (K,) fp32."""
        added = {"B": self.begin, "S": self.begin, "I": self.inside, "E": self.inside}
        return np.array([added.get(mark_of(label), 0.0) for label in labels], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Balanced:
    """A tagging head with other biases.

    Attributes:
        tensors: All its tensors.
        logits: Its raw outputs for the validation rows.
        note: What was won, for people.
    """

    tensors: Mapping[str, torch.Tensor]
    logits: RowLogits
    note: str


def balance(
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    logits: RowLogits,
    dataset: Dataset,
    *,
    tolerance: float,
) -> Balanced | None:
    """Returns a tagging head in its best balance, or None where that wins too little.

    Args:
        spec: The task.
        tensors: Its tensors.
        logits: Its raw outputs for the rows of `dataset`, by token.
        dataset: The validation rows.
        tolerance: Points of span F1 that it has to win.
    """

    def value(way: Balance) -> float:
        figures = measured(spec, _shifted(logits, way.of(spec.labels)), dataset)
        return next(figure.value for figure in figures if figure.name == "span_f1")

    plain, found = value(Balance()), best_balance(value)
    won = value(found)
    if won - plain <= tolerance / 100:
        return None
    added = found.of(spec.labels)
    note = (
        f"Entities begin at {found.begin:+g} and go on at {found.inside:+g}, added to their "
        f"logits: span_f1 {won:.4f} instead of {plain:.4f}."
    )
    biases = {_BIAS: tensors[_BIAS] + torch.from_numpy(added)}
    return Balanced({**tensors, **biases}, _shifted(logits, added), note)


def best_balance(value: Callable[[Balance], float]) -> Balance:
    """Returns the balance with the highest value, one number after the other, twice each."""
    best, highest = Balance(), value(Balance())
    for name in [*_STEPS] * _ROUNDS:
        ways = [replace(best, **{name: step}) for step in _STEPS[name]]
        values = [value(way) for way in ways]
        if max(values) > highest:
            highest = max(values)
            best = ways[values.index(highest)]
    return best


def _shifted(logits: RowLogits, added: Array) -> RowLogits:
    return RowLogits(tuple(values + added for values in logits.values), logits.texts)
