"""One label per text."""

from __future__ import annotations

from adapterhub.kinds import MetricName
from adapterhub.model.heads.kinds.single_label import label_scores
from adapterhub.specs import TaskSpec
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.comparison import Comparison, compare_labels
from adapterhub.training.evaluation.measure import confusion_of
from adapterhub.training.evaluation.metrics import Figures, label_figures
from adapterhub.training.kinds.kind import Outputs, Targets
from adapterhub.training.kinds.one_label import OneLabelKind
from adapterhub.training.kinds.selection import Judge, judge_labels


class SingleLabelKind(OneLabelKind):
    """Accuracy and the like; a confusion matrix."""

    def judge(self, metric: MetricName, dataset: Dataset, targets: Targets) -> Judge:
        """Returns the judge of candidates on validation rows."""
        return judge_labels(metric, targets.values, len(dataset.labels))

    def figures(self, spec: TaskSpec, outputs: Outputs, dataset: Dataset) -> Figures:
        """Returns the metrics of a calibrated task on the rows of `dataset`."""
        return label_figures(label_scores(outputs.matrix, spec), dataset.truth())

    def compare(
        self, spec: TaskSpec, outputs: Outputs, dataset: Dataset, *, split: str
    ) -> Comparison:
        """Returns the predictions of a calibrated task beside the true labels."""
        scores, truth = label_scores(outputs.matrix, spec), dataset.truth()
        found = confusion_of(scores, truth, split=split)
        return compare_labels(spec.labels, truth, scores.argmax(1), found)
