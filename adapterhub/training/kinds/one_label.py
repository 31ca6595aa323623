"""Kinds that predict one label of several, for a text or for each word."""

from __future__ import annotations

import torch
from torch.nn import functional

from adapterhub.model.heads.heads import Array
from adapterhub.specs import Calibration
from adapterhub.training.evaluation.calibration import Truth, label_temperature
from adapterhub.training.kinds.kind import TrainedKind
from adapterhub.training.kinds.objective import Objective, mean_loss


class OneLabelKind(TrainedKind):
    """Cross-entropy over labels."""

    def objective(self, truth: torch.Tensor, labels: int) -> Objective:
        """Returns targets and loss of training."""
        # Laplace smoothing keeps the logarithms finite.
        counts = torch.bincount(truth, minlength=labels) + 1
        return Objective(labels, label_loss, truth, torch.log(counts / counts.sum()))

    def fold_priors(self, objective: Objective, train_mask: torch.Tensor) -> torch.Tensor:
        """Returns the prior of each copy of cross-validation, by its own rows: (R, K)."""
        each = functional.one_hot(objective.targets, objective.outputs).to(train_mask)
        counts = train_mask @ each + 1
        return torch.log(counts / counts.sum(1, keepdim=True))

    def calibrate(self, logits: Array, truth: Truth) -> Calibration:
        """Returns the temperature, fitted on validation logits."""
        return Calibration(temperature=label_temperature(logits, truth))


def label_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Returns the cross-entropy of one label per row; see `objective.Loss`."""
    wanted = targets.expand(logits.shape[:-1])
    rows = functional.cross_entropy(logits.flatten(0, -2), wanted.flatten(), reduction="none")
    return mean_loss(rows.view(wanted.shape), weights)
