"""Fits the wide part of a head: weights of n-grams, and how much they say beside the encoder.

The n-grams are fitted on their own; then the raw outputs of both are joined in the proportion
that is best on the validation rows. Where that wins too little, they are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

from adapterhub.model.heads import Array, RowLogits
from adapterhub.specs import TaskSpec
from adapterhub.training.calibration import calibrate
from adapterhub.training.data import Dataset
from adapterhub.training.encoding import Source
from adapterhub.training.gram_features import GramFeatures, read_ids
from adapterhub.training.linear import LinearMap, fit_linear
from adapterhub.training.material import Material
from adapterhub.training.options import TrainingOptions

Tensors = Mapping[str, torch.Tensor]

_STRENGTHS = (0.03, 0.15, 0.75, 4.0)
"""Inverse strengths of the regularisation that are tried."""
_SHARES = (0.25, 0.5, 0.75)
"""Shares of the joined output that n-grams may have."""


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
    logits: Array,
    *,
    material: Material,
    source: Source,
    options: TrainingOptions,
) -> Wide | None:
    """Returns the head with n-grams, or None where they win no more than the tolerance.

    Args:
        spec: A task that answers for whole texts; not calibrated yet.
        tensors: Its tensors.
        logits: Its raw outputs for the validation rows, (N, K).
        material: The rows and what judges.
        source: Gives the tokens.
        options: Give windows and tolerance.
    """
    grams = _Grams.read(material, source, options.max_windows, spec.outputs)
    if grams is None:
        return None
    held_out = material.splits.validation
    tried = [_fit(grams, material, strength) for strength in _STRENGTHS]
    best = tried[int(_values([one.logits for one in tried], material).argmax())]
    own, other = (_scale(spec, found, held_out) for found in (logits, best.logits))
    joined = [(1 - part) * own * logits + part * other * best.logits for part in _SHARES]
    plain, *values = _values([logits, *joined], material).tolist()
    value = max(values)
    if value - plain <= options.tolerance / 100:
        return None
    part = _SHARES[values.index(value)]
    known = grams.known
    count, shares = len(known.keys), known.shares
    sizes = {"ngrams": count, "pieces": None if shares is None else len(shares.rarity)}
    note = (
        f"{count:,} n-grams of pieces beside it: {material.metric} {value:.4f} instead of "
        f"{plain:.4f}, at no pass more."
    )
    return Wide(
        spec=spec.model_copy(update={"head": spec.head.model_copy(update=sizes)}),
        tensors=_joined(tensors, (1 - part) * own, known, best.map.scaled(part * other)),
        logits=RowLogits(joined[values.index(value)].astype(np.float32)),
        note=note,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Grams:
    """N-grams of the rows.

    Attributes:
        known: Those of the training rows, and how they become features.
        train: (N, F) features of the training rows.
        validation: The same of the validation rows.
    """

    known: GramFeatures
    train: sparse.csr_matrix
    validation: sparse.csr_matrix

    @classmethod
    def read(
        cls, material: Material, source: Source, max_windows: int, outputs: int
    ) -> _Grams | None:
        """Returns them, or None where no n-gram is in enough rows."""

        def ids_of(dataset: Dataset) -> list[list[list[int]]]:
            return read_ids(dataset.inputs, material.reading, source.tokenizer, max_windows)

        splits = material.splits
        ids = ids_of(splits.train)
        known = GramFeatures.choose(ids, outputs)
        if known is None:
            return None
        train = known.of(ids)
        held_out = train if splits.folds else known.of(ids_of(splits.validation))
        return cls(known, train, held_out)


@dataclass(frozen=True, slots=True, eq=False)
class _Tried:
    map: LinearMap
    logits: Array


def _fit(grams: _Grams, material: Material, strength: float) -> _Tried:
    """Returns the map fitted on all training rows, and what rows not fitted on get."""
    train, folds = material.splits.train, np.array(material.splits.folds)
    truth, outputs = train.truth(), material.problem.objective.outputs

    def fit(rows: npt.NDArray[np.int64]) -> LinearMap:
        return fit_linear(
            grams.train[rows], truth[rows], train.kind, outputs=outputs, strength=strength
        )

    whole = fit(np.arange(len(truth)))
    if not len(folds):
        return _Tried(whole, whole.logits(grams.validation))
    logits = np.zeros((len(truth), outputs), np.float32)
    for fold in np.unique(folds):
        own = np.flatnonzero(folds == fold)
        logits[own] = fit(np.flatnonzero(folds != fold)).logits(grams.train[own])
    return _Tried(whole, logits)


def _joined(tensors: Tensors, share: float, known: GramFeatures, scaled: LinearMap) -> Tensors:
    """Returns the tensors of a head, its outputs times `share`, with n-grams added."""
    weight, bias = scaled.weight[: len(known.keys)] * known.rarity[:, None], scaled.bias
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


def _values(logits: Sequence[Array], material: Material) -> torch.Tensor:
    stacked = torch.from_numpy(np.stack(logits).astype(np.float32))
    return material.problem.judge(stacked.to(material.problem.device)).cpu()


def _scale(spec: TaskSpec, logits: Array, dataset: Dataset) -> float:
    """Returns what logits are multiplied with so that those of two heads mean the same."""
    return 1 / calibrate(spec.kind, logits, dataset.truth()).temperature
