"""The tap of a prototype task: the usual one, unless the examples clearly say another.

Few examples tell depths and poolings apart by chance: on 30 titles of news the likelihood of
examples left out chose a depth that was 13 points worse than the usual one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from adapterhub.errors import UsageError
from adapterhub.kinds import MetricName
from adapterhub.model.heads.heads import Array, log_softmax
from adapterhub.specs import HeadSpec
from adapterhub.training.data.splits import text_groups
from adapterhub.training.evaluation.calibration import Truth
from adapterhub.training.heads.candidates import FittedHead, Hyperparameters, single_heads
from adapterhub.training.heads.fit_inputs import FitInputs
from adapterhub.training.heads.prototypes.means import Means
from adapterhub.training.heads.search_heads import SearchResult
from adapterhub.training.heads.table import SearchTable, table_row
from adapterhub.training.kinds.prototype import TEMPERATURE
from adapterhub.training.options import TrainingOptions

_USUAL_DEPTH = (3, 4)
_USUAL_POOLING = "mean"
_CLEARLY = 2.0
"""Standard errors of the mean difference between two taps on the same examples."""


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """One tap.

    Attributes:
        fitted: Its head.
        each: (M,) by how much each validation row speaks for it; see `_each`.
    """

    fitted: FittedHead
    each: Array


def search_prototypes(
    fit_inputs: FitInputs, *, options: TrainingOptions, depth: int
) -> SearchResult:
    """Returns the prototypes of a task, on the tap that tells its examples apart.

    Args:
        fit_inputs: The examples, and the rows to choose by.
        options: Depths and poolings that are tried.
        depth: Depth of the backbone.

    Raises:
        UsageError: The options leave no tap, or a label has no example.
    """
    heads = single_heads(options, fit_inputs.splits.train.kind, depth)
    if not heads:
        raise UsageError("Option poolings: prototypes are pooled by cls, mean or max.")
    _check_examples(fit_inputs)
    usual = _usual(heads, depth)
    if not len(fit_inputs.splits.validation):
        heads = [usual]
    groups = text_groups(fit_inputs.splits.train.inputs)
    candidates = [_candidate(head, fit_inputs, groups) for head in heads]
    candidates.sort(key=lambda one: (one.fitted.head.depths, -one.fitted.value))
    place = next(n for n, one in enumerate(candidates) if one.fitted.head == usual)
    chosen, reason = _choose(candidates, place, options.tolerance / 100)
    values = [one.fitted.value for one in candidates]
    table = SearchTable(
        metric=fit_inputs.metric,
        tolerance=options.tolerance,
        rows=tuple(table_row(one.fitted) for one in candidates),
        best=values.index(max(values)),
        chosen=chosen,
        candidates=len(candidates),
        notes=fit_inputs.notes,
        measure=fit_inputs.measure,
        reason=reason,
        shape="prototypes",
    )
    return SearchResult(candidates[chosen].fitted, table)


def _choose(candidates: Sequence[_Candidate], usual: int, tolerance: float) -> tuple[int, str]:
    """Returns which of candidates is chosen, and why.

    Args:
        candidates: By cost.
        usual: Which of them is the usual one.
        tolerance: How far below the best a cheaper one may be.
    """
    values = [one.fitted.value for one in candidates]
    best = values.index(max(values))
    rows = len(candidates[0].each)
    gain = candidates[best].each - candidates[usual].each
    doubt = _CLEARLY * float(gain.std(ddof=1)) / rows**0.5 if rows > 1 else float("inf")
    head = candidates[usual].fitted.head
    name = f"{head.pooling} of depth {head.depths[0]}"
    if not rows or best == usual or float(gain.mean()) <= doubt:
        found = f", and on {rows:,} rows no other is better beyond two standard errors"
        return usual, f"chosen: the usual one, {name}{found if len(candidates) > 1 else ''}."
    chosen = next(n for n, value in enumerate(values) if value >= values[best] - tolerance)
    return chosen, f"chosen: the cheapest within tolerance; the best is clearly better than {name}."


def _usual(heads: Sequence[HeadSpec], depth: int) -> HeadSpec:
    """Returns the head that is nearest to the usual one: mean, three quarters up."""
    part, of = _USUAL_DEPTH
    wanted = part * depth // of

    def distance(head: HeadSpec) -> tuple[int, bool]:
        return abs(head.depths[0] - wanted), head.pooling != _USUAL_POOLING

    return min(heads, key=distance)


def _check_examples(fit_inputs: FitInputs) -> None:
    """Checks that each label has an example.

    Raises:
        UsageError: One has none.
    """
    train = fit_inputs.splits.train
    missing = sorted(set(train.labels) - {str(target) for target in train.targets})
    if missing:
        raise UsageError(
            f"Label '{missing[0]}' has no example among the {len(train)} that are used; raise "
            f"max_rows, or describe the label."
        )


def _candidate(head: HeadSpec, fit_inputs: FitInputs, groups: Sequence[int]) -> _Candidate:
    """Returns one tap; texts of one group are left out together."""
    splits, (depth,) = fit_inputs.splits, head.depths
    train, truth = splits.train, fit_inputs.truth.numpy()
    labels = train.truth().astype(np.int64)
    means = Means.of(fit_inputs.tap("train", depth, head.pooling), labels, len(train.labels))
    if splits.left_out is None:
        found = means.similarities(fit_inputs.tap("validation", depth, head.pooling))
    else:
        found = means.without_own(splits.left_out, groups)
    logits = found.astype(np.float32)
    value = float("nan")  # not measured
    if len(truth):
        batch = torch.from_numpy(logits)[None].to(fit_inputs.problem.device)
        value = float(fit_inputs.problem.judge(batch)[0])
    fitted = FittedHead(
        head=head,
        hyperparameters=Hyperparameters(0.0, 0.0),
        value=value,
        epoch=0,
        tensors=means.tensors,
        candidates=1,
        # Those of given rows are computed as scoring does, once the head is chosen.
        logits=None if splits.left_out is None else logits,
    )
    return _Candidate(fitted, _each(fit_inputs.metric, logits, truth))


def _each(metric: MetricName, logits: Array, truth: Truth) -> Array:
    """Returns the log-likelihood of each row (M,), for other metrics whether it is right."""
    if metric != "likelihood":
        return np.asarray(logits.argmax(1) == truth, np.float32)
    chances = log_softmax(logits / np.float32(TEMPERATURE))
    return np.asarray(chances[np.arange(len(truth)), truth.astype(np.int64)])
