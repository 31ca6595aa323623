"""Entities: one tag per word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from adapterhub.kinds import MetricName
from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.model.heads.spans import words_of
from adapterhub.results import Answer, Entity
from adapterhub.specs import Calibration, TaskSpec
from adapterhub.tags import OUTSIDE
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.data.tagging import Span, unit_tags
from adapterhub.training.evaluation.calibration import TunedHead, tune_tag_bias
from adapterhub.training.evaluation.comparison import Comparison, compare_spans
from adapterhub.training.evaluation.metrics import Figures, answer_spans, span_figures
from adapterhub.training.kinds.kind import Outputs, Targets, Units, words_in
from adapterhub.training.kinds.objective import Sample
from adapterhub.training.kinds.one_label import OneLabelKind
from adapterhub.training.kinds.selection import Judge, judge_spans, unit_rows

# Most words are outside of all entities and much alike: a fifth of them, weighted by 5, will do.
_OUTSIDE_RANKED = 0.2


class TaggingKind(OneLabelKind):
    """A head is fitted per word, while an entity counts as a whole."""

    epochs = (20, 1_000_000)
    ngram_strengths = (5.0, 20.0)
    ngram_steps = 100  # words are many and much alike: more iterations change little

    def targets(self, dataset: Dataset, units: Units) -> Targets:
        """Returns the tag of every word of all rows."""
        index = {label: place for place, label in enumerate(dataset.labels)}
        tags = [
            index[tag]
            for row, spans in zip(words_in(units), dataset.spans(), strict=True)
            for tag in unit_tags(row, spans, dataset.labels)
        ]
        return Targets(torch.from_numpy(np.array(tags, np.int64)), units)

    def judge(self, metric: MetricName, dataset: Dataset, targets: Targets) -> Judge:
        """Returns the judge of candidates on validation rows."""
        del metric  # F1 of spans is the only one.
        labels = dataset.labels
        return judge_spans(unit_rows(words_in(targets.units), dataset.spans(), labels), labels)

    def ranking_sample(
        self, truth: torch.Tensor, labels: Sequence[str], seed: int
    ) -> Sample | None:
        """Returns the words of entities, their neighbours, and a weighted sample of the others."""
        inside = truth != labels.index(OUTSIDE)
        near = inside.clone()
        near[1:] |= inside[:-1]
        near[:-1] |= inside[1:]
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(len(near), generator=generator) < _OUTSIDE_RANKED
        rows = torch.nonzero(near | drawn).flatten()
        return Sample(rows, torch.where(near[rows], 1.0, 1 / _OUTSIDE_RANKED))

    def calibrate_rows(self, spec: TaskSpec, logits: RowLogits, dataset: Dataset) -> Calibration:
        """Returns the temperature that fits the words of `dataset`."""
        del spec
        units = [words_of(text) for text in logits.texts]
        rows: list[Array] = [
            values[[word.token for word in words]]
            for values, words in zip(logits.values, units, strict=True)
        ]
        return self.calibrate(np.concatenate(rows), self.targets(dataset, units).values.numpy())

    def tuned(self, head: TunedHead, dataset: Dataset, *, tolerance: float) -> TunedHead:
        """Returns a head with tag biases, where these improve F1 of spans."""
        return tune_tag_bias(head, dataset, tolerance=tolerance) or head

    def judged(self, answers: Sequence[Answer], dataset: Dataset) -> list[list[tuple[float, bool]]]:
        """Returns the predicted spans with their probabilities, and which are right."""
        rows = zip(cast("Sequence[list[Entity]]", answers), dataset.spans(), strict=True)
        return [
            [
                (one["score"], Span(one["start"], one["end"], one["entity_group"]) in truth)
                for one in found
            ]
            for found, truth in rows
        ]

    def figures(self, spec: TaskSpec, outputs: Outputs, dataset: Dataset) -> Figures:
        """Returns the metrics of a calibrated task on the rows of `dataset`."""
        del spec
        return span_figures(answer_spans(outputs.answers), dataset)

    def compare(
        self, spec: TaskSpec, outputs: Outputs, dataset: Dataset, *, split: str
    ) -> Comparison:
        """Returns the predicted spans beside the true ones, by types of entities."""
        del spec
        return compare_spans(answer_spans(outputs.answers), dataset, split=split)
