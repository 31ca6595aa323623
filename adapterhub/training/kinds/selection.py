"""Validation metrics of many candidates at once, for model selection during fitting.

Reported metrics come from scikit-learn and seqeval (`metrics`); these are the same for X candidates
together, some thousand times per run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from adapterhub.errors import UsageError
from adapterhub.kinds import MetricName
from adapterhub.model.heads.kinds.label_tree import LabelTree
from adapterhub.model.heads.spans import Word
from adapterhub.tags import OUTSIDE, mark_of
from adapterhub.training.data.tagging import Span

Judge = Callable[[torch.Tensor], torch.Tensor]
"""Takes logits (X, M, K) of X candidates for M validation rows, returns their metric (X,)."""

THRESHOLDS = torch.arange(5, 96, 5) / 100
"""Candidate thresholds, within the same bounds as the final ones."""

_HALF = 0.5
"""Share of the probability that the median and all labels below it have at least."""

_TEMPERATURES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Likelihood is that of the best of these, since a temperature is fitted afterwards."""


def judge_labels(metric: MetricName, truth: torch.Tensor, labels: int) -> Judge:
    """Returns the judge of single labels, given the true ones (M,)."""

    def judge(logits: torch.Tensor) -> torch.Tensor:
        if metric == "likelihood":
            own = truth.expand(logits.shape[:-1])[..., None]
            return _likelihood(logits, lambda z: z.log_softmax(-1).gather(-1, own))
        predicted = logits.argmax(-1)
        hits = predicted == truth
        if metric == "accuracy":
            return hits.float().mean(-1)
        positive, true = _count(predicted, labels), _count(truth[None], labels)
        both = _count(torch.where(hits, predicted, labels), labels + 1)[:, :labels]
        return (
            _macro_f1(both, positive, true) if metric == "macro_f1" else _mcc(both, positive, true)
        )

    return judge


def judge_tree(
    metric: MetricName, truth: torch.Tensor, places: torch.Tensor, tree: LabelTree
) -> Judge:
    """Returns the judge of labels in a tree; see `metrics.tree_figures`.

    Args:
        metric: Which metric.
        truth: (M, K) ones for the leaves that a row may have.
        places: (M,) the labels of the rows, as places in the tree.
        tree: The labels.

    Raises:
        UsageError: The metric is of leaves, and no row has one.
    """
    has_leaf = places < tree.leaves
    paths = torch.from_numpy(tree.paths).to(truth.device)
    own = paths[places]
    distinct = torch.arange(paths.shape[1], device=truth.device) >= tree.shared_levels
    true = (own >= 0) & distinct
    if metric == "macro_f1":
        if not has_leaf.any():
            raise UsageError("Option metric is 'macro_f1', but no validation row has a leaf.")
        of_leaves = judge_labels(metric, places[has_leaf], tree.leaves)
        return lambda logits: of_leaves(logits[:, has_leaf])

    def judge(logits: torch.Tensor) -> torch.Tensor:
        if metric == "likelihood":
            return _likelihood(logits, lambda z: leaf_log_probabilities(z, truth))
        predicted = logits.argmax(-1)
        if metric == "accuracy":
            own_truth = truth.expand(logits.shape)
            return own_truth.gather(-1, predicted[..., None])[..., 0].mean(-1)
        found = paths[predicted]
        counted = (found >= 0) & distinct & (has_leaf[:, None] | (own >= 0))
        both = ((found == own) & counted).sum((1, 2))
        return 2 * both / (counted.sum((1, 2)) + true.sum()).clamp(min=1)

    return judge


def judge_steps(metric: MetricName, truth: torch.Tensor, labels: int) -> Judge:
    """Returns the judge of labels that have an order, given the true ones (M,)."""
    plain, ranked = judge_labels(metric, truth, labels), judge_numbers(metric, truth)

    def judge(logits: torch.Tensor) -> torch.Tensor:
        if metric == "likelihood":
            return plain(logits)
        predicted = (logits.softmax(-1).cumsum(-1) < _HALF).sum(-1).clamp(max=labels - 1)
        if metric == "kappa":
            return _kappa(predicted.double(), truth.double())
        if metric == "spearman":
            return ranked(predicted[..., None])
        return plain(functional.one_hot(predicted, labels))

    return judge


def leaf_log_probabilities(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Returns log probabilities that one of some leaves is right: logits (..., M, K) -> (..., M).

    Args:
        logits: Of all leaves.
        truth: Ones for the leaves that are meant, (M, K).
    """
    own = logits.masked_fill(truth.expand(logits.shape) == 0, -torch.inf)
    return own.logsumexp(-1) - logits.logsumexp(-1)


def judge_label_sets(metric: MetricName, truth: torch.Tensor) -> Judge:
    """Returns the judge of label sets at the best thresholds, given zeros and ones (M, K)."""
    labels = truth.shape[1]
    positives = truth.sum(0)

    def judge(logits: torch.Tensor) -> torch.Tensor:
        if metric == "likelihood":
            return _likelihood(logits, lambda z: functional.logsigmoid(z * (2 * truth - 1)))
        steps = torch.bucketize(logits.sigmoid(), THRESHOLDS.to(logits.device), right=True)
        bins = len(THRESHOLDS) + 1
        # (X, M, K) -> one bin per candidate, label and step
        offsets = torch.arange(len(logits) * labels, device=logits.device).view(-1, 1, labels)
        places = (steps + offsets * bins).flatten()
        weights = truth.expand(logits.shape).flatten()
        size = len(logits) * labels * bins
        shape = (len(logits), labels, bins)
        positive = torch.bincount(places, minlength=size).view(shape)
        both = torch.bincount(places, weights, minlength=size).view(shape)
        # Scores over threshold t are those of all higher bins.
        positive, both = (n.flip(-1).cumsum(-1).flip(-1)[..., 1:] for n in (positive, both))
        if metric == "micro_f1":
            return (2 * both.sum(1) / (positive.sum(1) + positives.sum()).clamp(min=1)).amax(-1)
        f1 = (2 * both / (positive + positives[:, None]).clamp(min=1)).amax(-1)
        return f1[:, positives > 0].sum(-1) / (positives > 0).sum().clamp(min=1)

    return judge


def judge_numbers(metric: MetricName, truth: torch.Tensor) -> Judge:
    """Returns the judge of regression values, given the true ones (M,)."""
    target = truth.double()
    if metric == "spearman":
        target = _ranks(target)

    def judge(logits: torch.Tensor) -> torch.Tensor:
        values = logits[..., 0].double()
        if metric == "spearman":
            values = torch.stack([_ranks(row) for row in values])
        return _correlation(values, target)

    return judge


def judge_several(metric: MetricName, truth: torch.Tensor) -> Judge:
    """Returns the judge of several numbers: the mean of their own, on the rows that have each.

    Args:
        metric: Of one number.
        truth: (M, K), NaN where a row lacks a number.
    """
    known = [torch.nonzero(~own.isnan()).flatten() for own in truth.T]
    judges = [
        judge_numbers(metric, own[rows]) if len(rows) > 1 else None
        for own, rows in zip(truth.T, known, strict=True)
    ]

    def judge(logits: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(len(logits), dtype=torch.float64, device=logits.device)
        for place, (rows, own) in enumerate(zip(known, judges, strict=True)):
            if own is not None:
                total += own(logits[:, rows, place, None])
        return total / len(judges)

    return judge


@dataclass(frozen=True, slots=True, eq=False)
class UnitRows:
    """The words of all validation rows, concatenated.

    Attributes:
        first: (M,) whether a word is the first of its row.
        spans: Keys of the true spans that words can express, see `unit_rows`.
        total: Number of all true spans.
    """

    first: npt.NDArray[np.bool_]
    spans: npt.NDArray[np.int64]
    total: int


def unit_rows(
    rows: Sequence[Sequence[Word]], spans: Sequence[Sequence[Span]], labels: Sequence[str]
) -> UnitRows:
    """Returns the words and true spans of all validation rows.

    The key of a span is (first word * words + last word) * labels + type.
    """
    types = {label[2:]: index for index, label in enumerate(labels) if label.startswith("B-")}
    size = sum(map(len, rows))
    first = np.zeros(size, np.bool_)
    keys: list[int] = []
    start = 0
    for units, found in zip(rows, spans, strict=True):
        if units:
            first[start] = True
        begins = {unit.start: start + place for place, unit in enumerate(units)}
        ends = {unit.end: start + place for place, unit in enumerate(units)}
        for span in found:
            if span.start in begins and span.end in ends:
                type_index = types[span.entity]
                keys.append((begins[span.start] * size + ends[span.end]) * len(labels) + type_index)
        start += len(units)
    return UnitRows(first, np.array(sorted(keys), np.int64), sum(map(len, spans)))


def judge_spans(rows: UnitRows, labels: Sequence[str]) -> Judge:
    """Returns the judge of tags: F1 of exact spans, by the argmax tag of each word.

    Scoring finds the best valid sequence instead, which is slower and shifts all candidates alike.
    """
    meanings = _Meanings.of(labels)

    def judge(logits: torch.Tensor) -> torch.Tensor:
        values = [_span_f1(tags, rows, meanings) for tags in logits.argmax(-1).cpu().numpy()]
        return torch.tensor(values, device=logits.device)

    return judge


@dataclass(frozen=True, slots=True, eq=False)
class _Meanings:
    """What each of K tags means.

    Attributes:
        types: (K,) the index of `B-x` for all tags of x, -1 for `O`.
        begins: (K,) whether an entity begins with it.
        closes: (K,) whether an entity ends with it.
    """

    types: npt.NDArray[np.int64]
    begins: npt.NDArray[np.bool_]
    closes: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, labels: Sequence[str]) -> _Meanings:
        types = [-1 if tag == OUTSIDE else labels.index(f"B-{tag[2:]}") for tag in labels]
        marks = [mark_of(tag) for tag in labels]
        begins = np.array([mark in ("B", "S") for mark in marks])
        closes = np.array([mark in ("E", "S") for mark in marks])
        return cls(np.array(types, np.int64), begins, closes)


def _span_f1(tags: npt.NDArray[np.int64], rows: UnitRows, meanings: _Meanings) -> float:
    types = meanings.types[tags]
    before = np.concatenate([[-1], np.where(meanings.closes[tags], -1, types)[:-1]])
    before[rows.first] = -1
    starts = (types >= 0) & (meanings.begins[tags] | (before != types))
    goes_on = (types >= 0) & ~starts
    ends = (types >= 0) & ~np.concatenate([goes_on[1:], [False]])
    first, last = np.flatnonzero(starts), np.flatnonzero(ends)
    keys = (first * len(tags) + last) * len(meanings.types) + types[first]
    hits = int(np.isin(keys, rows.spans, assume_unique=True).sum())
    return 2 * hits / max(len(keys) + rows.total, 1)


def _likelihood(
    logits: torch.Tensor, log_probabilities: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Returns the geometric mean of the true labels' probabilities: (X, M, K) -> (X,)."""
    means = [log_probabilities(logits / value).flatten(1).mean(1) for value in _TEMPERATURES]
    return torch.stack(means).amax(0).exp()


def _count(predicted: torch.Tensor, labels: int) -> torch.Tensor:
    """Returns how often each label was predicted: (X, M) -> (X, K)."""
    offsets = torch.arange(len(predicted), device=predicted.device)[:, None] * labels
    counts = torch.bincount((predicted + offsets).flatten(), minlength=len(predicted) * labels)
    return counts.view(len(predicted), labels).double()


def _macro_f1(both: torch.Tensor, positive: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    seen = positive + true
    f1 = 2 * both / seen.clamp(min=1)
    return f1.sum(-1) / (seen > 0).sum(-1)


def _mcc(both: torch.Tensor, positive: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    # Source: Gorodkin, "Comparing two K-category assignments by a K-category correlation
    # coefficient", 2004.
    rows = true.sum(-1)
    covariance = both.sum(-1) * rows - (positive * true).sum(-1)
    spread = (rows**2 - positive.square().sum(-1)) * (rows**2 - true.square().sum(-1))
    return torch.where(spread > 0, covariance / spread.clamp(min=1).sqrt(), 0.0)


def _kappa(predicted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Returns Cohen's kappa with quadratic weights of places (X, M) and (M,): (X,).

    The disagreement that chance would give is the mean square of the difference of independent
    values.

    Source: Cohen, "Weighted kappa", 1968.
    """
    seen = (predicted - truth).square().mean(-1)
    spreads = predicted.var(-1, correction=0), truth.var(correction=0)
    chance = spreads[0] + spreads[1] + (predicted.mean(-1) - truth.mean()).square()
    flat = (spreads[0] == 0) | (spreads[1] == 0)
    return torch.where(flat, 0.0, 1 - seen / chance.clamp(min=1e-12))


def _ranks(values: torch.Tensor) -> torch.Tensor:
    """Returns the ranks of values (M,); equal values share their mean rank."""
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    ranks: torch.Tensor = counts.cumsum(0).double() - (counts - 1) / 2
    return ranks[inverse]


def _correlation(values: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Returns Pearson's r of each row with the target: (X, M), (M,) -> (X,)."""
    values = values - values.mean(-1, keepdim=True)
    target = target - target.mean()
    spread = (values.square().sum(-1) * target.square().sum()).sqrt()
    return torch.where(spread > 0, (values @ target) / spread.clamp(min=1e-12), 0.0)
