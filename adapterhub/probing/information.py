"""Usable information in bits: what a probe knows of a label beyond the label's frequencies.

H_V(Y) is the mean -log2 probability that the best constant predictor gives the labels, H_V(Y|X)
that of the best predictor of a family V which reads the states X, and I_V(X -> Y) = H_V(Y) -
H_V(Y|X) (Xu et al. 2020, arXiv:2002.10689). The V coefficient is I_V / H_V(Y). Where V is the block
of the encoder itself, that is the architectural bottleneck (Pimentel et al. 2022,
arXiv:2211.06420). The two are estimated on rows that fitted and chose nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Information:
    """Usable information of some predictions.

    Attributes:
        items: Number of predictions.
        entropy: H_V(Y), in bits per prediction.
        cross_entropy: H_V(Y|X), in bits per prediction.
        bits: Their difference.
        standard_error: Of `bits`, over what was drawn; None for fewer than two of it.
        coefficient: `bits` / `entropy`; None where the entropy is 0.
    """

    items: int
    entropy: float
    cross_entropy: float
    bits: float
    standard_error: float | None
    coefficient: float | None


def constant_predictor(labels: Indices, count: int) -> Floats:
    """Returns log2 probabilities (K,) of the constant predictor, fitted on labels.

    Half an item is added to each of the `count` labels (Krichevsky and Trofimov 1981), so that one
    that the training rows do not have costs a finite number of bits.
    """
    found = np.bincount(labels, minlength=count) + 0.5
    logs: Floats = np.log2(found / found.sum())
    return logs


def v_information(constant: Floats, probe: Floats, drawn: Indices) -> Information:
    """Returns the information of M predictions, at least one.

    Args:
        constant: (M,) -log2 probability of the right label, by the constant predictor.
        probe: (M,) the same by the probe.
        drawn: (M,) what each prediction was drawn with, and is not independent of: its text, or,
            where labels are random by type, its type.
    """
    items = len(constant)
    entropy, cross_entropy = float(constant.mean()), float(probe.mean())
    gains = constant - probe
    bits = float(gains.mean())
    _, places = np.unique(drawn, return_inverse=True)
    # Linearisation of the ratio of two sums over what was drawn: bits, and predictions.
    rest = np.bincount(places, weights=gains - bits)
    clusters = len(rest)
    error = None
    if clusters > 1:
        error = float(np.sqrt(clusters / (clusters - 1) * np.square(rest).sum()) / items)
    coefficient = bits / entropy if entropy > 0 else None
    return Information(items, entropy, cross_entropy, bits, error, coefficient)
