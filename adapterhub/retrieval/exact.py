"""Cosine similarity of each query with every text, by matrix products."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from adapterhub.errors import InputError

Array = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Ranked = tuple[Places, Array]
"""Places of texts and their similarities in fp32, the most similar first."""

_BLOCK = 2**25
"""Similarities that are held at once, 128 MB."""
# Above what rounding can make of the product of two unit vectors in fp32.
_SLACK = 1e-5
_MOST_TIED = 4_096


def rank_all(
    vectors: Array, queries: Array, top_k: int, *, without: Places | None = None
) -> Iterator[Ranked]:
    """Yields the most similar texts of each query; ties go to the text that comes first.

    Args:
        vectors: (N, D) fp32 unit vectors of the texts.
        queries: (Q, D) fp32 unit vectors.
        top_k: Their number at most.
        without: (Q,) the text that is left out for each query; None for none.
    """
    count = len(vectors)
    step = max(1, _BLOCK // max(count, 1))
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        found = block @ vectors.T
        if without is not None:
            found[np.arange(len(block)), without[start : start + step]] = -np.inf
        wanted = min(top_k, count - (without is not None))
        for query, similar in zip(block, found, strict=True):
            yield rank_some(vectors, query, _likely(similar, wanted), wanted)


def rank_some(vectors: Array, query: Array, places: Places, top_k: int) -> Ranked:
    """Returns the most similar of some texts.

    Computed for each text by itself, so that equal texts have equal similarities, and a text the
    same one however many queries a call has.

    Args:
        vectors: (N, D) unit vectors of all texts.
        query: (D,).
        places: Those to compare, ascending.
        top_k: Their number at most.
    """
    own = vectors[places].astype(np.float64)
    similar = (own * query.astype(np.float64)).sum(axis=1).clip(-1, 1).astype(np.float32)
    best = np.lexsort((places, -similar))[:top_k]
    return places[best], similar[best]


def unit_vectors(vectors: object, *, size: int) -> Array:
    """Returns vectors of a caller with length 1: (Q, D) fp32.

    Args:
        vectors: (Q, D) numbers.
        size: The number D that is wanted.

    Raises:
        InputError: They are not (Q, D) finite numbers, or one is zero.
    """
    try:
        found = np.asarray(vectors, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"Vectors are no rows of numbers of one length: {error}.") from error
    if found.ndim != 2 or found.shape[1] != size:
        raise InputError(
            f"Vectors have the shape {found.shape}; expected rows of {size} numbers, as many as "
            f"those of the index have."
        )
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        bad = int(np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))[0])
        raise InputError(f"Vector {bad} has no direction: it is zero, or has NaN or infinity.")
    unit: Array = (found / lengths).astype(np.float32)
    return unit


def _likely(similar: Array, wanted: int) -> Places:
    """Returns the places, ascending, among which the `wanted` most similar texts are."""
    if wanted <= 0:
        return np.zeros(0, np.int64)
    last = np.partition(similar, len(similar) - wanted)[len(similar) - wanted]
    found = np.flatnonzero(similar >= last - _SLACK)
    most = max(_MOST_TIED, 2 * wanted)
    if len(found) <= most:
        return found
    # Thousands of equal texts: those that are surely more similar, then the first ones.
    surely = similar[found] > last + _SLACK
    rest = found[~surely][: most - int(surely.sum())]
    return np.sort(np.concatenate([found[surely], rest]))
