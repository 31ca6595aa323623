"""Metrics of vectors: recall of what is found, and rank correlation with scores of pairs."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from adapterhub.errors import UsageError, check_type
from adapterhub.model.heads.heads import Array
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.data.kinds.embedding import SAME
from adapterhub.training.evaluation.extra import load_package

_SMALLEST_NORM = 1e-12
_QUERIES_AT_ONCE = 512
TIE = 1e-6
"""What a partner must be nearer than another text to be found before it, over the rounding of a
cosine: of vectors that are all equal none is found."""


def recall_at_k(
    found: Sequence[Sequence[Hashable]], relevant: Sequence[Collection[Hashable]], *, k: int
) -> float:
    """Returns the mean over queries of the share of relevant texts among the first k found.

    With one relevant text per query it is the share of queries that find it (hit rate).

    Args:
        found: By query what was found, best first, such as `Neighbours.rows`.
        relevant: By query what is relevant, one at least.
        k: How many of those found are looked at.

    Raises:
        UsageError: The queries differ in number, there are none, one has nothing relevant, or k is
            not valid.
    """
    check_type(k, int, "k", "a whole number")
    if k < 1:
        raise UsageError(f"k is {k}; expected 1 or more.")
    if len(found) != len(relevant) or not len(found):
        raise UsageError(
            f"There are results of {len(found)} queries, and relevant texts of {len(relevant)}; "
            f"expected as many, and one at least."
        )
    shares = []
    for number, (own, wanted) in enumerate(zip(found, relevant, strict=True)):
        different = set(wanted)
        if not different:
            raise UsageError(f"Query {number} has no relevant text, so that it has no recall.")
        shares.append(len(different.intersection(own[:k])) / len(different))
    return float(np.mean(shares))


def partner_recalls(
    first: Array, second: Array, dataset: Dataset, ks: Sequence[int]
) -> dict[int, float]:
    """Returns how often texts find their partners among all texts, by the number that is looked at.

    It is `recall_at_k` of all texts with a partner, each among all other texts; equal texts are
    one. Where no text has another one as its partner, it is 0.

    Args:
        first: (N, K) unit vectors of the first texts.
        second: (N, K) of the second ones.
        dataset: The pairs.
        ks: How many texts are looked at.
    """
    places: dict[str, int] = {}
    vectors: list[Array] = []
    partners: dict[int, set[int]] = {}
    for row, (texts, target) in enumerate(zip(dataset.inputs, dataset.targets, strict=True)):
        for text, own in zip(texts, (first, second), strict=True):
            if places.setdefault(text, len(places)) == len(vectors):
                vectors.append(own[row])
        left, right = (places[text] for text in texts)
        if target == SAME and left != right:
            partners.setdefault(left, set()).add(right)
            partners.setdefault(right, set()).add(left)
    if not partners:
        return dict.fromkeys(ks, 0.0)
    found = _nearest(np.stack(vectors), partners, max(ks))
    relevant = list(partners.values())
    return {k: recall_at_k(found, relevant, k=k) for k in ks}


def _nearest(
    vectors: Array, partners: Mapping[int, Collection[int]], count: int
) -> list[list[int]]:
    """Returns the places of the nearest other vectors of those with partners, best first."""
    found: list[list[int]] = []
    queries = list(partners)
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        own = queries[start : start + _QUERIES_AT_ONCE]
        similar = vectors[own] @ vectors.T
        for row, query in enumerate(own):
            similar[row, list(partners[query])] -= TIE
            similar[row, query] = -np.inf
        best = np.argsort(-similar, axis=1, kind="stable")[:, : min(count, len(vectors) - 1)]
        found += best.tolist()
    return found


def cosine_spearman(left: npt.ArrayLike, right: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Returns Spearman's correlation of cosine similarities of pairs with their scores.

    Ties have their mean rank; where all similarities or all scores are equal, it is 0.

    Args:
        left: (N, D), a vector of the first text of each pair; not normalised or normalised.
        right: (N, D), of the second.
        scores: (N,), how similar the two are said to be.

    Raises:
        UsageError: The shapes do not fit each other, there are fewer than two pairs, or a value is
            not finite.
        MissingExtraError: SciPy is not installed.
    """
    try:
        first, second, truth = (np.asarray(one, np.float64) for one in (left, right, scores))
    except (TypeError, ValueError) as error:
        raise UsageError(f"Vectors and scores are tables of numbers: {error}.") from error
    if first.ndim != 2 or first.shape != second.shape or truth.shape != first.shape[:1]:
        raise UsageError(
            f"The vectors have the shapes {first.shape} and {second.shape}, the scores "
            f"{truth.shape}; expected (N, D), (N, D) and (N,)."
        )
    if len(truth) < 2:
        raise UsageError(f"There are {len(truth)} pairs; a correlation needs two at least.")
    similar = (_unit(first) * _unit(second)).sum(axis=1)
    if not (np.isfinite(similar).all() and np.isfinite(truth).all()):
        raise UsageError("A vector or a score is NaN or infinite.")
    if np.ptp(similar) == 0 or np.ptp(truth) == 0:
        return 0.0
    return float(load_package("scipy").spearmanr(similar, truth).statistic)


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: npt.NDArray[np.float64] = vectors / np.maximum(norms, _SMALLEST_NORM)
    return found
