"""Exact search: as a sort of all similarities, for any number of queries, with stable ties."""

from __future__ import annotations

import numpy as np
import pytest

from adapterhub.retrieval import exact
from adapterhub.retrieval.exact import rank_all


def unit(count: int, *, seed: int = 0, width: int = 24) -> np.ndarray:
    made = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def sorted_all(vectors: np.ndarray, query: np.ndarray, without: int | None = None) -> list[int]:
    own = (vectors.astype(np.float64) * query).sum(axis=1).astype(np.float32)
    return [place for place in np.argsort(-own, kind="stable").tolist() if place != without]


@pytest.mark.parametrize("top_k", [1, 7, 200])
@pytest.mark.parametrize("block", [None, 250])
def test_the_nearest_are_those_of_a_sort(
    top_k: int, block: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if block is not None:
        monkeypatch.setattr(exact, "_BLOCK", block)
    vectors, queries = unit(100), unit(5, seed=1)
    # Two of each, so that there are ties everywhere.
    vectors = np.concatenate([vectors, vectors[::-1]])
    for query, (places, scores) in zip(queries, rank_all(vectors, queries, top_k), strict=True):
        assert places.tolist() == sorted_all(vectors, query)[:top_k]
        np.testing.assert_allclose(scores, vectors[places] @ query, atol=1e-6)
        assert scores.dtype == np.float32


def test_a_text_is_left_out_of_its_own_neighbours() -> None:
    vectors = unit(9)
    own = np.array([4, 8])
    for place, (found, _) in zip(
        own, rank_all(vectors, vectors[own], 99, without=own), strict=True
    ):
        assert found.tolist() == sorted_all(vectors, vectors[place], without=int(place))


def test_thousands_of_equal_texts_come_in_order_behind_a_nearer_one() -> None:
    first = unit(1)
    vectors = np.concatenate([np.repeat(unit(1, seed=3), 9_000, axis=0), first])
    ((places, scores),) = rank_all(vectors, first, 4)
    assert places.tolist() == [9_000, 0, 1, 2]
    assert scores[0] == pytest.approx(1)
    assert len(set(scores[1:].tolist())) == 1


def test_a_similarity_does_not_depend_on_the_other_queries() -> None:
    vectors, queries = unit(333), unit(40, seed=2)
    together = [scores.tolist() for _, scores in rank_all(vectors, queries, 5)]
    alone = [next(rank_all(vectors, query[None], 5))[1].tolist() for query in queries]
    assert together == alone


def test_no_texts_and_no_queries() -> None:
    assert list(rank_all(unit(3), unit(0), 5)) == []
    ((places, scores),) = rank_all(unit(1), unit(1), 5, without=np.array([0]))
    assert (len(places), len(scores)) == (0, 0)
