"""One of the choices of each row, by one logit per choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from adapterhub.diagnostics import Diagnostics
from adapterhub.kinds import MetricName
from adapterhub.model.heads.choices import padded
from adapterhub.model.heads.heads import Array
from adapterhub.model.heads.kinds.multiple_choice import choice_scores
from adapterhub.results import Answer, Choice
from adapterhub.specs import Calibration, TaskSpec
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.calibration import Truth, choice_temperature
from adapterhub.training.evaluation.comparison import Comparison
from adapterhub.training.evaluation.measure import reliability
from adapterhub.training.evaluation.metrics import Figures, choice_figures
from adapterhub.training.kinds.kind import Outputs, Targets, TrainedKind
from adapterhub.training.kinds.objective import Objective
from adapterhub.training.kinds.one_label import label_loss
from adapterhub.training.kinds.selection import Judge, judge_labels


class MultipleChoiceKind(TrainedKind):
    """Cross-entropy over the choices of a row; the place of a choice means nothing."""

    def objective(self, truth: torch.Tensor, labels: int) -> Objective:
        """Returns targets and loss of training."""
        del labels
        return Objective(1, label_loss, truth, torch.zeros(1))

    def fold_priors(self, objective: Objective, train_mask: torch.Tensor) -> torch.Tensor:
        """Returns zeros (R, 1): what is added to the logits of all choices changes nothing."""
        del objective
        return torch.zeros(len(train_mask), 1, device=train_mask.device)

    def judge(self, metric: MetricName, dataset: Dataset, targets: Targets) -> Judge:
        """Returns the judge of candidates on validation rows."""
        del dataset
        return judge_labels(metric, targets.values, 0)

    def item_truth(self, dataset: Dataset, truth: Truth) -> Truth:
        """Returns (M, 2) int64: of each choice its row, and 1 if it is the right one."""
        counts = np.array([len(row) - 1 for row in dataset.inputs])
        rows = np.repeat(np.arange(len(counts)), counts)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.stack([rows, place == truth[rows]], axis=1).astype(np.int64)

    def calibrate(self, logits: Array, truth: Truth) -> Calibration:
        """Returns the temperature, fitted on validation logits, -inf where a row has fewer."""
        return Calibration(temperature=choice_temperature(logits, truth))

    def scale(self, logits: Array, truth: Truth) -> float:
        """Returns the factor that makes the logits of two heads comparable.

        Args:
            logits: (M, 1) of choices.
            truth: As `item_truth`.
        """
        counts = np.unique(truth[:, 0], return_counts=True)[1]
        starts = np.cumsum(counts) - counts
        places = np.flatnonzero(truth[:, 1]) - starts
        matrix = padded(np.split(logits, starts[1:]))
        return 1 / self.calibrate(matrix, places.astype(np.int64)).temperature

    def judged(self, answers: Sequence[Answer], dataset: Dataset) -> list[list[tuple[float, bool]]]:
        """Returns the probability of each chosen choice, and whether it is right."""
        rows = zip(cast("Sequence[Choice]", answers), dataset.truth().tolist(), strict=True)
        return [[(found["score"], found["index"] == place)] for found, place in rows]

    def figures(self, spec: TaskSpec, outputs: Outputs, dataset: Dataset) -> Figures:
        """Returns the metrics of a calibrated task on the rows of `dataset`."""
        return choice_figures(choice_scores(outputs.matrix, spec), dataset.truth())

    def compare(
        self, spec: TaskSpec, outputs: Outputs, dataset: Dataset, *, split: str
    ) -> Comparison:
        """Returns how often predictions are right, by their probability."""
        scores = choice_scores(outputs.matrix, spec)
        bins = reliability(scores.max(1), scores.argmax(1) == dataset.truth())
        found = Diagnostics(split=split, rows=len(dataset), reliability=bins)
        return Comparison(split, len(dataset), found)
