"""The training class of every kind, and what is measured through it."""

from __future__ import annotations

from collections.abc import Mapping

from adapterhub.errors import UsageError
from adapterhub.kinds import Kind
from adapterhub.model.heads.heads import RowLogits
from adapterhub.results import TaskScores
from adapterhub.specs import Metric, TaskSpec
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.comparison import Comparison
from adapterhub.training.evaluation.metrics import to_metrics
from adapterhub.training.kinds.embedding import EmbeddingKind
from adapterhub.training.kinds.kind import Outputs, TrainedKind
from adapterhub.training.kinds.label_tree import LabelTreeKind
from adapterhub.training.kinds.multi_label import MultiLabelKind
from adapterhub.training.kinds.multiple_choice import MultipleChoiceKind
from adapterhub.training.kinds.numbers import NumbersKind
from adapterhub.training.kinds.ordinal import OrdinalKind
from adapterhub.training.kinds.parsing import ParsingKind
from adapterhub.training.kinds.prototype import PrototypeKind
from adapterhub.training.kinds.question_answering import QuestionAnsweringKind
from adapterhub.training.kinds.regression import RegressionKind
from adapterhub.training.kinds.single_label import SingleLabelKind
from adapterhub.training.kinds.tagging import TaggingKind

TRAINED: Mapping[Kind, TrainedKind] = {
    "single_label": SingleLabelKind(),
    "multi_label": MultiLabelKind(),
    "regression": RegressionKind(),
    "tagging": TaggingKind(),
    "parsing": ParsingKind(),
    "multiple_choice": MultipleChoiceKind(),
    "question_answering": QuestionAnsweringKind(),
    "embedding": EmbeddingKind(),
    "prototype": PrototypeKind(),
    "label_tree": LabelTreeKind(),
    "ordinal": OrdinalKind(),
    "numbers": NumbersKind(),
}


def calibrated(spec: TaskSpec, logits: RowLogits, dataset: Dataset) -> TaskSpec:
    """Returns the task with a temperature and thresholds that fit the rows of `dataset`."""
    calibration = TRAINED[spec.kind].calibrate_rows(spec, logits, dataset)
    return spec.model_copy(update={"calibration": calibration})


def compute_metrics(
    spec: TaskSpec, logits: RowLogits, dataset: Dataset, *, split: str = "validation"
) -> tuple[Metric, ...]:
    """Returns the metrics of a calibrated task on the rows of `dataset`, the split `split`."""
    outputs = Outputs.of_logits(spec, logits)
    return to_metrics(TRAINED[spec.kind].figures(spec, outputs, dataset), split, len(dataset))


def compare(
    spec: TaskSpec, logits: RowLogits, dataset: Dataset, *, split: str = "validation"
) -> Comparison:
    """Returns the comparison of a calibrated task's logits with the rows of `dataset`."""
    outputs = Outputs.of_logits(spec, logits)
    return TRAINED[spec.kind].compare(spec, outputs, dataset, split=split)


def evaluate(
    spec: TaskSpec, scores: TaskScores, dataset: Dataset, *, split: str = "given"
) -> tuple[Metric, ...]:
    """Returns the metrics of a task's predictions for the rows of a data set.

    Args:
        spec: The task.
        scores: Its scores of `dataset.scored` by `Hub.score`, with logits.
        dataset: The rows, with the labels of the task.
        split: Name of these rows.

    Raises:
        UsageError: The scores lack logits, or are for another number of rows.
        MissingExtraError: scikit-learn or seqeval is not installed.
    """
    if len(scores) != (expected := len(dataset.scored)):
        raise UsageError(f"There are {len(scores)} predictions, but {expected} texts with labels.")
    figures = TRAINED[spec.kind].figures(spec, Outputs.of_scores(scores), dataset)
    return to_metrics(figures, split, len(dataset))
