"""What training computes for a kind of task: targets, loss, judge, calibration, metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import numpy as np
import torch

from adapterhub.decoding import ALWAYS
from adapterhub.errors import UsageError
from adapterhub.kinds import KINDS, MetricName
from adapterhub.model.heads.choices import padded
from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.model.heads.kinds.table import DECODERS
from adapterhub.model.heads.spans import TaggedText, Word
from adapterhub.results import Answer, LabelScore, TaskScores
from adapterhub.specs import Calibration, Extraction, TaskSpec
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.calibration import Truth, TunedHead
from adapterhub.training.evaluation.comparison import Comparison
from adapterhub.training.evaluation.metrics import Figures
from adapterhub.training.kinds.answers.items import AnswerItems
from adapterhub.training.kinds.objective import Objective, Sample
from adapterhub.training.kinds.selection import Judge
from adapterhub.training.kinds.trees import SplitTrees

Units = Sequence[Sized]
"""The words of each row, or its context."""


def words_in(units: Units) -> Sequence[Sequence[Word]]:
    """Returns the words of rows of which a kind reads words."""
    return cast("Sequence[Sequence[Word]]", units)


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The targets of the rows of one split.

    Attributes:
        values: As `Dataset.truth`; of words, their labels, (words,) int64.
        units: The words of each row, or its context; empty for kinds of whole texts.
        trees: Parsing only: the trees of all rows.
        items: Question answering only: what answers of all rows start and end at.
    """

    values: torch.Tensor
    units: Units = ()
    trees: SplitTrees | None = None
    items: AnswerItems | None = None

    def to(self, device: torch.device) -> Targets:
        """Returns them on a device."""
        return replace(self, values=self.values.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What a task computed for the rows of a data set.

    Attributes:
        logits: (N, K) raw outputs of whole texts, of choices (N, C) with -inf where a row has
            fewer; None for kinds that read every token.
        answers: Its predictions; for kinds of whole texts maybe none.
    """

    logits: Array | None
    answers: Sequence[Answer] = ()

    @classmethod
    def of_logits(cls, spec: TaskSpec, logits: RowLogits) -> Outputs:
        """Returns those of a calibrated task."""
        if spec.per_token:
            return cls(None, DECODERS[spec.kind].decode(logits, spec, ALWAYS))
        return cls(logits.matrix)

    @classmethod
    def of_scores(cls, scores: TaskScores) -> Outputs:
        """Returns those of a call."""
        logits = scores.logits
        if isinstance(logits, tuple) and KINDS[scores.kind].of_choices:
            logits = padded(logits)
        return cls(logits if isinstance(logits, np.ndarray) else None, scores.answers)

    @property
    def matrix(self) -> Array:
        """Returns the raw outputs of whole texts.

        Raises:
            UsageError: The call did not keep them.
        """
        if self.logits is None:
            raise UsageError("Metrics need logits; score with logits=True.")
        return self.logits


class TrainedKind(ABC):
    """The computations of training for one kind; where a kind does not say, for whole texts."""

    epochs: ClassVar[tuple[int, int]] = (24, 400_000)
    """At most so many epochs, that see about so many rows or words."""
    batch_rows: ClassVar[int] = 1024
    """Rows or words per step at most, where the options say nothing."""
    ranked_units: ClassVar[int] = 30_000
    """Validation words, or rows, that suffice to rank candidates."""
    ngram_strengths: ClassVar[tuple[float, ...]] = (0.03, 0.15, 0.75, 4.0)
    """Inverses of the L2 penalty of n-grams, to choose from."""
    ngram_steps: ClassVar[int] = 500
    """Solver iterations of n-grams at most."""

    def units(self, text: TaggedText) -> Sequence[Word]:
        """Returns the words of a text that have targets, for kinds that read every token."""
        return text.words

    def targets(self, dataset: Dataset, units: Units) -> Targets:
        """Returns the targets of rows.

        Args:
            dataset: The rows.
            units: As in `Targets`.
        """
        return Targets(torch.from_numpy(dataset.truth()), units)

    @abstractmethod
    def objective(self, truth: torch.Tensor, labels: int) -> Objective:
        """Returns targets and loss of training.

        Args:
            truth: Values of the training targets; see `Targets`.
            labels: Number of labels, or of the numbers of a vector.
        """

    @abstractmethod
    def fold_priors(self, objective: Objective, train_mask: torch.Tensor) -> torch.Tensor:
        """Returns the prior of each copy of cross-validation, by its own rows: (R, K).

        Args:
            objective: Of all rows.
            train_mask: (R, N), one where a copy is fitted on a row.
        """

    @abstractmethod
    def judge(self, metric: MetricName, dataset: Dataset, targets: Targets) -> Judge:
        """Returns the judge of candidates on validation rows.

        Args:
            metric: One of those of the kind.
            dataset: The rows.
            targets: Their targets.
        """

    def ranking_sample(
        self, truth: torch.Tensor, labels: Sequence[str], seed: int
    ) -> Sample | None:
        """Returns the training words on which candidates are ranked first; None for all rows."""
        del truth, labels, seed
        return None

    def extraction(self, targets: Targets) -> Extraction | None:
        """Returns which spans may be answers, by the training rows; None for other kinds."""
        del targets
        return None

    def notes(self, targets: Targets) -> Iterator[str]:
        """Yields what people should know of the targets of validation rows."""
        del targets
        yield from ()

    def item_truth(self, dataset: Dataset, truth: Truth) -> Truth:
        """Returns the targets of what has n-grams of its own: a row, a word or a choice.

        Args:
            dataset: The rows.
            truth: Values of their targets; see `Targets`.
        """
        del dataset
        return truth

    @abstractmethod
    def calibrate(self, logits: Array, truth: Truth) -> Calibration:
        """Returns temperature and thresholds, fitted on validation logits.

        Args:
            logits: (M, K).
            truth: As `Targets.values`.
        """

    def calibrate_rows(self, spec: TaskSpec, logits: RowLogits, dataset: Dataset) -> Calibration:
        """Returns temperature and thresholds that fit the rows of `dataset`.

        Args:
            spec: The tuned task.
            logits: Its raw outputs.
            dataset: The rows.
        """
        del spec
        return self.calibrate(logits.matrix, dataset.truth())

    def scale(self, logits: Array, truth: Truth) -> float:
        """Returns the factor that makes the logits of two heads comparable; see `calibrate`."""
        return 1 / self.calibrate(logits, truth).temperature

    def tuned(self, head: TunedHead, dataset: Dataset, *, tolerance: float) -> TunedHead:
        """Returns a head after tuning on validation rows, where that improves its metric.

        Args:
            head: Not calibrated yet.
            dataset: The rows.
            tolerance: Points of the metric that have to be gained.
        """
        del dataset, tolerance
        return head

    def judged(self, answers: Sequence[Answer], dataset: Dataset) -> list[list[tuple[float, bool]]]:
        """Returns the parts of each prediction that may be withheld: probability, and if right.

        Here of kinds with one label per row; only kinds that may withhold something are asked.

        Args:
            answers: The predictions where the task never abstains.
            dataset: The rows.
        """
        rows = zip(cast("Sequence[LabelScore]", answers), dataset.targets, strict=True)
        return [[(found["score"], found["label"] == target)] for found, target in rows]

    @abstractmethod
    def figures(self, spec: TaskSpec, outputs: Outputs, dataset: Dataset) -> Figures:
        """Returns the metrics of a calibrated task on the rows of `dataset`."""

    @abstractmethod
    def compare(
        self, spec: TaskSpec, outputs: Outputs, dataset: Dataset, *, split: str
    ) -> Comparison:
        """Returns the predictions of a calibrated task beside the true targets.

        Args:
            spec: The task.
            outputs: What it computed.
            dataset: The rows.
            split: Their name.
        """
