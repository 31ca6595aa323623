"""One of several labels that have an order, per text."""

from __future__ import annotations

from dataclasses import replace

import torch

from adapterhub.kinds import MetricName
from adapterhub.model.heads.kinds.ordinal import median_places
from adapterhub.model.heads.kinds.single_label import label_scores
from adapterhub.specs import TaskSpec
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.comparison import Comparison, compare_labels
from adapterhub.training.evaluation.measure import confusion_of
from adapterhub.training.evaluation.metrics import Figures, ordinal_figures
from adapterhub.training.kinds.kind import Outputs, Targets
from adapterhub.training.kinds.objective import Objective, mean_loss
from adapterhub.training.kinds.one_label import OneLabelKind, label_loss
from adapterhub.training.kinds.selection import Judge, judge_steps


class OrdinalKind(OneLabelKind):
    """Cross-entropy and the distance of the distributions; kappa; a confusion matrix."""

    def objective(self, truth: torch.Tensor, labels: int) -> Objective:
        """Returns targets and loss of training."""
        return replace(super().objective(truth, labels), loss=step_loss)

    def judge(self, metric: MetricName, dataset: Dataset, targets: Targets) -> Judge:
        """Returns the judge of candidates on validation rows."""
        return judge_steps(metric, targets.values, len(dataset.labels))

    def figures(self, spec: TaskSpec, outputs: Outputs, dataset: Dataset) -> Figures:
        """Returns the metrics of a calibrated task on the rows of `dataset`."""
        scores = label_scores(outputs.matrix, spec)
        return ordinal_figures(scores, median_places(scores), dataset.truth())

    def compare(
        self, spec: TaskSpec, outputs: Outputs, dataset: Dataset, *, split: str
    ) -> Comparison:
        """Returns the predictions of a calibrated task beside the true labels."""
        scores, truth = label_scores(outputs.matrix, spec), dataset.truth()
        chosen = median_places(scores)
        found = confusion_of(scores, truth, split=split, predicted=chosen)
        return compare_labels(spec.labels, truth, chosen, found)


def step_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Returns cross-entropy plus the squared earth mover's distance; see `objective.Loss`.

    The distance is that of the distribution over labels to the true label: the sum over steps of
    the squared probability on the wrong side. By itself it has a small gradient far from the truth.

    Source: Hou et al., "Squared Earth Mover's Distance-based Loss for Training Deep Neural
    Networks", 2016.
    """
    below = logits.softmax(-1).cumsum(-1)[..., :-1]
    steps = torch.arange(below.shape[-1], device=logits.device)
    is_below = (targets[..., None] <= steps).to(below.dtype)
    distance = (below - is_below).square().sum(-1)
    return label_loss(logits, targets, weights) + mean_loss(distance, weights)
