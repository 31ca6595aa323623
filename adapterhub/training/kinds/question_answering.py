"""Question answering: spans of a context, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch

from adapterhub.diagnostics import figure_text
from adapterhub.kinds import MetricName
from adapterhub.model.heads.answers.best_spans import AnswerRules, SpanScores, span_scores
from adapterhub.model.heads.answers.context import Context
from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.results import Answer, ExtractedAnswer
from adapterhub.specs import Calibration, Extraction, TaskSpec
from adapterhub.training.data.answers.token_targets import answer_units
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.answers.overlap import (
    answer_figures,
    are_chinese,
    best_overlaps,
    character_f1,
    character_match,
    exact_match,
    word_f1,
)
from adapterhub.training.evaluation.answers.threshold import best_threshold
from adapterhub.training.evaluation.calibration import Truth, TunedHead, find_temperature
from adapterhub.training.evaluation.comparison import Comparison
from adapterhub.training.evaluation.metrics import Figures, significant
from adapterhub.training.kinds.answers.items import answer_items
from adapterhub.training.kinds.answers.objective import item_targets, judge_answers, window_loss
from adapterhub.training.kinds.kind import Outputs, Targets, TrainedKind, Units
from adapterhub.training.kinds.objective import Objective, Sample
from adapterhub.training.kinds.selection import Judge

# Items on which candidates are ranked first.
_RANKED_ITEMS = 60_000
# Rows that suffice for a temperature.
_CALIBRATED_ROWS = 2_000


class QuestionAnsweringKind(TrainedKind):
    """A head is fitted per window, by the tokens where answers start and end."""

    epochs = (20, 10_000_000)

    def targets(self, dataset: Dataset, units: Units) -> Targets:
        """Returns what is true of the items of all contexts."""
        contexts = [one for one in units if isinstance(one, Context)]
        items = answer_items(contexts, dataset.answers())
        return Targets(item_targets(items), contexts, items=items)

    def extraction(self, targets: Targets) -> Extraction:
        """Returns which answers a task may give, by its training rows.

        Until it is tuned, none of them is the answer where it has the highest score.
        """
        items = targets.items
        assert items is not None
        return Extraction(
            max_tokens=items.longest, null_threshold=None if items.answerable.all() else 0.0
        )

    def objective(self, truth: torch.Tensor, labels: int) -> Objective:
        """Returns targets and loss of training; the items of a window are in one step."""
        del labels
        return Objective(2, window_loss, truth, torch.zeros(2), groups=truth[:, 0])

    def fold_priors(self, objective: Objective, train_mask: torch.Tensor) -> torch.Tensor:
        """Returns no prior: (R, 2)."""
        return objective.prior.expand(len(train_mask), -1)

    def judge(self, metric: MetricName, dataset: Dataset, targets: Targets) -> Judge:
        """Returns the judge of candidates on validation rows."""
        del dataset
        assert targets.items is not None
        return judge_answers(targets.items, metric, max_tokens=targets.items.longest)

    def ranking_sample(
        self, truth: torch.Tensor, labels: Sequence[str], seed: int
    ) -> Sample | None:
        """Returns the items of random windows."""
        del labels
        if len(truth) <= _RANKED_ITEMS:
            return None
        windows = truth[:, 0]
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(int(windows.max()) + 1, generator=generator)
        rows = torch.nonzero(drawn[windows] < _RANKED_ITEMS / len(truth)).flatten()
        return Sample(rows, torch.ones(len(rows))) if len(rows) else None

    def calibrate(self, logits: Array, truth: Truth) -> Calibration:
        """Refuses; rows are calibrated, not items."""
        del logits, truth
        raise TypeError("question answering is calibrated by rows")

    def calibrate_rows(self, spec: TaskSpec, logits: RowLogits, dataset: Dataset) -> Calibration:
        """Returns the temperature at which true answers are most probable, as the task gives them.

        The score of none is lower by its threshold, as in scoring.
        """
        extraction = spec.extraction
        assert extraction is not None
        rows = range(min(len(dataset), _CALIBRATED_ROWS))
        scores = [_scores(logits, row, extraction.max_tokens) for row in rows]
        parts = [
            part
            for one, answers in zip(scores, dataset.answers(), strict=False)
            if (part := _right_and_all(one, answer_units(one.context, answers), extraction))
        ]
        if not parts:
            return Calibration()
        return Calibration(temperature=find_temperature(lambda value: _surprise(parts, value)))

    def tuned(self, head: TunedHead, dataset: Dataset, *, tolerance: float) -> TunedHead:
        """Returns a head with the best threshold of the null score, if some rows have no answer."""
        del tolerance
        truth, extraction = dataset.answer_texts(), head.spec.extraction
        answerable = np.array([len(row) > 0 for row in truth])
        if answerable.all() or extraction is None:
            return head
        rules = AnswerRules(extraction.max_tokens)
        scores = [_scores(head.logits, row, rules.max_tokens) for row in range(len(dataset))]
        found = [one.best(1, rules)[0]["answer"] for one in scores]
        f1 = character_f1 if are_chinese(truth) else word_f1
        overlaps = best_overlaps(found, truth, f1)
        gaps = np.array([one.null_gap for one in scores]).clip(*_FINITE)
        threshold, best = best_threshold(gaps, overlaps, answerable)
        changed = extraction.model_copy(update={"null_threshold": significant(threshold)})
        note = (
            f"No answer where its score is over the best one's by {threshold:+.3g}: "
            f"f1 {figure_text(significant(best))}, if all questions were answered "
            f"{figure_text(significant(float(overlaps[answerable].sum() / len(truth))))}."
        )
        spec = head.spec.model_copy(update={"extraction": changed})
        return replace(head, spec=spec, notes=(*head.notes, note))

    def judged(self, answers: Sequence[Answer], dataset: Dataset) -> list[list[tuple[float, bool]]]:
        """Returns the probability of each answer that is not empty, and whether it is true."""
        found = cast("Sequence[ExtractedAnswer]", answers)
        truth = dataset.answer_texts()
        match = character_match if are_chinese(truth) else exact_match
        matches = best_overlaps([one["answer"] for one in found], truth, match)
        return [
            [(one["score"], bool(right))] if one["answer"] else []
            for one, right in zip(found, matches, strict=True)
        ]

    def figures(self, spec: TaskSpec, outputs: Outputs, dataset: Dataset) -> Figures:
        """Returns the metrics of a calibrated task on the rows of `dataset`."""
        del spec
        given = cast("Sequence[ExtractedAnswer | None]", outputs.answers)
        found = ["" if one is None else one["answer"] for one in given]
        truth = dataset.answer_texts()
        return answer_figures(found, truth, by_character=are_chinese(truth))

    def compare(
        self, spec: TaskSpec, outputs: Outputs, dataset: Dataset, *, split: str
    ) -> Comparison:
        """Returns nothing but the number of rows: there are no labels to compare."""
        del spec, outputs
        return Comparison(split, len(dataset))


_FINITE = (-1e6, 1e6)
"""Gaps of rows that have no span at all are infinite."""


def _scores(logits: RowLogits, row: int, max_tokens: int) -> SpanScores:
    return span_scores(logits.values[row], logits.contexts[row], max_tokens=max_tokens)


def _right_and_all(
    scores: SpanScores, answers: Sequence[tuple[int, int]], extraction: Extraction
) -> tuple[Array, Array] | None:
    """Returns the scores of the true answers of a row, and of all; None where no true one is one.

    Args:
        scores: Of all answers.
        answers: First unit of the true ones, and the unit after the last.
        extraction: Whether no answer is one of all, and its threshold.
    """
    spans, threshold = scores.spans, extraction.null_threshold
    null = np.float32(-np.inf if threshold is None else scores.null - threshold)
    every = spans[np.isfinite(spans)]
    if threshold is not None:
        every = np.append(every, null)
    right = [spans[a, b - a - 1] for a, b in answers if b - a <= spans.shape[1]]
    right = [one for one in right if np.isfinite(one)]
    if threshold is not None and not answers:
        right = [null]
    return (np.array(right, np.float32), every) if right else None


def _surprise(parts: Sequence[tuple[Array, Array]], temperature: float) -> float:
    """Returns the mean negative log-likelihood of the true answers."""
    rows = [
        np.logaddexp.reduce(every / temperature) - np.logaddexp.reduce(right / temperature)
        for right, every in parts
    ]
    return float(np.mean(rows))
