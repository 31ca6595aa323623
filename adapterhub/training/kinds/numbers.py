"""Several numbers per text, each in its own unit."""

from __future__ import annotations

import numpy as np
import torch

from adapterhub.kinds import MetricName
from adapterhub.model.heads.heads import Array
from adapterhub.model.heads.kinds.numbers import clipped_numbers
from adapterhub.specs import TaskSpec
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.calibration import Truth
from adapterhub.training.evaluation.comparison import Comparison, NumberFigures
from adapterhub.training.evaluation.metrics import Figures, numbers_figures, significant
from adapterhub.training.kinds.kind import Outputs, Targets
from adapterhub.training.kinds.objective import Objective, mean_loss
from adapterhub.training.kinds.regression import RegressionKind
from adapterhub.training.kinds.selection import Judge, judge_several

_SMALLEST = 1e-12
_MEANS = ("spearman", "pearson")


class NumbersKind(RegressionKind):
    """Squared error of standardised values, mean correlations, linear recalibration of each."""

    def objective(self, truth: torch.Tensor, labels: int) -> Objective:
        """Returns targets and loss of training."""
        mean = truth.nanmean(0).nan_to_num()
        deviation = (truth - mean).square().nanmean(0).sqrt()
        # With max_rows the drawn rows may have one value of a number, or none.
        deviation = torch.where(deviation > 0, deviation, 1.0)
        targets = (truth - mean) / deviation
        return Objective(labels, numbers_loss, targets, torch.zeros(labels), (mean, deviation))

    def fold_priors(self, objective: Objective, train_mask: torch.Tensor) -> torch.Tensor:
        """Returns the means of each copy of cross-validation, by its own rows: (R, K)."""
        known = (~objective.targets.isnan()).to(train_mask)
        return train_mask @ objective.targets.nan_to_num() / (train_mask @ known).clamp(min=1)

    def judge(self, metric: MetricName, dataset: Dataset, targets: Targets) -> Judge:
        """Returns the judge of candidates on validation rows."""
        del dataset
        return judge_several(metric, targets.values)

    def scale(self, logits: Array, truth: Truth) -> float:
        """Returns the least-squares slope of standardised targets (M, K); 1 if not positive.

        It is one for all outputs, each of which is recalibrated afterwards.
        """
        known = ~np.isnan(truth)
        values = np.where(known, logits, np.nan)
        spread = np.nanstd(truth, 0, keepdims=True).clip(_SMALLEST)
        values = np.nan_to_num((values - np.nanmean(values, 0, keepdims=True)) / spread)
        wanted = np.nan_to_num((truth - np.nanmean(truth, 0, keepdims=True)) / spread)
        slope = float((values * wanted).sum() / max((values * values).sum(), _SMALLEST))
        return slope if slope > 0 else 1.0

    def figures(self, spec: TaskSpec, outputs: Outputs, dataset: Dataset) -> Figures:
        """Returns the metrics of a task on the rows of `dataset`: means over its numbers."""
        found = numbers_figures(clipped_numbers(outputs.matrix, spec), dataset.truth())
        return {name: float(np.mean([one[name] for one in found])) for name in _MEANS}

    def compare(
        self, spec: TaskSpec, outputs: Outputs, dataset: Dataset, *, split: str
    ) -> Comparison:
        """Returns the figures of each number."""
        truth = dataset.truth()
        found = numbers_figures(clipped_numbers(outputs.matrix, spec), truth)
        counts = (~np.isnan(truth)).sum(0).tolist()
        numbers = tuple(
            NumberFigures(
                label=name,
                **{key: significant(value) for key, value in figures.items()},
                count=count,
            )
            for name, figures, count in zip(spec.labels, found, counts, strict=True)
        )
        return Comparison(split, len(dataset), numbers=numbers)


def numbers_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Returns the squared error per row, the mean over its numbers; see `objective.Loss`.

    Numbers that a row lacks are NaN in `targets`, and count nothing.
    """
    known = ~targets.isnan()
    errors = torch.where(known, logits - targets.nan_to_num(), 0.0).square()
    return mean_loss(errors.sum(-1) / known.sum(-1).clamp(min=1), weights)
