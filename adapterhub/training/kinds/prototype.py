"""One label per text, by how like the text is to the examples of each label."""

from __future__ import annotations

from adapterhub.kinds import MetricName
from adapterhub.model.heads.heads import Array
from adapterhub.specs import Calibration
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.calibration import Truth, label_temperature
from adapterhub.training.kinds.kind import Targets
from adapterhub.training.kinds.selection import Judge
from adapterhub.training.kinds.single_label import SingleLabelKind

TEMPERATURE = 0.07
"""Of cosine similarities, where there are no rows to fit it to. With 4 to 150 labels and 5 or 10
examples of each, the fitted one was 0.045 to 0.2 on five data sets and two backbones."""


class PrototypeKind(SingleLabelKind):
    """As single labels; logits are similarities in [-1, 1], so the temperature is much smaller."""

    def judge(self, metric: MetricName, dataset: Dataset, targets: Targets) -> Judge:
        """Returns the judge of candidates on validation rows."""
        judge = super().judge(metric, dataset, targets)
        return lambda similarities: judge(similarities / TEMPERATURE)

    def calibrate(self, logits: Array, truth: Truth) -> Calibration:
        """Returns the temperature, fitted on validation logits; the usual one without any."""
        if not len(truth):
            return Calibration(temperature=TEMPERATURE)
        found = label_temperature(logits / TEMPERATURE, truth) * TEMPERATURE
        return Calibration(temperature=float(f"{found:.4g}"))
