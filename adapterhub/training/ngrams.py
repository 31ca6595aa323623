"""Fits the wide part of a head: weights of n-grams, and how much they say beside the encoder.

The n-grams are fitted on their own; then the raw outputs of both are joined in the proportion
that is best on the validation rows. Where that wins too little, they are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from adapterhub.model.heads import Array, RowLogits
from adapterhub.model.ngrams import Ints
from adapterhub.specs import TaskSpec
from adapterhub.training.calibration import calibrate
from adapterhub.training.encoding import Source
from adapterhub.training.gram_features import GramFeatures
from adapterhub.training.gram_items import Items
from adapterhub.training.linear import LinearMap, fit_linear
from adapterhub.training.material import Material
from adapterhub.training.measure import measured
from adapterhub.training.options import TrainingOptions

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
    source: Source,
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
