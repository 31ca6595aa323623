"""What fitting minimises, by kind of task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch.nn import functional

from adapterhub.specs import Kind


class Loss(Protocol):
    """The mean loss of each candidate on the rows of a batch."""

    def __call__(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Returns losses (G, C) of logits (G, C, B, K).

        Args:
            logits: Of all candidates.
            targets: Of the B rows.
            weights: (B,) or (C, B), what each row counts; None counts all alike.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """What the heads of one task are fitted to.

    Attributes:
        outputs: Number K of logits.
        loss: Of a batch.
        targets: One per training row (or word): (N,) int64, (N, K) fp32 zeros and ones, or
            (N,) fp32 standardised values.
        prior: (K,) logits that fit the training rows best without looking at the text.
        unit: Mean and deviation that turn outputs into the task's own unit.
    """

    outputs: int
    loss: Loss
    targets: torch.Tensor
    prior: torch.Tensor
    unit: tuple[float, float] = (0.0, 1.0)

    def to(self, device: torch.device) -> Objective:
        """Returns it on a device."""
        return replace(self, targets=self.targets.to(device), prior=self.prior.to(device))


def make_objective(kind: Kind, truth: torch.Tensor, labels: int) -> Objective:
    """Returns the objective for training targets.

    Args:
        kind: Kind of task; tagging is fitted as one label per word.
        truth: (N,) int64 label indices, (N, K) fp32 zeros and ones, or (N,) fp32 values.
        labels: Number of labels; of no use for regression.
    """
    if kind == "regression":
        mean, deviation = float(truth.mean()), float(truth.std())
        targets = (truth - mean) / deviation
        return Objective(1, _squares, targets, torch.zeros(1), (mean, deviation))
    # One imagined row for and against each label keeps the logarithms finite.
    if kind == "multi_label":
        share = (truth.sum(0) + 1) / (len(truth) + 2)
        return Objective(labels, _binary, truth, torch.log(share / (1 - share)))
    counts = torch.bincount(truth, minlength=labels) + 1
    return Objective(labels, _classes, truth, torch.log(counts / counts.sum()))


def _classes(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    wanted = targets.expand(logits.shape[:-1])
    rows = functional.cross_entropy(logits.flatten(0, -2), wanted.flatten(), reduction="none")
    return _mean(rows.view(wanted.shape), weights)


def _binary(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    wanted = targets.expand(logits.shape)
    losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return _mean(losses.sum(-1), weights)


def _squares(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    return _mean((logits[..., 0] - targets).square(), weights)


def _mean(losses: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    if weights is None:
        return losses.mean(-1)
    # In cross-validation a small batch may hold no row that a fold is fitted on.
    return (losses * weights).sum(-1) / weights.sum(-1).clamp(min=1)
