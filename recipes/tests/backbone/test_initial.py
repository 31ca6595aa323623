"""Initial weights from counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AlbertForPreTraining

from recipes.backbone.initial import (
    VECTOR_LENGTH,
    count_pairs,
    embed_counts,
    initialize,
    log_frequencies,
    sinusoids,
)
from recipes.backbone.shards import read_manifest, read_shard
from recipes.backbone.train import make_config


def test_pairs_are_symmetric_and_weigh_by_distance():
    counts = count_pairs([np.array([5, 6, 7], dtype=np.uint16)], vocab_size=8)
    assert counts[5, 6] == counts[6, 5] == 1.0
    assert counts[5, 7] == counts[7, 5] == 0.5
    assert counts.sum() == 5.0


def test_many_rows_are_made_symmetric_in_blocks():
    ids = np.random.default_rng(0).integers(0, 2500, 20_000).astype(np.uint16)
    counts = count_pairs([ids], vocab_size=2500)
    torch.testing.assert_close(counts, counts.T, rtol=0, atol=0)
    assert float(counts.sum()) > 2 * 2.2 * 19_000


def test_frequencies_are_shares_and_shards_weigh_the_same():
    short, long = np.full(10, 5, dtype=np.uint16), np.full(10_000, 6, dtype=np.uint16)
    shares = log_frequencies([short, long], vocab_size=8).exp()
    assert float(shares.sum()) == 1.0 or abs(float(shares.sum()) - 1) < 1e-6
    assert 0.3 < float(shares[5]) < 0.5 < float(shares[6]) < 0.6


def test_tokens_of_like_context_get_like_vectors():
    chance = np.random.default_rng(0)
    # 10 and 11 stand before the same words, 20 to 29; 12 stands before 30 to 39.
    firsts = chance.integers(10, 13, 6000)
    seconds = np.where(firsts < 12, 20, 30) + chance.integers(0, 10, 6000)
    gaps = chance.integers(40, 60, (5, 6000))
    text = np.stack([firsts, seconds, *gaps]).T.reshape(-1).astype(np.uint16)
    vectors = embed_counts(count_pairs([text], vocab_size=60), size=32)
    assert float(vectors[10] @ vectors[11]) > float(vectors[10] @ vectors[12]) + 0.2


@pytest.mark.slow
def test_initialize_leaves_the_special_pieces(shards):
    torch.manual_seed(0)
    size = read_manifest(shards).vocab_size
    model = AlbertForPreTraining(
        make_config(vocab_size=size, hidden_size=32, depth=2, head_size=16)
    )
    table = model.albert.embeddings.word_embeddings.weight
    before = table[:5].clone()
    initialize(model, [read_shard(shards, name, "train") for name in ("en", "zh")])
    assert (table[:5] == before).all()
    assert model.predictions.decoder.weight is table
    used = np.unique(read_shard(shards, "en", "train").ids)
    torch.testing.assert_close(
        table[used[used >= 5]].norm(dim=1), torch.full((len(used[used >= 5]),), VECTOR_LENGTH)
    )


def test_positions_are_told_apart_and_a_shift_is_one_rotation():
    found = sinusoids(512, 64)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(512))
    near = found @ found.T
    # The product of two places depends on how far apart they are, and on nothing else.
    for shift in (1, 7, 100):
        products = near.diagonal(shift)
        torch.testing.assert_close(products, products[:1].expand_as(products), atol=1e-4, rtol=0)
    near.fill_diagonal_(-1.0)
    assert near.max() < 0.999
