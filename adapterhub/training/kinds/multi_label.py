"""Any number of labels per text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch.nn import functional

from adapterhub.diagnostics import Diagnostics
from adapterhub.kinds import MetricName
from adapterhub.model.heads.heads import Array, sigmoid
from adapterhub.model.heads.kinds.multi_label import set_scores, thresholds
from adapterhub.results import Answer, LabelScore
from adapterhub.specs import Calibration, TaskSpec
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.data.labels import names_of
from adapterhub.training.evaluation.calibration import Truth, find_thresholds, set_temperature
from adapterhub.training.evaluation.comparison import Comparison, compare_sets
from adapterhub.training.evaluation.measure import reliability
from adapterhub.training.evaluation.metrics import Figures, set_figures
from adapterhub.training.kinds.kind import Outputs, Targets, TrainedKind
from adapterhub.training.kinds.objective import Objective, mean_loss
from adapterhub.training.kinds.selection import Judge, judge_label_sets


class MultiLabelKind(TrainedKind):
    """Binary cross-entropy, a threshold and F1 per label."""

    def objective(self, truth: torch.Tensor, labels: int) -> Objective:
        """Returns targets and loss of training."""
        # Laplace smoothing keeps the logarithms finite.
        share = (truth.sum(0) + 1) / (len(truth) + 2)
        return Objective(labels, set_loss, truth, torch.log(share / (1 - share)))

    def fold_priors(self, objective: Objective, train_mask: torch.Tensor) -> torch.Tensor:
        """Returns the prior of each copy of cross-validation, by its own rows: (R, K)."""
        share = (train_mask @ objective.targets + 1) / (train_mask.sum(1, keepdim=True) + 2)
        return torch.log(share / (1 - share))

    def judge(self, metric: MetricName, dataset: Dataset, targets: Targets) -> Judge:
        """Returns the judge of candidates on validation rows."""
        del dataset
        return judge_label_sets(metric, targets.values)

    def calibrate(self, logits: Array, truth: Truth) -> Calibration:
        """Returns temperature and thresholds, fitted on validation logits."""
        temperature = set_temperature(logits, truth)
        scores = sigmoid(logits / np.float32(temperature))
        return Calibration(temperature=temperature, thresholds=find_thresholds(scores, truth > 0))

    def judged(self, answers: Sequence[Answer], dataset: Dataset) -> list[list[tuple[float, bool]]]:
        """Returns the predicted labels with their probabilities, and which are right."""
        rows = zip(cast("Sequence[list[LabelScore]]", answers), dataset.targets, strict=True)
        return [
            [(one["score"], one["label"] in names_of(target)) for one in found]
            for found, target in rows
        ]

    def figures(self, spec: TaskSpec, outputs: Outputs, dataset: Dataset) -> Figures:
        """Returns the metrics of a calibrated task on the rows of `dataset`."""
        scores = set_scores(outputs.matrix, spec)
        return set_figures(scores >= thresholds(spec), scores, dataset.truth())

    def compare(
        self, spec: TaskSpec, outputs: Outputs, dataset: Dataset, *, split: str
    ) -> Comparison:
        """Returns the predictions of a calibrated task beside the true labels."""
        scores, truth = set_scores(outputs.matrix, spec), dataset.truth() > 0
        bins = reliability(scores.ravel(), truth.ravel())
        diagnostics = Diagnostics(split=split, rows=len(dataset), reliability=bins)
        return compare_sets(spec.labels, truth, scores >= thresholds(spec), diagnostics)


def set_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Returns the binary cross-entropy of zeros and ones per label; see `objective.Loss`."""
    wanted = targets.expand(logits.shape)
    losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return mean_loss(losses.sum(-1), weights)
