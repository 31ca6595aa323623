"""The best tree: found, with one word at the root, whatever the scores are."""

from __future__ import annotations

import itertools

import networkx
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adapterhub.model.heads.trees import best_heads, is_tree

Scores = npt.NDArray[np.float32]


def total(scores: Scores, heads: npt.NDArray[np.int64]) -> float:
    return float(scores[np.arange(len(heads)), heads].sum(dtype=np.float64))


def drawn(words: int, seed: int, *, decimals: int = 6) -> Scores:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(words, words + 1)).round(decimals).astype(np.float32)


def is_walked(heads: npt.NDArray[np.int64]) -> bool:
    """Returns whether every word arrives at the root, and one of them in one step."""
    for word in range(1, len(heads) + 1):
        steps = 0
        while word and steps <= len(heads):
            word, steps = int(heads[word - 1]), steps + 1
        if word:
            return False
    return list(heads).count(0) == min(1, len(heads))


@pytest.mark.parametrize("words", [0, 1, 2, 3, 4])
def test_no_tree_is_better(words: int) -> None:
    every = [np.array(one) for one in itertools.product(range(words + 1), repeat=words)]
    trees = [heads.astype(np.int64) for heads in every if is_walked(heads)]
    assert len(trees) == max(1, words) ** (words - 1) if words else 1  # Cayley, with a root
    for seed in range(20):
        scores = drawn(words, seed, decimals=seed % 2)  # rounded ones have ties
        best = max(total(scores, heads) for heads in trees)
        assert total(scores, best_heads(scores)) == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize(("words", "seed"), [(9, 0), (9, 1), (14, 2)])
def test_larger_trees_are_those_of_networkx(words: int, seed: int) -> None:
    scores = drawn(words, seed)
    graph = networkx.DiGraph()
    for word, head in itertools.product(range(1, words + 1), range(words + 1)):
        if word != head:
            # Dear enough that one word is at the root.
            weight = float(scores[word - 1, head]) - 1e3 * (head == 0)
            graph.add_edge(head, word, weight=weight)
    tree = networkx.maximum_spanning_arborescence(graph)
    expected = [head for _, head in sorted((word, head) for head, word in tree.edges)]
    assert best_heads(scores).tolist() == expected


def test_a_second_word_at_the_root_never_pays() -> None:
    scores = np.full((4, 5), -50.0, np.float32)
    scores[:, 0] = 0  # each word by itself would be the root
    scores[2, 0] = 1
    heads = best_heads(scores)
    assert heads[2] == 0
    assert is_walked(heads)


SIZES = st.integers(0, 12)
WIDE = st.floats(-(2.0**100), 2.0**100, width=32)


@given(SIZES.flatmap(lambda n: arrays(np.float32, (n, n + 1), elements=WIDE)))
@pytest.mark.slow
def test_every_answer_is_a_tree_with_one_root(scores: Scores) -> None:
    heads = best_heads(scores)
    assert is_walked(heads)
    assert is_tree(heads)


@given(st.lists(st.integers(0, 6), min_size=6, max_size=6))
@pytest.mark.slow
def test_a_tree_is_told_from_what_is_none(heads: list[int]) -> None:
    assert is_tree(np.array(heads)) == is_walked(np.array(heads, np.int64))


def test_a_long_text_takes_no_cubic_time_or_memory() -> None:
    heads = best_heads(drawn(400, 0))  # networkx needs 15 s for 200 words
    assert is_tree(heads)
