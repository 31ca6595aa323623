"""Logits of a task by the code that serves it, and how often its predictions are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from adapterhub.diagnostics import (
    MOST_LABELS,
    MOST_PAIRS,
    ConfusedPair,
    Diagnostics,
    ReliabilityBin,
)
from adapterhub.model.adapters.compile import compile_adapter
from adapterhub.model.execution.resident import unplaced
from adapterhub.model.execution.run_trunk import ExecutionContext, run_trunk
from adapterhub.model.heads.heads import Array, RowLogits, join_logits
from adapterhub.plan import make_plan
from adapterhub.specs import TaskSpec
from adapterhub.training.data.dataset import Splits
from adapterhub.training.evaluation.calibration import Truth
from adapterhub.training.evaluation.metrics import significant
from adapterhub.training.features.encoding import FeatureSource

_ROWS_AT_ONCE = 1024


def run_head(
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    inputs: Sequence[tuple[str, ...]],
    *,
    source: FeatureSource,
    max_windows: int,
) -> RowLogits:
    """Returns the logits of a task that is not resident, as scoring computes them."""
    encoder = source.encoder
    adapter = None
    if spec.adapter is not None:
        adapter = compile_adapter(spec.adapter, tensors, encoder=encoder, source=spec.task)
    task = unplaced(spec, tensors, device=encoder.device, adapter=adapter)
    trunk = make_plan({spec.task: spec}).trunks[0]
    parts: list[RowLogits] = []
    starts = range(0, len(inputs), _ROWS_AT_ONCE)
    for start in tqdm(starts, desc="measuring", unit="rows", disable=None):
        output = run_trunk(
            trunk,
            {spec.task: task},
            inputs[start : start + _ROWS_AT_ONCE],
            context=ExecutionContext(encoder, source.tokenizer, max_windows),
        )
        parts.append(output.logits[spec.task])
    return join_logits(parts)


def fold_logits(
    spec: TaskSpec,
    folds: Sequence[Mapping[str, torch.Tensor]],
    splits: Splits,
    *,
    source: FeatureSource,
    max_windows: int,
) -> RowLogits:
    """Returns out-of-fold logits of all rows: each row's by the head of its fold."""
    of_rows = np.array(splits.folds)
    rows = [np.flatnonzero(of_rows == fold) for fold in range(len(folds))]
    parts = [
        run_head(
            spec,
            tensors,
            [splits.validation.inputs[row] for row in own],
            source=source,
            max_windows=max_windows,
        )
        for tensors, own in zip(folds, rows, strict=True)
    ]
    order = np.argsort(np.concatenate(rows))
    return join_logits(parts).take(order.tolist())


_BINS = 15


def confusion_of(
    scores: Array,
    truth: Truth,
    *,
    split: str,
    predicted: npt.NDArray[np.int64] | None = None,
) -> Diagnostics:
    """Returns confusion matrix and reliability of one label per row.

    Args:
        scores: (N, K) calibrated probabilities.
        truth: (N,) label indices.
        split: Name of the rows.
        predicted: (N,) label indices; None for the most probable ones.
    """
    predicted, labels = scores.argmax(1) if predicted is None else predicted, scores.shape[1]
    counts = np.zeros((labels, labels), np.int64)
    np.add.at(counts, (truth.astype(np.int64), predicted), 1)
    small = labels <= MOST_LABELS
    return Diagnostics(
        split=split,
        rows=len(scores),
        reliability=reliability(scores[np.arange(len(scores)), predicted], predicted == truth),
        confusion=tuple(map(tuple, counts.tolist())) if small else (),
        confused=() if small else worst_pairs(counts),
    )


def reliability(scores: Array, hits: npt.NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """Returns the non-empty ones of 15 equal bins of scores (N,) in [0, 1].

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, section 2.
    """
    places = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
    return tuple(
        ReliabilityBin(
            score=significant(scores[chosen].mean(dtype=np.float64)),
            hits=significant(hits[chosen].mean()),
            answers=int(chosen.sum()),
        )
        for chosen in (places == place for place in range(_BINS))
        if chosen.any()
    )


def worst_pairs(counts: npt.NDArray[Any]) -> tuple[ConfusedPair, ...]:
    """Returns the most confused pairs of true label and predicted label, from a matrix (K, K)."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong.ravel(), kind="stable")[:MOST_PAIRS]
    pairs = ((int(place) // len(wrong), int(place) % len(wrong)) for place in order)
    return tuple(
        ConfusedPair(true=true, given=predicted, rows=int(wrong[true, predicted]))
        for true, predicted in pairs
        if wrong[true, predicted]
    )
