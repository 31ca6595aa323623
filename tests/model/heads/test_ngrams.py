"""N-grams of token ids and their weights, beside a dictionary that does the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adapterhub.model.heads.ngrams import pieces_of, row_grams, sides_of, token_grams
from adapterhub.model.heads.wide_head import GramWeights, known_grams, lexical_overlap, piece_rarity
from adapterhub.model.tokenizers.tokenizer_checks import ID_BITS

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
    grams = row_grams([rows])
    assert grams.count == len(rows)
    assert (np.diff(grams.keys) > 0).all()
    for row, ids in enumerate(rows):
        found = grams.keys[grams.places[grams.rows == row]]
        assert Counter(found.tolist()) == Counter(grams_in(ids))


@given(ROWS, st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=3), min_size=1, max_size=8))
@pytest.mark.slow
def test_weights_are_added_up_per_row(rows, known):
    keys = np.array(sorted({key_of(pieces) for pieces in known}))
    weight = torch.randn(len(keys), 3, generator=torch.Generator().manual_seed(0))
    logits = GramWeights(keys, weight).logits(row_grams([rows]))
    place = {key: number for number, key in enumerate(keys.tolist())}
    for row, ids in enumerate(rows):
        hits = [place[key] for key in grams_in(ids) if key in place]
        expected = weight[hits].sum(0) / max(1, len(hits)) ** 0.5
        np.testing.assert_allclose(logits[row], expected.numpy(), atol=1e-5)


def test_neighbours_do_not_change_what_a_row_gets():
    rows = [[3, 1, 4, 1, 5], [], [9, 2, 6], [5]]
    keys = np.unique(row_grams([rows]).keys)[::2]
    weights = GramWeights(keys, torch.randn(len(keys), 2))
    together = weights.logits(row_grams([rows]))
    alone = np.concatenate([weights.logits(row_grams([[row]])) for row in rows])
    np.testing.assert_array_equal(together, alone)
    assert not together[1].any()


def test_a_text_that_is_longer_is_not_surer_by_its_length():
    known = known_grams(row_grams([[[1] * 4, [1] * 16]]), np.array([key_of([1])]))
    assert known.scale.tolist() == [0.5, 0.25]


PAIRS = st.lists(st.tuples(*[st.lists(st.integers(0, 4), max_size=6)] * 2), min_size=1, max_size=5)


@given(PAIRS)
@pytest.mark.slow
def test_an_ngram_of_a_pair_is_in_the_first_text_the_second_or_both(pairs):
    grams = row_grams([list(side) for side in zip(*pairs, strict=True)])
    for row, (first, second) in enumerate(pairs):
        one, other = set(grams_in(first)), set(grams_in(second))
        expected = {key + (1 << 60) for key in one - other}
        expected |= {key + (2 << 60) for key in other - one}
        expected |= {key + (3 << 60) for key in one & other}
        found = grams.keys[grams.places[grams.rows == row]].tolist()
        assert len(found) == len(set(found))
        assert set(found) == expected


@given(PAIRS)
@pytest.mark.slow
def test_overlap_counts_by_rarity_what_two_texts_share(pairs):
    rarity = np.array([0.5, 1.0, 2.0, 4.0, 0.25])
    grams = row_grams([list(side) for side in zip(*pairs, strict=True)])
    found = lexical_overlap(grams, rarity).reshape(len(pairs), 3, 3)

    def weigh(grams):
        return sum(rarity[list(gram)].sum() for gram in grams)

    for row, texts in enumerate(pairs):
        for size in (1, 2, 3):
            one, other = (
                {tuple(ids[start : start + size]) for start in range(len(ids) - size + 1)}
                for ids in texts
            )
            both, parts = weigh(one & other), (weigh(one), weigh(other))
            expected = [both / part if part else 0.0 for part in parts]
            expected.append(2 * both / sum(parts) if sum(parts) else 0.0)
            np.testing.assert_allclose(found[row, size - 1], expected, atol=1e-12)


def test_a_piece_that_no_row_had_is_the_rarest():
    rarity = piece_rarity(row_grams([[[0, 1], [0], [0, 2, 2]], [[0], [], [1]]]), 5)
    np.testing.assert_allclose(np.exp(rarity), [4 / 4, 4 / 3, 4 / 2, 4, 4])
    strange = row_grams([[[0, 900]], [[0, 901]]])
    shared, own = rarity[[0, 4]] + 1
    assert lexical_overlap(strange, rarity + 1)[0, 0] == pytest.approx(shared / (shared + own))


@given(ROWS)
def test_a_token_has_the_ngrams_within_two_tokens_of_it(rows):
    grams = token_grams(rows)
    assert grams.count == sum(map(len, rows))
    token = 0
    for ids in rows:
        for place in range(len(ids)):
            expected = {
                key_of(ids[start : start + size]) + ((start - place + 3) << 60)
                for size in (1, 2, 3)
                for start in range(max(0, place - 2), min(len(ids), place + 3) - size + 1)
            }
            found = grams.keys[grams.places[grams.rows == token]].tolist()
            assert len(found) == len(expected)
            assert set(found) == expected
            token += 1


@pytest.mark.parametrize("highest", [250_001, 2**ID_BITS - 2])
def test_the_ids_of_a_large_vocabulary_are_kept_whole(highest):
    grams = row_grams([[[highest, 0, highest], [1]], [[highest - 1, highest], [1]]])
    first = grams.keys[grams.places[grams.rows == 0]]
    pieces = np.stack(list(pieces_of(first)), 1) - 1
    sides = dict(zip(map(tuple, pieces.tolist()), sides_of(first).tolist(), strict=True))
    assert sides == {
        (highest, -1, -1): 3,
        (0, -1, -1): 1,
        (highest, 0, -1): 1,
        (0, highest, -1): 1,
        (highest, 0, highest): 1,
        (highest - 1, -1, -1): 2,
        (highest - 1, highest, -1): 2,
    }
