"""Targets and loss of one task, for many candidates at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch

Unit = tuple[float | torch.Tensor, float | torch.Tensor]
"""Mean and deviation."""


class Loss(Protocol):
    """The mean loss of each candidate on the rows of a batch."""

    def __call__(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Returns losses (G, C) of logits (G, C, B, K).

        Args:
            logits: Of all candidates.
            targets: Of the B rows.
            weights: (B,) or (C, B) of rows; None for equal weights.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """Targets and loss of one task.

    Attributes:
        outputs: Number K of logits.
        loss: Of a batch.
        targets: One per training row (or word): (N,) int64, (N, K) fp32 zeros and ones, or
            (N,) or (N, K) fp32 standardised values; of pairs (N, 3), see `vectors.pairs`.
        prior: (K,) logits of the label frequencies in the training set; in cross-validation
            (R, K), by the rows that each copy is fitted on.
        unit: Mean and deviation that turn outputs into the task's own unit, of all or each (K,).
        groups: (N,) the group of each training row, of which all rows are in one step; None where
            rows are drawn by themselves.
        projects: Whether the outputs are a projection of the features, and the loss compares all
            rows of a batch: a head starts at the principal axes, and decays to these.
    """

    outputs: int
    loss: Loss
    targets: torch.Tensor
    prior: torch.Tensor
    unit: Unit = (0.0, 1.0)
    groups: torch.Tensor | None = None
    projects: bool = False

    def to(self, device: torch.device) -> Objective:
        """Returns it on a device."""
        return replace(self, targets=self.targets.to(device), prior=self.prior.to(device))


def mean_loss(losses: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Returns the mean over rows of losses (G, C, B), by weights as in `Loss`: (G, C)."""
    if weights is None:
        return losses.mean(-1)
    # In cross-validation a small batch may have no training row of a copy.
    return (losses * weights).sum(-1) / weights.sum(-1).clamp(min=1)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A weighted sample of the training rows.

    Attributes:
        rows: (n,) int64, ascending.
        weights: (n,) fp32, how many rows each represents.
    """

    rows: torch.Tensor
    weights: torch.Tensor
