"""A vector of each text: partners are found by its cosines, or these follow scores of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from adapterhub.errors import DataError
from adapterhub.kinds import MetricName
from adapterhub.model.heads.heads import Array
from adapterhub.model.heads.kinds.embedding import unit_vectors
from adapterhub.specs import Calibration, TaskSpec
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.data.kinds.embedding import are_scored
from adapterhub.training.data.kinds.table import READERS
from adapterhub.training.evaluation.calibration import Truth
from adapterhub.training.evaluation.comparison import Comparison
from adapterhub.training.evaluation.metrics import Figures
from adapterhub.training.evaluation.similarity import cosine_spearman, partner_recalls
from adapterhub.training.kinds.kind import Outputs, Targets, TrainedKind, Units
from adapterhub.training.kinds.objective import Objective, Sample
from adapterhub.training.kinds.selection import Judge
from adapterhub.training.kinds.vectors.judges import judge_cosines, judge_partners
from adapterhub.training.kinds.vectors.losses import order_loss, partner_loss
from adapterhub.training.kinds.vectors.pairs import SCORE, pair_targets

_RECALL = "recall_at_"
_RECALLS = (1, 5, 10)
_RANKING_ROWS = 8_000
_JUDGED_ROWS = 4_000
"""Pairs among which the texts of candidates are looked for at most: the time is their square."""


class EmbeddingKind(TrainedKind):
    """Cross-entropy over the other texts of a batch, or the order of scores."""

    batch_rows = 256
    ranked_units = 1_000

    def targets(self, dataset: Dataset, units: Units) -> Targets:
        """Returns the targets of rows: (N, 3), see `pair_targets`."""
        return Targets(pair_targets(dataset.inputs, dataset.truth()), units)

    def objective(self, truth: torch.Tensor, labels: int) -> Objective:
        """Returns targets and loss of training."""
        loss = order_loss if are_scored(truth[:, SCORE].tolist()) else partner_loss
        return Objective(labels, loss, truth, torch.zeros(labels), projects=True)

    def fold_priors(self, objective: Objective, train_mask: torch.Tensor) -> torch.Tensor:
        """Returns zeros (R, K): standardised features have no mean."""
        return torch.zeros(len(train_mask), objective.outputs, device=train_mask.device)

    def judge(self, metric: MetricName, dataset: Dataset, targets: Targets) -> Judge:
        """Returns the judge of candidates on validation rows."""
        del dataset
        if not metric.startswith(_RECALL):
            return judge_cosines(targets.values[:, SCORE])
        step = -(-len(targets.values) // _JUDGED_ROWS)
        judge = judge_partners(targets.values[::step], int(metric.removeprefix(_RECALL)))
        return lambda logits: judge(logits[:, ::step])

    def ranking_sample(
        self, truth: torch.Tensor, labels: Sequence[str], seed: int
    ) -> Sample | None:
        """Returns the training rows on which candidates are ranked first."""
        del labels
        draw = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(truth), generator=draw)[:_RANKING_ROWS].sort().values
        return Sample(rows, torch.full((len(rows),), len(truth) / len(rows)))

    def notes(self, targets: Targets) -> Iterator[str]:
        """Yields how candidates are fitted and compared."""
        rows = len(targets.values)
        if are_scored(targets.values[:, SCORE].tolist()):
            yield "Fitted so that cosines follow the scores of the pairs."
            return
        yield "Fitted so that texts find their partners, with cosines, among the others of a batch."
        if (step := -(-rows // _JUDGED_ROWS)) > 1:
            yield (
                f"Candidates look for partners among {-(-rows // step):,} of the {rows:,} "
                f"validation pairs; the metrics are of all of them."
            )

    def calibrate(self, logits: Array, truth: Truth) -> Calibration:
        """Returns no temperature: cosines are no probabilities."""
        del logits, truth
        return Calibration()

    def figures(self, spec: TaskSpec, outputs: Outputs, dataset: Dataset) -> Figures:
        """Returns the metrics of a task on the rows of `dataset`.

        Raises:
            DataError: None can be computed of its targets.
        """
        del spec
        known = READERS[dataset.kind].metrics(dataset.targets)
        if not known:
            raise DataError(
                dataset.name,
                "no row is a pair that means the same, or one has a score; nothing can be measured",
            )
        first, second = _sides(outputs)
        figures: Figures = {}
        if any(name.startswith(_RECALL) for name in known):
            found = partner_recalls(first, second, dataset, _RECALLS)
            figures = {f"{_RECALL}{k}": value for k, value in found.items()}
        if "spearman" in known:
            figures["spearman"] = cosine_spearman(first, second, dataset.truth())
        return figures

    def compare(
        self, spec: TaskSpec, outputs: Outputs, dataset: Dataset, *, split: str
    ) -> Comparison:
        """Returns the cosines of scored pairs beside the scores; of others their number alone."""
        del spec
        if not are_scored(dataset.targets):
            return Comparison(split, len(dataset))
        first, second = _sides(outputs)
        cosines = (first * second).sum(1)
        return Comparison(
            split, len(dataset), true=dataset.truth().astype(np.float32), predicted=cosines
        )


def _sides(outputs: Outputs) -> tuple[Array, Array]:
    """Returns the unit vectors of the first and of the second texts: (N, K) each."""
    vectors = unit_vectors(outputs.matrix)
    return vectors[::2], vectors[1::2]
