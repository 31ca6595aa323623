"""Dependency trees: a head and a relation per word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from adapterhub.kinds import MetricName
from adapterhub.model.heads.heads import RowLogits
from adapterhub.model.heads.spans import TaggedText, Word
from adapterhub.specs import Calibration, TaskSpec
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.attachment import (
    attached_words,
    attachment_figures,
    relation_counts,
)
from adapterhub.training.evaluation.comparison import Comparison, counted_figures
from adapterhub.training.evaluation.metrics import Figures
from adapterhub.training.kinds.kind import Outputs, Targets, Units, words_in
from adapterhub.training.kinds.one_label import OneLabelKind
from adapterhub.training.kinds.selection import Judge
from adapterhub.training.kinds.trees import judge_trees, split_trees

# A note says so where fewer words than this are words of scoring.
_FEW_ALIGNED = 0.95


class ParsingKind(OneLabelKind):
    """Parsers are searched for in `heads/parsers`; the objective is that of relations."""

    epochs = (30, 2_000_000)

    def units(self, text: TaggedText) -> Sequence[Word]:
        """Returns the words of a text with all characters of their tokens."""
        return text.units

    def targets(self, dataset: Dataset, units: Units) -> Targets:
        """Returns the trees of all rows, and the relation of every unit."""
        trees = split_trees(words_in(units), dataset)
        return Targets(torch.from_numpy(trees.relations).clamp(min=0), units, trees)

    def judge(self, metric: MetricName, dataset: Dataset, targets: Targets) -> Judge:
        """Returns the judge of predicted heads and relations."""
        assert targets.trees is not None
        return judge_trees(metric, targets.trees, dataset.labels)

    def notes(self, targets: Targets) -> Iterator[str]:
        """Yields how many words cannot be right, where these are many."""
        assert targets.trees is not None
        if targets.trees.aligned < _FEW_ALIGNED:
            yield (
                f"{100 * (1 - targets.trees.aligned):.1f} % of the validation words are not words "
                f"of scoring and cannot be right: parts of words, such as do and n't of don't."
            )

    def calibrate_rows(self, spec: TaskSpec, logits: RowLogits, dataset: Dataset) -> Calibration:
        """Returns no temperature: the scores of heads and relations have their own."""
        del spec, logits, dataset
        return Calibration()

    def figures(self, spec: TaskSpec, outputs: Outputs, dataset: Dataset) -> Figures:
        """Returns the metrics of a task on the rows of `dataset`."""
        del spec
        return attachment_figures(attached_words(outputs.answers), dataset.trees())

    def compare(
        self, spec: TaskSpec, outputs: Outputs, dataset: Dataset, *, split: str
    ) -> Comparison:
        """Returns the predicted relations beside the true ones, without their subtypes.

        Those count as right that count in LAS.
        """
        del spec
        counts = relation_counts(attached_words(outputs.answers), dataset.trees())
        return Comparison(split, len(dataset), labels=counted_figures(*counts))
