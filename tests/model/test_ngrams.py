"""N-grams of token ids and their weights, beside a dictionary that does the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from adapterhub.model.ngrams import GramWeights, grams_of, known_grams

ROWS = st.lists(st.lists(st.integers(0, 6), max_size=9), min_size=1, max_size=5)


def key_of(pieces):
    return sum((piece + 1) << (20 * place) for place, piece in enumerate(pieces))


def grams_in(row):
    return [
        key_of(row[start : start + size])
        for size in (1, 2, 3)
        for start in range(len(row) - size + 1)
    ]


@given(ROWS)
def test_all_ngrams_of_each_row_and_of_no_two_rows(rows):
    grams = grams_of(rows)
    assert grams.count == len(rows)
    assert (np.diff(grams.keys) > 0).all()
    for row, ids in enumerate(rows):
        found = grams.keys[grams.places[grams.rows == row]]
        assert Counter(found.tolist()) == Counter(grams_in(ids))


@given(ROWS, st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=3), min_size=1, max_size=8))
def test_weights_are_added_up_per_row(rows, known):
    keys = np.array(sorted({key_of(pieces) for pieces in known}))
    weight = torch.randn(len(keys), 3, generator=torch.Generator().manual_seed(0))
    logits = GramWeights(keys, weight).logits(grams_of(rows))
    place = {key: number for number, key in enumerate(keys.tolist())}
    for row, ids in enumerate(rows):
        hits = [place[key] for key in grams_in(ids) if key in place]
        expected = weight[hits].sum(0) / max(1, len(hits)) ** 0.5
        np.testing.assert_allclose(logits[row], expected.numpy(), atol=1e-5)


def test_neighbours_do_not_change_what_a_row_gets():
    rows = [[3, 1, 4, 1, 5], [], [9, 2, 6], [5]]
    keys = np.unique(grams_of(rows).keys)[::2]
    weights = GramWeights(keys, torch.randn(len(keys), 2))
    together = weights.logits(grams_of(rows))
    alone = np.concatenate([weights.logits(grams_of([row])) for row in rows])
    np.testing.assert_array_equal(together, alone)
    assert not together[1].any()


def test_a_text_that_is_longer_is_not_surer_by_its_length():
    known = known_grams(grams_of([[1] * 4, [1] * 16]), np.array([key_of([1])]))
    assert known.scale.tolist() == [0.5, 0.25]
