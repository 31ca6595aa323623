"""Counts where a trained task is wrong: its confusions and how far its scores can be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from adapterhub.diagnostics import (
    MOST_LABELS,
    MOST_PAIRS,
    ConfusedPair,
    Diagnostics,
    ReliabilityBin,
)
from adapterhub.model.heads.heads import Array, RowLogits, sigmoid, softmax
from adapterhub.specs import TaskSpec
from adapterhub.training.data.dataset import Dataset

_BINS = 15


def diagnose(
    spec: TaskSpec, logits: RowLogits, dataset: Dataset, *, split: str = "validation"
) -> Diagnostics | None:
    """Returns where a calibrated task is wrong on the rows of `dataset`; `split` names them.

    None for tagging and regression, whose mistakes are neither confusions nor scores of rows.
    """
    if not isinstance(logits.values, np.ndarray) or spec.kind not in (
        "single_label",
        "multi_label",
    ):
        return None
    scaled = logits.values / np.float32(spec.calibration.temperature)
    truth = dataset.truth()
    rows = len(dataset)
    if spec.kind == "multi_label":
        bins = reliability(sigmoid(scaled).ravel(), truth.ravel() > 0)
        return Diagnostics(split=split, rows=rows, reliability=bins)
    scores = softmax(scaled)
    given = scores.argmax(1)
    counts = np.zeros((len(spec.labels),) * 2, np.int64)
    np.add.at(counts, (truth.astype(np.int64), given), 1)
    small = len(spec.labels) <= MOST_LABELS
    return Diagnostics(
        split=split,
        rows=rows,
        reliability=reliability(scores.max(1), given == truth),
        confusion=tuple(map(tuple, counts.tolist())) if small else (),
        confused=() if small else worst_pairs(counts),
    )


def reliability(scores: Array, hits: npt.NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """Returns 15 equal bins of scores (N,) in [0, 1], without those that are empty.

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, section 2.
    """
    places = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
    return tuple(
        ReliabilityBin(
            score=round(float(scores[chosen].mean(dtype=np.float64)), 6),
            hits=round(float(hits[chosen].mean()), 6),
            answers=int(chosen.sum()),
        )
        for chosen in (places == place for place in range(_BINS))
        if chosen.any()
    )


def worst_pairs(counts: npt.NDArray[Any]) -> tuple[ConfusedPair, ...]:
    """Returns the labels that are confused most, from a confusion matrix (K, K)."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong.ravel(), kind="stable")[:MOST_PAIRS]
    pairs = ((int(place) // len(wrong), int(place) % len(wrong)) for place in order)
    return tuple(
        ConfusedPair(true=true, given=given, rows=int(wrong[true, given]))
        for true, given in pairs
        if wrong[true, given]
    )
