"""Fits the wide part of a head: weights of n-grams, and their share beside the encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.model.heads.ngrams import Ints
from adapterhub.specs import TaskSpec
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.calibration import calibrate
from adapterhub.training.evaluation.measure import measured
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.features.ngram_features import GramFeatures, read_ids
from adapterhub.training.heads.fit_inputs import Material, units_of
from adapterhub.training.heads.linear import LinearMap, fit_linear
from adapterhub.training.options import TrainingOptions


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """What n-grams are counted for: N rows, or for tagging the tokens of all rows.

    Attributes:
        known: The n-grams of the training rows, and how they become features.
        train: (N, F) features of the training rows.
        validation: The same of the validation rows.
        fitted: Which of `train` have the answers that `material` knows: words' first tokens.
        judged: Which of `validation` have.
        folds: Of each of `train` in cross-validation, else empty.
        lengths: Tokens of each validation row, for tagging.
    """

    known: GramFeatures
    train: sparse.csr_matrix
    validation: sparse.csr_matrix
    fitted: Ints
    judged: Ints
    folds: Ints
    lengths: list[int]

    @classmethod
    def read(
        cls, material: Material, source: FeatureSource, options: TrainingOptions, outputs: int
    ) -> Items | None:
        """Returns them, or None where no n-gram is in enough rows."""
        splits, around = material.splits, material.splits.train.kind == "tagging"

        def ids_of(dataset: Dataset) -> list[list[list[int]]]:
            windows = options.max_windows
            return read_ids(dataset.inputs, material.reading, source.tokenizer, windows)

        def answering(dataset: Dataset, lengths: list[int]) -> Ints:
            if not around:
                return np.arange(len(dataset))
            units = units_of(dataset, material.reading, options, source)
            starts = np.cumsum([0, *lengths[:-1]])
            words = (
                start + word.token for start, row in zip(starts, units, strict=True) for word in row
            )
            return np.fromiter(words, np.int64)

        ids = ids_of(splits.train)
        known = GramFeatures.choose(ids, outputs, around=around)
        if known is None:
            return None
        lengths = list(map(len, ids[0]))
        train, fitted = known.of(ids), answering(splits.train, lengths)
        folds = np.array(splits.folds, np.int64)
        if len(folds) and around:
            folds = np.repeat(folds, lengths)
        held_out, judged = train, fitted
        if not splits.folds:
            ids = ids_of(splits.validation)
            lengths = list(map(len, ids[0]))
            held_out, judged = known.of(ids), answering(splits.validation, lengths)
        return cls(known, train, held_out, fitted, judged, folds, lengths if around else [])

    def answers(self, logits: RowLogits) -> Array:
        """Returns the logits that answer for validation rows, or for their words: (M, K)."""
        if not isinstance(logits.values, tuple):
            return logits.values
        answers: Array = np.concatenate(logits.values)[self.judged]
        return answers

    def join(self, logits: RowLogits, share: float, added: Array) -> RowLogits:
        """Returns `share` of the logits of the validation rows, and what is added to them."""
        if not isinstance(logits.values, tuple):
            return RowLogits((share * logits.values + added).astype(np.float32))
        parts = np.split(added, np.cumsum(self.lengths)[:-1])
        joined = (share * row + part for row, part in zip(logits.values, parts, strict=True))
        return RowLogits(tuple(row.astype(np.float32) for row in joined), logits.texts)


Tensors = Mapping[str, torch.Tensor]

_SHARES = (0.25, 0.5, 0.75)
"""Shares of the joined output that n-grams may have."""


_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class _Effort:
    """What is tried.

    Attributes:
        strengths: Inverse strengths of the regularisation.
        steps: Of each fit at most.
    """

    strengths: tuple[float, ...]
    steps: int


_FOR_TEXTS = _Effort((0.03, 0.15, 0.75, 4.0), 500)
_FOR_WORDS = _Effort((5.0, 20.0), 100)
"""Words are many, and most say the same; more steps change little."""


@dataclass(frozen=True, slots=True, eq=False)
class Wide:
    """A head with its n-grams.

    Attributes:
        spec: The task, with the number of n-grams.
        tensors: All its tensors.
        logits: Its raw outputs for the validation rows.
        note: What was won, for people.
    """

    spec: TaskSpec
    tensors: Tensors
    logits: RowLogits
    note: str


def widen(
    spec: TaskSpec,
    tensors: Tensors,
    logits: RowLogits,
    *,
    material: Material,
    source: FeatureSource,
    options: TrainingOptions,
) -> Wide | None:
    """Returns the head with n-grams, or None where they win no more than the tolerance.

    Args:
        spec: A task, not calibrated yet.
        tensors: Its tensors.
        logits: Its raw outputs for the validation rows.
        material: The rows and what judges.
        source: Gives the tokens.
        options: Give windows and tolerance.
    """
    items = Items.read(material, source, options, spec.outputs)
    if items is None:
        return None
    effort = _FOR_WORDS if spec.kind == "tagging" else _FOR_TEXTS
    tried = [_fit(items, material, strength, effort.steps) for strength in effort.strengths]
    best = max(tried, key=lambda one: _value(spec, items.join(logits, 0.0, one.logits), material))
    own = _scale(spec, items.answers(logits), material)
    other = _scale(spec, best.logits[items.judged], material)
    ways = [items.join(logits, (1 - part) * own, part * other * best.logits) for part in _SHARES]
    plain, *values = (_value(spec, way, material) for way in (logits, *ways))
    value = max(values)
    if value - plain <= options.tolerance / 100:
        return None
    chosen = values.index(value)
    part = _SHARES[chosen]
    known = items.known
    count, shares = len(known.keys), known.shares
    sizes = {"ngrams": count, "pieces": None if shares is None else len(shares.rarity)}
    note = (
        f"{count:,} n-grams of pieces beside it: {material.metric} {value:.4f} instead of "
        f"{plain:.4f}, at no pass more."
    )
    return Wide(
        spec=spec.model_copy(update={"head": spec.head.model_copy(update=sizes)}),
        tensors=_joined(
            tensors,
            (1 - part) * own,
            known,
            best.map.scaled(part * other),
        ),
        logits=ways[chosen],
        note=note,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Tried:
    map: LinearMap
    logits: Array


def _fit(items: Items, material: Material, strength: float, steps: int) -> _Tried:
    """Returns the map fitted on all training rows, and what rows not fitted on get."""
    train, outputs = material.splits.train, material.problem.objective.outputs
    targets = material.problem.objective.targets  # of regression standardised
    truth = targets.cpu().numpy() if train.kind == "tagging" else train.truth()

    def fit(own: Ints) -> LinearMap:
        return fit_linear(
            items.train[items.fitted[own]],
            truth[own],
            train.kind,
            outputs=outputs,
            strength=strength,
            steps=steps,
        )

    whole = fit(np.arange(len(truth)))
    if not len(items.folds):
        return _Tried(whole, whole.logits(items.validation))
    logits = np.zeros((items.train.shape[0], outputs), np.float32)
    for fold in np.unique(items.folds):
        own = np.flatnonzero(items.folds == fold)
        others = np.flatnonzero(items.folds[items.fitted] != fold)
        logits[own] = fit(others).logits(items.train[own])
    return _Tried(whole, logits)


def _joined(tensors: Tensors, share: float, known: GramFeatures, scaled: LinearMap) -> Tensors:
    """Returns the tensors of a head, its outputs times `share`, with n-grams added."""
    weight = scaled.weight[: len(known.keys)] * known.rarity[:, None]
    bias = scaled.bias
    joined = {
        "ngrams.keys": torch.from_numpy(known.keys),
        "ngrams.weight": torch.from_numpy(weight).to(torch.float16),
    }
    if known.shares is not None:
        of_shares = scaled.weight[len(known.keys) :] / known.shares.deviation[:, None]
        bias = bias - known.shares.mean @ of_shares
        joined["ngrams.rarity"] = torch.from_numpy(known.shares.rarity).to(torch.float16)
        joined["ngrams.overlap"] = torch.from_numpy(of_shares).float()
    return {
        **tensors,
        **joined,
        "head.weight": tensors["head.weight"] * share,
        "head.bias": tensors["head.bias"] * share + torch.from_numpy(bias).float(),
    }


def _value(spec: TaskSpec, logits: RowLogits, material: Material) -> float:
    """Returns how good the logits of the validation rows are; of tags, as they are decoded."""
    if isinstance(logits.values, tuple):
        figures = measured(spec, logits, material.splits.validation)
        return next(figure.value for figure in figures if figure.name == material.metric)
    stacked = torch.from_numpy(logits.values[None])
    return float(material.problem.judge(stacked.to(material.problem.device))[0])


def _scale(spec: TaskSpec, logits: Array, material: Material) -> float:
    """Returns what logits are multiplied with so that those of two heads mean the same."""
    if spec.kind == "regression":
        return _slope(logits[:, 0], material.truth.numpy())
    return 1 / calibrate(spec.kind, logits, material.truth.numpy()).temperature


def _slope(values: Array, truth: Array) -> float:
    """Returns the slope from values to the truth by least squares, both (M,); 1 if it is none."""
    centred = values - values.mean()
    slope = float(centred @ truth / max(centred @ centred, _SMALLEST))
    return slope if slope > 0 else 1.0
