"""Fits n-gram weights by scikit-learn, and adds them to a head where that improves its metric."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from adapterhub.choices.rows import choice_counts
from adapterhub.diagnostics import figure_text
from adapterhub.kinds import KINDS, LinearModel
from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.model.heads.ngrams import Ints
from adapterhub.specs import TaskSpec
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.calibration import TunedHead
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.features.ngram_features import NgramFeatures, read_ids
from adapterhub.training.heads.choice_model import fit_choices
from adapterhub.training.heads.fit_inputs import FitInputs, units_of
from adapterhub.training.kinds.kind import words_in
from adapterhub.training.kinds.table import TRAINED, compute_metrics
from adapterhub.training.options import TrainingOptions

_CERTAIN = 10.0
"""Logit of a label that every training row has, and less, of one that no row has: 0.99995."""
_MOST_STEPS = 500


@dataclass(frozen=True, slots=True, eq=False)
class LinearMap:
    """Features -> logits.

    Attributes:
        weight: (F, K).
        bias: (K,).
    """

    weight: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]

    def logits(self, features: sparse.csr_matrix) -> Array:
        """Returns logits (N, K), of regression values, for features (N, F)."""
        found: Array = np.asarray(features @ self.weight + self.bias, np.float32)
        return found


def fit_linear(
    features: sparse.csr_matrix,
    truth: npt.NDArray[np.float32] | npt.NDArray[np.int64],
    model: LinearModel,
    *,
    outputs: int,
    strength: float,
    steps: int = _MOST_STEPS,
) -> LinearMap:
    """Returns logistic regression, one per label for label sets, or ridge regression for numbers.

    Args:
        features: (N, F); for tagging of words.
        truth: As `Dataset.truth` gives it; for tagging the labels of words, for choices (N, 2) the
            row of each and whether it is right.
        model: Of one label per row, of label sets, of numbers, of choices, or of leaves.
        outputs: Number K of logits.
        strength: Inverse of the L2 penalty.
        steps: Solver iterations at most.
    """
    if model == "choices":
        weight = fit_choices(features, truth.astype(np.int64), strength=strength, steps=steps)
        return LinearMap(weight[:, None], np.zeros(1))
    if model == "numbers":
        return _fit_numbers(features, truth.reshape(len(truth), outputs), strength)
    made = LinearMap(np.zeros((features.shape[1], outputs)), np.full(outputs, -_CERTAIN))
    if model == "sets":
        for label in range(outputs):
            _fit_label(made, label, features, truth[:, label] > 0, strength)
        return made
    if model == "leaves":
        # What an inner label leaves open says nothing of the leaves below it.
        own = np.flatnonzero(truth.sum(1) == 1)
        features, truth = features[own], truth[own].argmax(1)
    classes = np.unique(truth)
    if len(classes) <= 1:
        made.bias[classes] = _CERTAIN
        return made
    fitted = LogisticRegression(C=strength, max_iter=steps)
    with warnings.catch_warnings():
        # The fit is judged on held-out rows, converged or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(features, truth)
    if len(classes) == 2:  # scikit-learn fits one column for both
        made.bias[classes[0]] = 0.0
        classes = classes[1:]
    made.weight[:, classes], made.bias[classes] = fitted.coef_.T, fitted.intercept_
    return made


def _fit_numbers(
    features: sparse.csr_matrix, truth: npt.NDArray[Any], strength: float
) -> LinearMap:
    """Returns a ridge regression of each column of `truth` (N, K), on the rows that have it."""
    weights, biases = [], []
    for values in truth.T:
        own = np.flatnonzero(~np.isnan(values))
        if not len(own):
            weights.append(np.zeros(features.shape[1]))
            biases.append(0.0)
            continue
        whole = len(own) == len(values)
        ridge = Ridge(alpha=1 / strength)
        ridge.fit(features if whole else features[own], values[own])
        weights.append(ridge.coef_)
        biases.append(float(ridge.intercept_))
    return LinearMap(np.stack(weights, axis=1), np.array(biases))


def _fit_label(
    made: LinearMap,
    label: int,
    features: sparse.csr_matrix,
    own: npt.NDArray[np.bool_],
    strength: float,
) -> None:
    if own.all() or not own.any():
        made.bias[label] = _CERTAIN if own.all() else -_CERTAIN
        return
    model = LogisticRegression(C=strength, max_iter=_MOST_STEPS, solver="liblinear")
    model.fit(features, own)
    made.weight[:, label], made.bias[label] = model.coef_[0], model.intercept_[0]


@dataclass(frozen=True, slots=True, eq=False)
class _Inputs:
    """Sparse n-gram features of N rows or choices, or for tagging of the tokens of all rows.

    Attributes:
        known: The n-grams with weights, and how they become features.
        train: (N, F) features of the training rows.
        validation: The same of the validation rows.
        train_items: Rows of `train` that have a target; for tagging the first tokens of words.
        validation_items: The same of `validation`.
        folds: Fold of each row of features in cross-validation, else empty.
        of_folds: Per fold the features of all rows, by the n-grams, rarities and overlaps of the
            rows of the other folds; empty where rows are held out.
        lengths: Tokens of each validation row, for tagging; its choices where it has some.
    """

    known: NgramFeatures
    train: sparse.csr_matrix
    validation: sparse.csr_matrix
    train_items: Ints
    validation_items: Ints
    folds: Ints
    of_folds: tuple[sparse.csr_matrix, ...]
    lengths: list[int]

    @classmethod
    def read(
        cls, fit_inputs: FitInputs, source: FeatureSource, options: TrainingOptions, outputs: int
    ) -> _Inputs | None:
        """Returns the features, or None where no n-gram is in enough rows."""
        splits, reading = fit_inputs.splits, fit_inputs.reading
        per_token, of_choices = KINDS[splits.train.kind].per_token, splits.train.has_choices

        def ids_of(dataset: Dataset) -> list[list[list[int]]]:
            return read_ids(dataset.items, reading, source.tokenizer, options.max_windows)

        def items_of(dataset: Dataset, lengths: list[int]) -> Ints:
            if not per_token:
                return np.arange(len(dataset.items))
            units = words_in(units_of(dataset, reading, options, source))
            starts = np.cumsum([0, *lengths[:-1]])
            words = (
                start + word.token for start, row in zip(starts, units, strict=True) for word in row
            )
            return np.fromiter(words, np.int64)

        ids = ids_of(splits.train)
        known = NgramFeatures.choose(ids, outputs, per_token=per_token)
        if known is None:
            return None
        lengths = list(map(len, ids[0]))
        train, train_items = known.of(ids), items_of(splits.train, lengths)
        folds = np.array(splits.folds, np.int64)
        of_rows = folds.tolist()
        if len(folds) and of_choices:
            folds = np.repeat(folds, choice_counts(splits.train.inputs))
            of_rows = folds.tolist()
        if len(folds) and per_token:
            folds = np.repeat(folds, lengths)
        validation, items = train, train_items
        of_folds = fold_features(ids, of_rows, outputs, per_token=per_token)
        if not splits.folds:
            ids = ids_of(splits.validation)
            lengths = list(map(len, ids[0]))
            validation, items = known.of(ids), items_of(splits.validation, lengths)
        lengths = lengths if per_token else []
        lengths = choice_counts(splits.validation.inputs) if of_choices else lengths
        return cls(known, train, validation, train_items, items, folds, of_folds, lengths)

    def item_logits(self, logits: RowLogits) -> Array:
        """Returns the logits of validation rows, or of their words: (M, K)."""
        if not isinstance(logits.values, tuple):
            return logits.values
        items: Array = np.concatenate(logits.values)[self.validation_items]
        return items

    def add(self, logits: RowLogits, share: float, added: Array) -> RowLogits:
        """Returns `share` times the logits of the validation rows plus `added`."""
        if not isinstance(logits.values, tuple):
            return RowLogits((share * logits.values + added).astype(np.float32))
        parts = np.split(added, np.cumsum(self.lengths)[:-1])
        joined = (share * row + part for row, part in zip(logits.values, parts, strict=True))
        return replace(logits, values=tuple(row.astype(np.float32) for row in joined))


def fold_features(
    ids: Sequence[Sequence[list[int]]], folds: Sequence[int], outputs: int, *, per_token: bool
) -> tuple[sparse.csr_matrix, ...]:
    """Returns the features of all rows for each fold, chosen by the rows of the other folds."""
    of_folds = []
    for fold in sorted(set(folds)):
        others = [
            [row for row, of in zip(field, folds, strict=True) if of != fold] for field in ids
        ]
        known = NgramFeatures.choose(others, outputs, per_token=per_token)
        count = sum(map(len, ids[0])) if per_token else len(folds)
        # Where no n-gram is in enough of these rows, one feature that is zero in all.
        of_folds.append(sparse.csr_matrix((count, 1)) if known is None else known.of(ids))
    return tuple(of_folds)


Tensors = Mapping[str, torch.Tensor]

_SHARES = (0.25, 0.5, 0.75)
"""Candidate weights of the n-grams in the sum with the head's own output."""


def fit_ngrams(
    head: TunedHead, *, fit_inputs: FitInputs, source: FeatureSource, options: TrainingOptions
) -> TunedHead | None:
    """Returns a head with n-gram weights added, or None where they gain too little.

    Args:
        head: Not calibrated yet.
        fit_inputs: Rows, targets and metric.
        source: Gives the tokens.
        options: Give the windows, and the tolerance that has to be exceeded.
    """
    spec, logits = head.spec, head.logits
    inputs = _Inputs.read(fit_inputs, source, options, spec.outputs)
    if inputs is None:
        return None
    fits = [_fit(inputs, fit_inputs, one) for one in TRAINED[spec.kind].ngram_strengths]
    best = max(fits, key=lambda one: _value(spec, inputs.add(logits, 0.0, one.logits), fit_inputs))
    kind = TRAINED[spec.kind]
    truth = kind.item_truth(fit_inputs.splits.validation, fit_inputs.truth.numpy())
    own = kind.scale(inputs.item_logits(logits), truth)
    other = kind.scale(best.logits[inputs.validation_items], truth)
    sums = [inputs.add(logits, (1 - part) * own, part * other * best.logits) for part in _SHARES]
    before, *values = (_value(spec, one, fit_inputs) for one in (logits, *sums))
    after = max(values)
    if after - before <= options.tolerance / 100:
        return None
    chosen = values.index(after)
    part, overlap = _SHARES[chosen], inputs.known.overlap
    count = len(inputs.known.keys)
    measure = fit_inputs.metric if spec.per_token else fit_inputs.measure
    sizes = {"ngrams": count, "pieces": None if overlap is None else len(overlap.rarity)}
    note = (
        f"{count:,} n-grams of word pieces were added to the head, at no extra pass: "
        f"{measure} {figure_text(after)} instead of {figure_text(before)}."
    )
    return replace(
        head,
        spec=spec.model_copy(update={"head": spec.head.model_copy(update=sizes)}),
        tensors=_add_tensors(head.tensors, (1 - part) * own, inputs.known, best.map, part * other),
        logits=sums[chosen],
        notes=(*head.notes, note),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    map: LinearMap
    logits: Array


def _fit(inputs: _Inputs, fit_inputs: FitInputs, strength: float) -> _Fit:
    """Returns the map fitted on all training rows, and logits of rows that were held out."""
    train, outputs = fit_inputs.splits.train, fit_inputs.problem.objective.outputs
    targets = fit_inputs.problem.objective.targets  # of regression standardised
    truth = targets.cpu().numpy() if inputs.known.per_token else train.truth()
    truth = TRAINED[train.kind].item_truth(train, truth)
    model, steps = KINDS[train.kind].linear, TRAINED[train.kind].ngram_steps
    assert model is not None

    def fit(features: sparse.csr_matrix, own: Ints) -> LinearMap:
        return fit_linear(
            features[inputs.train_items[own]],
            truth[own],
            model,
            outputs=outputs,
            strength=strength,
            steps=steps,
        )

    whole = fit(inputs.train, np.arange(len(truth)))
    if not len(inputs.folds):
        return _Fit(whole, whole.logits(inputs.validation))
    logits = np.zeros((inputs.train.shape[0], outputs), np.float32)
    for fold, features in zip(np.unique(inputs.folds), inputs.of_folds, strict=True):
        own = np.flatnonzero(inputs.folds == fold)
        others = np.flatnonzero(inputs.folds[inputs.train_items] != fold)
        logits[own] = fit(features, others).logits(features[own])
    return _Fit(whole, logits)


def _add_tensors(
    tensors: Tensors, share: float, known: NgramFeatures, fitted: LinearMap, factor: float
) -> Tensors:
    """Returns the tensors of `share` times a head plus `factor` times the n-gram map."""
    count, scaled = len(known.keys), fitted.weight * factor
    weight, bias = scaled[:count] * known.rarity[:, None], fitted.bias * factor
    added = {
        "ngrams.keys": torch.from_numpy(known.keys),
        "ngrams.weight": torch.from_numpy(weight).to(torch.float16),
    }
    if known.overlap is not None:
        of_overlap = scaled[count:] / known.overlap.deviation[:, None]
        bias = bias - known.overlap.mean @ of_overlap
        added["ngrams.rarity"] = torch.from_numpy(known.overlap.rarity).to(torch.float16)
        added["ngrams.overlap"] = torch.from_numpy(of_overlap).float()
    return {
        **tensors,
        **added,
        "head.weight": tensors["head.weight"] * share,
        "head.bias": tensors["head.bias"] * share + torch.from_numpy(bias).float(),
    }


def _value(spec: TaskSpec, logits: RowLogits, fit_inputs: FitInputs) -> float:
    """Returns the metric of validation logits; tags are decoded as in scoring."""
    if spec.per_token:
        figures = compute_metrics(spec, logits, fit_inputs.splits.validation)
        return next(figure.value for figure in figures if figure.name == fit_inputs.metric)
    stacked = torch.from_numpy(logits.matrix[None])
    return float(fit_inputs.problem.judge(stacked.to(fit_inputs.problem.device))[0])
