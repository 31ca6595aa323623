"""One label of a tree per text; rows may say no more than an inner one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from adapterhub.diagnostics import Diagnostics
from adapterhub.kinds import MetricName
from adapterhub.model.heads.heads import Array
from adapterhub.model.heads.kinds.label_tree import Ints, LabelTree
from adapterhub.model.heads.kinds.single_label import label_scores
from adapterhub.results import Answer, TreeLabel
from adapterhub.specs import Calibration, TaskSpec
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.calibration import Truth, leaf_temperature
from adapterhub.training.evaluation.comparison import Comparison, compare_labels
from adapterhub.training.evaluation.measure import confusion_of, reliability
from adapterhub.training.evaluation.metrics import Figures, tree_figures
from adapterhub.training.kinds.kind import Outputs, Targets, TrainedKind
from adapterhub.training.kinds.objective import Objective, mean_loss
from adapterhub.training.kinds.selection import Judge, judge_tree, leaf_log_probabilities


class LabelTreeKind(TrainedKind):
    """Cross-entropy over leaves; an inner label means any of those below it."""

    def objective(self, truth: torch.Tensor, labels: int) -> Objective:
        """Returns targets and loss of training."""
        everything = torch.ones(1, len(truth))
        return Objective(labels, leaf_loss, truth, _prior(everything, truth)[0])

    def fold_priors(self, objective: Objective, train_mask: torch.Tensor) -> torch.Tensor:
        """Returns the prior of each copy of cross-validation, by its own rows: (R, K)."""
        return _prior(train_mask, objective.targets)

    def judge(self, metric: MetricName, dataset: Dataset, targets: Targets) -> Judge:
        """Returns the judge of candidates on validation rows.

        Raises:
            UsageError: The metric is of leaves, and no row has one.
        """
        tree = LabelTree.of(dataset.labels, dataset.parents)
        places = torch.from_numpy(_places(tree, dataset)).to(targets.values.device)
        return judge_tree(metric, targets.values, places, tree)

    def calibrate(self, logits: Array, truth: Truth) -> Calibration:
        """Returns the temperature, fitted on validation logits."""
        return Calibration(temperature=leaf_temperature(logits, truth))

    def judged(self, answers: Sequence[Answer], dataset: Dataset) -> list[list[tuple[float, bool]]]:
        """Returns the probability of each leaf, and whether it is, or is below, the true label."""
        rows = zip(cast("Sequence[TreeLabel]", answers), dataset.targets, strict=True)
        return [[(found["score"], target in found["path"])] for found, target in rows]

    def figures(self, spec: TaskSpec, outputs: Outputs, dataset: Dataset) -> Figures:
        """Returns the metrics of a calibrated task on the rows of `dataset`."""
        tree = LabelTree.of(spec.labels, spec.parents)
        scores = label_scores(outputs.matrix, spec)
        return tree_figures(tree, scores, dataset.truth(), _places(tree, dataset))

    def compare(
        self, spec: TaskSpec, outputs: Outputs, dataset: Dataset, *, split: str
    ) -> Comparison:
        """Returns the predictions of a calibrated task beside the true leaves, where rows have one.

        What is known of the other rows is how often their probability holds.
        """
        places = _places(LabelTree.of(spec.labels, spec.parents), dataset)
        scores = label_scores(outputs.matrix, spec)
        own = np.flatnonzero(places < len(spec.labels))
        if not own.size:
            hits = dataset.truth()[np.arange(len(scores)), scores.argmax(1)] > 0
            bins = reliability(scores.max(1), hits)
            found = Diagnostics(split=split, rows=len(dataset), reliability=bins)
            return Comparison(split, len(dataset), found)
        scores, places = scores[own], places[own]
        found = confusion_of(scores, places, split=split)
        return compare_labels(spec.labels, places, scores.argmax(1), found)


def _places(tree: LabelTree, dataset: Dataset) -> Ints:
    """Returns the labels of rows as places in the tree: (N,)."""
    places = {name: place for place, name in enumerate(tree.names)}
    return np.array([places[str(target)] for target in dataset.targets], np.int64)


def _prior(rows: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Returns the logarithms of the shares of leaves in some rows: (R, N), (N, K) -> (R, K).

    A row with an inner label counts in equal parts for the leaves below it.
    """
    # Laplace smoothing keeps the logarithms finite.
    counts = rows @ (truth / truth.sum(1, keepdim=True)) + 1
    return torch.log(counts / counts.sum(1, keepdim=True))


def leaf_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Returns the cross-entropy of the leaves that rows may have; see `objective.Loss`."""
    return mean_loss(-leaf_log_probabilities(logits, targets), weights)
