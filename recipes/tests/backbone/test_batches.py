"""Windows and masks: packed, reproducible, and giving nothing away."""

from __future__ import annotations

import numpy as np
import pytest

from adapterhub.errors import DataError
from recipes.backbone.batches import CLS, MASK, NO_ORDER, SEP, Windows, mask_ngrams
from recipes.backbone.shards import read_manifest, read_shard

LENGTH = 64


@pytest.fixture
def windows(shards):
    return Windows(shards, "train", vocab_size=read_manifest(shards).vocab_size)


def unmasked(batch):
    ids = batch.input_ids.copy()
    ids.reshape(-1)[batch.positions] = batch.labels
    return ids


@pytest.mark.slow
def test_the_same_number_gives_the_same_batch(windows, shards):
    again = Windows(shards, "train", vocab_size=read_manifest(shards).vocab_size)
    windows.batch(0, size=8, length=LENGTH)
    one, two = (source.batch(3, size=8, length=LENGTH) for source in (windows, again))
    assert (one.input_ids == two.input_ids).all()
    assert (one.positions == two.positions).all()


@pytest.mark.slow
def test_windows_are_full_and_segments_agree_with_orders(windows):
    batch = windows.batch(0, size=64, length=LENGTH)
    ids = unmasked(batch)
    assert (ids[:, 0] == CLS).all()
    assert (ids[:, -1] == SEP).all()
    single = batch.orders == NO_ORDER
    assert 0 < single.sum() < 64
    assert ((ids == SEP).sum(1) == np.where(single, 1, 2)).all()
    assert (batch.token_type_ids.max(1) == np.where(single, 0, 1)).all()
    assert {0, 1} <= set(batch.orders.tolist())


def test_swapped_segments_stand_the_other_way_round_in_the_text(windows, shards):
    batch = windows.batch(1, size=64, length=LENGTH)
    ids = unmasked(batch)
    text = {name: read_shard(shards, name, "train").ids.tobytes() for name in ("en", "zh")}
    for number, (row, types, order) in enumerate(
        zip(ids, batch.token_type_ids, batch.orders, strict=True)
    ):
        if order == NO_ORDER:
            continue
        source = text["en" if number < 32 else "zh"]
        segments = [row[types == kind] for kind in (0, 1)]
        segments[0] = segments[0][1:]
        if min(map(len, segments)) < 20:
            continue  # too short to be found in one place only
        first, second = (source.find(s[:-1].astype(np.uint16).tobytes()) for s in segments)
        assert first >= 0
        assert second >= 0
        assert (first > second) == bool(order)


def test_no_order_is_given_away_by_a_full_stop(windows, shards, tokenizer_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    stops = tokenizer.convert_tokens_to_ids([".", "。"])
    ends = {0: [], 1: []}
    for number in range(20):
        batch = windows.batch(number, size=64, length=LENGTH)
        ids = unmasked(batch)
        for row, order in zip(ids, batch.orders, strict=True):
            if order != NO_ORDER:
                ends[int(order)].append(row[-2] in stops)
    assert abs(np.mean(ends[0]) - np.mean(ends[1])) < 0.1


def test_each_window_once_before_any_comes_again(windows):
    count = windows.count("en", LENGTH)
    picked = [windows._pick("en", LENGTH, number) for number in range(count)]
    assert len(set(picked)) == count


def test_masks_are_ngrams_of_the_asked_share():
    rows = np.full((200, 128), 7, dtype=np.int64)
    rows[:, 0], rows[:, -1] = CLS, SEP
    positions, labels = mask_ngrams(rows, np.random.default_rng(0), vocab_size=50)
    assert len(positions) == 200 * round(0.15 * 128)
    assert (labels == 7).all()
    assert (rows[:, 0] == CLS).all()
    assert (rows[:, -1] == SEP).all()
    kept = rows.reshape(-1)[positions]
    assert 0.77 < (kept == MASK).mean() < 0.83
    adjacent = np.diff(np.sort(positions)) == 1
    assert adjacent.mean() > 0.35  # single tokens chosen alone would give 0.15


def test_too_long_windows_are_refused(windows):
    with pytest.raises(DataError, match="no document has 4096 tokens"):
        windows.batch(0, size=2, length=4096)
