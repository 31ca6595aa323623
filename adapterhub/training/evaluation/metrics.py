"""The metrics that a task reports, by scikit-learn and seqeval; those of trees are in `attachment`.

Both come with the extra `[train]` and are imported when they are first used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from adapterhub.model.heads.heads import Array
from adapterhub.model.heads.kinds.label_tree import Ints, LabelTree
from adapterhub.results import Answer, Entity
from adapterhub.specs import Metric
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.data.tagging import Span, character_tags
from adapterhub.training.evaluation.extra import load_package

_ECE_BINS = 15
_FEWEST_CORRELATED = 2
_ZEROS = ("spearman", "pearson", "mean_absolute_error")

Figures = dict[str, float]


def label_figures(scores: Array, truth: npt.NDArray[Any]) -> Figures:
    """Returns accuracy, macro-F1, MCC and ECE of single labels: (N, K) scores, (N,) truth."""
    measures = load_package("scikit-learn")
    chosen = scores.argmax(1)
    # Constant values have no correlation; scikit-learn gives 0 too, with a warning.
    flat = np.ptp(chosen) == 0 or np.ptp(truth) == 0
    return {
        "accuracy": measures.accuracy_score(truth, chosen),
        "macro_f1": measures.f1_score(truth, chosen, average="macro", zero_division=0),
        "mcc": 0.0 if flat else measures.matthews_corrcoef(truth, chosen),
        "ece": calibration_error(scores.max(1), chosen == truth),
    }


def tree_figures(tree: LabelTree, scores: Array, truth: npt.NDArray[Any], places: Ints) -> Figures:
    """Returns hierarchical F1, accuracy, macro-F1 and ECE of labels in a tree.

    Where a row has an inner label, what is predicted below it counts as right. Macro-F1 is of the
    rows that have a leaf.

    Source: Kiritchenko et al., "Learning and Evaluation in the Presence of Class Hierarchies:
    Application to Text Categorization", 2006: F1 over labels and all those above, without a root
    that all have.

    Args:
        tree: The labels.
        scores: (N, K) of its leaves.
        truth: (N, K) ones for the leaves that a row may have.
        places: (N,) the labels of the rows, as places in the tree.
    """
    measures = load_package("scikit-learn")
    chosen = scores.argmax(1)
    hits = truth[np.arange(len(chosen)), chosen] > 0
    distinct = tree.levels > tree.shared_levels
    known = (places < tree.leaves)[:, None] | (tree.levels <= tree.levels[places][:, None])
    true, predicted = tree.on_path(places) & distinct, tree.on_path(chosen) & distinct & known
    figures = {
        "hierarchical_f1": measures.f1_score(true, predicted, average="micro", zero_division=0),
        "accuracy": float(hits.mean()),
    }
    if (own := np.flatnonzero(places < tree.leaves)).size:
        figures["macro_f1"] = measures.f1_score(
            places[own], chosen[own], average="macro", zero_division=0
        )
    return {**figures, "ece": calibration_error(scores.max(1), hits)}


def ordinal_figures(
    scores: Array, chosen: npt.NDArray[np.int64], truth: npt.NDArray[Any]
) -> Figures:
    """Returns the figures of labels that have an order; distances are counted in steps.

    Args:
        scores: (N, K).
        chosen: (N,) places of the predicted labels.
        truth: (N,) places of the true ones.
    """
    measures, statistics = load_package("scikit-learn"), load_package("scipy")
    # Where all are one label, there is nothing to agree on; scikit-learn gives NaN.
    flat = np.ptp(chosen) == 0 or np.ptp(truth) == 0
    places = np.arange(scores.shape[1])
    kappa = 0.0
    if not flat:
        kappa = measures.cohen_kappa_score(truth, chosen, labels=places, weights="quadratic")
    own = scores[np.arange(len(scores)), chosen]
    return {
        "kappa": kappa,
        "mae": float(np.abs(chosen - truth).mean()),
        "spearman": 0.0 if flat else float(statistics.spearmanr(chosen, truth).statistic),
        "accuracy": measures.accuracy_score(truth, chosen),
        "macro_f1": measures.f1_score(truth, chosen, average="macro", zero_division=0),
        "ece": calibration_error(own, chosen == truth),
    }


def choice_figures(scores: Array, truth: npt.NDArray[Any]) -> Figures:
    """Returns accuracy and ECE of choices: (N, C) scores, (N,) places of the right ones."""
    hits = scores.argmax(1) == truth
    return {"accuracy": float(hits.mean()), "ece": calibration_error(scores.max(1), hits)}


def set_figures(
    predicted: npt.NDArray[np.bool_], scores: Array, truth: npt.NDArray[Any]
) -> Figures:
    """Returns macro- and micro-F1 and ECE of label sets, each (N, K).

    Labels that are neither true nor predicted in any row do not count.
    """
    measures = load_package("scikit-learn")
    # With one column scikit-learn would take 0 and 1 for two classes: a second one, of no row.
    padded = [np.pad(sets, ((0, 0), (0, 1))) for sets in (truth, predicted)]
    seen = np.flatnonzero(truth.any(0) | predicted.any(0))
    options = {"labels": seen, "zero_division": 0}
    figures = {"macro_f1": 0.0, "micro_f1": 0.0}
    if len(seen):
        figures["macro_f1"] = measures.f1_score(*padded, average="macro", **options)
        figures["micro_f1"] = measures.f1_score(*padded, average="micro", **options)
    return {**figures, "ece": calibration_error(scores.ravel(), truth.ravel() > 0)}


def number_figures(values: Array, truth: npt.NDArray[Any]) -> Figures:
    """Returns the correlations and the mean absolute error of values (N,)."""
    measures, statistics = load_package("scikit-learn"), load_package("scipy")
    flat = np.ptp(values) == 0 or np.ptp(truth) == 0
    return {
        "spearman": 0.0 if flat else float(statistics.spearmanr(values, truth).statistic),
        "pearson": 0.0 if flat else float(statistics.pearsonr(values, truth).statistic),
        "mean_absolute_error": measures.mean_absolute_error(truth, values),
    }


def numbers_figures(values: Array, truth: npt.NDArray[Any]) -> list[Figures]:
    """Returns the figures of each of several numbers on the rows that have it.

    Args:
        values: (N, K).
        truth: (N, K), NaN where a row lacks a number; one that no row has gets zeros.
    """
    found = []
    for own, true in zip(values.T, truth.T, strict=True):
        known = ~np.isnan(true)
        few = known.sum() < _FEWEST_CORRELATED
        found.append(dict.fromkeys(_ZEROS, 0.0) if few else number_figures(own[known], true[known]))
    return found


def span_figures(found: Sequence[Sequence[Span]], dataset: Dataset) -> Figures:
    """Returns F1, precision and recall of exact spans.

    Spans become one tag per character for seqeval, so a hit has the same type and the same first
    and last character, whatever the words or tokens.
    """
    measures = load_package("seqeval")
    lengths = [len(texts[0]) for texts in dataset.inputs]
    truth = [character_tags(n, row) for n, row in zip(lengths, dataset.spans(), strict=True)]
    predicted = [character_tags(n, row) for n, row in zip(lengths, found, strict=True)]
    return {
        "span_f1": measures.f1_score(truth, predicted, zero_division=0),
        "span_precision": measures.precision_score(truth, predicted, zero_division=0),
        "span_recall": measures.recall_score(truth, predicted, zero_division=0),
    }


def answer_spans(answers: Sequence[Answer]) -> list[list[Span]]:
    """Returns the predicted spans of a tagging task; rows without a result have none."""
    found = [cast("list[Entity]", answer or []) for answer in answers]
    return [[Span(e["start"], e["end"], e["entity_group"]) for e in row] for row in found]


def calibration_error(scores: Array, hits: npt.NDArray[np.bool_]) -> float:
    """Returns the expected calibration error of scores (N,) in [0, 1] over 15 equal bins.

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, equation 5.
    """
    bins = np.minimum((scores * _ECE_BINS).astype(np.int64), _ECE_BINS - 1)
    gaps = np.bincount(bins, scores - hits, minlength=_ECE_BINS)
    return float(np.abs(gaps).sum() / len(scores))


def to_metrics(figures: Mapping[str, float], split: str, rows: int) -> tuple[Metric, ...]:
    """Returns metrics in the form of a head file."""
    return tuple(
        Metric(name=name, value=significant(value), split=split, rows=rows)
        for name, value in figures.items()
    )


def significant(value: float) -> float:
    """Returns a value with six significant digits, so that a small one does not become 0."""
    return float(f"{float(value):.6g}")
