"""One number per text."""

from __future__ import annotations

import numpy as np
import torch

from adapterhub.kinds import MetricName
from adapterhub.model.heads.heads import Array
from adapterhub.model.heads.kinds.regression import clipped_values
from adapterhub.specs import Calibration, TaskSpec
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.calibration import Truth, TunedHead, recalibrate
from adapterhub.training.evaluation.comparison import Comparison
from adapterhub.training.evaluation.metrics import Figures, number_figures
from adapterhub.training.kinds.kind import Outputs, Targets, TrainedKind
from adapterhub.training.kinds.objective import Objective, mean_loss
from adapterhub.training.kinds.selection import Judge, judge_numbers

_SMALLEST = 1e-12


class RegressionKind(TrainedKind):
    """Squared error of standardised values, correlations, linear recalibration."""

    def objective(self, truth: torch.Tensor, labels: int) -> Objective:
        """Returns targets and loss of training."""
        del labels
        mean, deviation = float(truth.mean()), float(truth.std())
        targets = (truth - mean) / deviation
        return Objective(1, number_loss, targets, torch.zeros(1), (mean, deviation))

    def fold_priors(self, objective: Objective, train_mask: torch.Tensor) -> torch.Tensor:
        """Returns the mean of each copy of cross-validation, by its own rows: (R, 1)."""
        return train_mask @ objective.targets[:, None] / train_mask.sum(1, keepdim=True)

    def judge(self, metric: MetricName, dataset: Dataset, targets: Targets) -> Judge:
        """Returns the judge of candidates on validation rows."""
        del dataset
        return judge_numbers(metric, targets.values)

    def calibrate(self, logits: Array, truth: Truth) -> Calibration:
        """Returns no temperature: values are no probabilities."""
        del logits, truth
        return Calibration()

    def scale(self, logits: Array, truth: Truth) -> float:
        """Returns the least-squares slope of the truth on values (M, 1); 1 if not positive."""
        values = logits[:, 0]
        centred = values - values.mean()
        slope = float(centred @ truth / max(centred @ centred, _SMALLEST))
        return slope if slope > 0 else 1.0

    def tuned(self, head: TunedHead, dataset: Dataset, *, tolerance: float) -> TunedHead:
        """Returns a head after linear recalibration of the outputs whose error that lowers."""
        del tolerance
        return recalibrate(head, dataset.truth().astype(np.float32)) or head

    def figures(self, spec: TaskSpec, outputs: Outputs, dataset: Dataset) -> Figures:
        """Returns the metrics of a task on the rows of `dataset`."""
        return number_figures(clipped_values(outputs.matrix, spec), dataset.truth())

    def compare(
        self, spec: TaskSpec, outputs: Outputs, dataset: Dataset, *, split: str
    ) -> Comparison:
        """Returns the predicted values beside the true ones."""
        true, predicted = dataset.truth().astype(np.float32), clipped_values(outputs.matrix, spec)
        return Comparison(split, len(dataset), true=true, predicted=predicted)


def number_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Returns the squared error of one value per row; see `objective.Loss`."""
    return mean_loss((logits[..., 0] - targets).square(), weights)
