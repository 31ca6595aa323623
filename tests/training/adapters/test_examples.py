"""Rows become windows, batches and places of answers as scoring has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adapterhub.model.heads.spans import TaggedText, words_of
from adapterhub.plan import Reading
from adapterhub.training.adapters.examples import (
    make_batch,
    read_examples,
    reading_order,
    training_order,
)
from adapterhub.training.features.encoding import FeatureSource

CPU = torch.device("cpu")
TEXTS = [("good day",), ("a bad film late and early was the food",), ("she",), ("it is late",)]


def test_a_packed_batch_names_row_and_place_of_every_token(source: FeatureSource) -> None:
    reading = Reading(("text",), 8, 2)
    options = {"tokenizer": source.tokenizer, "reading": reading, "max_windows": 3}
    examples = read_examples(TEXTS, kind="single_label", **options)
    assert len(examples) == examples.predictions == 4
    assert np.diff(examples.first).tolist() == [1, 2, 1, 1]
    batch = make_batch(examples, [3, 1, 0], device=CPU)
    assert batch.counts.tolist() == [1, 2, 1]
    assert batch.targets.tolist() == [3, 1, 0]
    assert batch.picks is None
    in_order = [
        token
        for row in (3, 1, 0)
        for window in examples.windows[examples.first[row] : examples.first[row + 1]]
        for token in window.ids
    ]
    assert batch.tokens.input_ids.tolist() == [in_order[place] for place in batch.order]
    rows = [[3, 1, 0].index(window.row) for window in batch.tokens.windows]
    assert batch.texts.tolist() == rows


@pytest.mark.parametrize("length", [8, 64])
def test_each_word_is_read_where_most_is_around_it(source: FeatureSource, length: int) -> None:
    reading = Reading(("text",), length, 3)
    options = {"tokenizer": source.tokenizer, "reading": reading, "max_windows": 8}
    examples = read_examples(TEXTS, kind="tagging", **options)
    rows = source.tokenizer.rows(TEXTS, reading=reading, max_windows=8)
    batch = make_batch(examples, [1, 3], device=CPU)
    assert batch.picks is not None
    ids = batch.tokens.input_ids[batch.picks].tolist()
    words = [words_of(TaggedText(TEXTS[row][0], rows[row].offsets)) for row in (1, 3)]
    expected = [rows[row].ids[word.token] for row, own in zip((1, 3), words, strict=True)
                for word in own]  # fmt: skip
    assert ids == expected
    assert examples.predictions == sum(
        len(words_of(TaggedText(texts[0], row.offsets)))
        for texts, row in zip(TEXTS, rows, strict=True)
    )
    if length == 8:
        # The sixth token of the long row stands at the end of the first window and inside the
        # second.
        assert examples.places is not None
        assert examples.words is not None
        window, place = examples.places[examples.words[1] + 5]
        assert window == examples.first[1] + 1
        assert place == 3


def test_orders_hold_every_row_once(source: FeatureSource) -> None:
    texts = [("good " * (1 + index % 7),) for index in range(50)]
    options = {"tokenizer": source.tokenizer, "reading": Reading(("text",), 16, 0)}
    examples = read_examples(texts, kind="single_label", max_windows=1, **options)
    lengths = examples.lengths()
    order = training_order(lengths, batch_size=8, seed=3, epoch=1)
    assert sorted(row for step in order for row in step) == list(range(50))
    assert order == training_order(lengths, batch_size=8, seed=3, epoch=1)
    assert order != training_order(lengths, batch_size=8, seed=3, epoch=2)
    assert order != training_order(lengths, batch_size=8, seed=4, epoch=1)
    spread = [np.ptp(lengths[step]) for step in order]
    assert np.mean(spread) <= 1
    batches = reading_order(lengths, range(50), max_tokens=30)
    assert sorted(row for step in batches for row in step) == list(range(50))
    assert all(len(step) == 1 or lengths[step].sum() <= 30 for step in batches)


def test_texts_of_a_pair_apart_have_windows_of_their_own(source: FeatureSource) -> None:
    pairs = [("good day", TEXTS[1][0]), ("she", "it is late")]
    reading = Reading(("text", "text_pair"), 8, 2, apart=True)
    options = {"tokenizer": source.tokenizer, "reading": reading, "max_windows": 3}
    examples = read_examples(pairs, kind="single_label", **options)
    assert len(examples) == examples.predictions == 2
    assert np.diff(examples.first).tolist() == [1, 2, 1, 1]
    sizes = [len(window.ids) for window in examples.windows]
    assert examples.lengths().tolist() == [sum(sizes[:3]), sum(sizes[3:])]
    alone = {**options, "reading": reading.alone}
    single = read_examples(
        [(text,) for pair in pairs for text in pair], kind="single_label", **alone
    )
    assert [w.ids for w in examples.windows] == [w.ids for w in single.windows]
    batch = make_batch(examples, [1, 0], device=CPU)
    assert batch.counts.tolist() == [1, 1, 1, 2]
    texts = [(2, 3, 0, 1).index(window.row) for window in batch.tokens.windows]
    assert batch.texts.tolist() == texts
    in_order = [
        token
        for text in (2, 3, 0, 1)
        for window in examples.windows[examples.first[text] : examples.first[text + 1]]
        for token in window.ids
    ]
    assert batch.tokens.input_ids.tolist() == [in_order[place] for place in batch.order]
