"""When a trained task does not answer: chosen on validation rows, measured behind the choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch

from adapterhub.decoding import ALWAYS
from adapterhub.diagnostics import figure_text
from adapterhub.model.heads.heads import RowLogits
from adapterhub.model.heads.kinds.table import DECODERS
from adapterhub.results import LabelScore
from adapterhub.specs import Abstention, TaskSpec, abstention_lines
from adapterhub.training.data.dataset import Dataset, Splits
from adapterhub.training.evaluation.abstention.choose import (
    FEWEST_ANSWERS,
    Demands,
    crossed_point,
    table_of,
)
from adapterhub.training.evaluation.abstention.judged import Given, Judged, risk_point
from adapterhub.training.evaluation.measure import run_head
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.kinds.table import TRAINED
from adapterhub.training.options import TrainingOptions


@dataclass(frozen=True, slots=True, eq=False)
class HeadRun:
    """A calibrated head, to be run on more rows.

    Attributes:
        spec: The task.
        tensors: Its tensors by name.
        source: Encoder, tokenizer and cache.
        max_windows: Maximum number of windows per text.
    """

    spec: TaskSpec
    tensors: Mapping[str, torch.Tensor]
    source: FeatureSource
    max_windows: int

    def logits(self, inputs: Sequence[tuple[str, ...]]) -> RowLogits:
        """Returns the logits of rows, as scoring computes them."""
        return run_head(
            self.spec, self.tensors, inputs, source=self.source, max_windows=self.max_windows
        )

    def judged(self, logits: RowLogits, dataset: Dataset) -> Judged:
        """Returns the answers for rows and for those out of scope, judged.

        Args:
            logits: Of the rows.
            dataset: The rows, with those out of scope.
        """
        decoder, kind = DECODERS[self.spec.kind], TRAINED[self.spec.kind]
        outside: list[float] = []
        if dataset.outside:
            answers = decoder.decode(self.logits(dataset.outside), self.spec, ALWAYS)
            outside = [one["score"] for one in cast("list[LabelScore]", answers)]
        found = decoder.decode(logits, self.spec, ALWAYS)
        return Judged.of(kind.judged(found, dataset), outside)


def find_abstention(
    run: HeadRun,
    splits: Splits,
    logits: RowLogits,
    test_logits: RowLogits | None,
    options: TrainingOptions,
) -> tuple[Abstention | None, tuple[str, ...]]:
    """Returns when a task does not answer, with notes on the choice; None where none was asked for.

    Validation rows choose. Test rows measure, if there are any, and rows out of scope among them
    where these are wanted; else the validation rows do, each at the minimum that others chose.

    Args:
        run: The calibrated head.
        splits: The rows.
        logits: Of the validation rows.
        test_logits: Of the test rows, if any.
        options: Say what is wanted.
    """
    if options.min_accuracy is None and options.none_label is None:
        return None, ()
    demands = Demands(options.min_accuracy, options.none_label is not None)
    choosing = measuring = run.judged(logits, splits.validation)
    test = splits.test
    is_tested = test is not None and (bool(test.outside) or not demands.rejects_outside)
    if test is not None and test_logits is not None and is_tested:
        measuring, least = run.judged(test_logits, test), demands.choose(choosing)
        chosen = risk_point(measuring, Given.over(measuring, least), least)
    else:
        chosen = crossed_point(choosing, demands, seed=options.seed)
    found = Abstention(
        chosen=chosen,
        min_accuracy=options.min_accuracy,
        none_label=options.none_label,
        split="test" if is_tested else splits.measured_on,
        rows=measuring.count,
        outside=len(measuring.outside),
        used_for=() if is_tested else ("selection", "calibration"),
        auroc=measuring.auroc,
        table=table_of(choosing, measuring),
    )
    lines = abstention_lines(found, run.spec.row.withheld)
    return found, (" ".join(lines), *_notes(demands, choosing))


def _notes(demands: Demands, choosing: Judged) -> tuple[str, ...]:
    """Returns a warning where no minimum has the accuracy that was asked for."""
    if demands.is_met(choosing) or demands.min_accuracy is None:
        return ()
    share = figure_text(float(choosing.right.mean())) if len(choosing.right) else "not known"
    return (
        f"No minimum of confidence makes {demands.min_accuracy:g} of the answers right (without "
        f"one it is {share}), so min_accuracy has no effect: the table says what can be had. "
        f"Of fewer than {FEWEST_ANSWERS} answers a share is mostly chance, and decides nothing.",
    )
