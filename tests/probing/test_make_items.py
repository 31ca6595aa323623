"""Items of rows: which tokens they read, their labels, and control labels by type."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from adapterhub.errors import DataError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.tokens import Row, TextTokenizer
from adapterhub.plan import Reading
from adapterhub.probing.control import make_control
from adapterhub.probing.items import NO_LABEL, ROOT, SPLITS
from adapterhub.probing.make_items import MadeItems, first_tokens, make_items
from adapterhub.probing.options import ProbeOptions
from adapterhub.probing.rows import ProbeRow, read_rows

TREE = {
    "tokens": ["a", "good", "day", "in", "sentences", "."],
    "upos": ["DET", "ADJ", "NOUN", "ADP", "NOUN", "PUNCT"],
    "head": [3, 3, 0, 5, 3, 3],
    "deprel": ["det", "amod", "root", "case", "nmod", "punct"],
}
TREES = [{**TREE, "tokens": [*TREE["tokens"][:4], f"word{n}", "."]} for n in range(20)]


@pytest.fixture(scope="module")
def tokenizer(tiny_backbone: Backbone) -> TextTokenizer:
    return TextTokenizer(tiny_backbone.tokenizer)


def made(tokenizer: TextTokenizer, data: Any, max_length: int = 64, **options: Any) -> MadeItems:
    rows = read_rows(data, ProbeOptions(**options))
    reading = Reading(rows.fields, max_length, 0)
    return make_items(rows, tokenizer=tokenizer, reading=reading, seed=0)


def test_a_word_is_read_at_its_first_token(tokenizer: TextTokenizer) -> None:
    found = made(tokenizer, TREES, target="upos")
    for split in SPLITS:
        items, windows = found.items[split], found.windows[split]
        ids = np.concatenate([window.ids for window in windows])
        assert items.tokens == len(ids)
        assert items.places is not None
        assert items.places.shape == (6 * len(windows), 1)
        for text in range(len(windows)):
            words = [first_id(tokenizer, word) for word in ("a", "good", "day", "in", "w", ".")]
            read = ids[items.places[items.sentences == text, 0]].tolist()
            assert read == words
            assert items.places[items.sentences == text, 0].max() < items.lengths[: text + 1].sum()
        assert items.labels.reshape(-1, 6).tolist() == [[2, 0, 3, 1, 3, 4]] * len(windows)
    # Of six types, one is new in each other text.
    assert not found.items["training"].novel.any()
    assert found.items["measuring"].novel.reshape(-1, 6).sum(0).tolist() == [0, 0, 0, 0, 4, 0]
    assert found.label_counts == (12, 12, 12, 24, 12)


def first_id(tokenizer: TextTokenizer, word: str) -> int:
    reading = Reading(("text",), 64, 0)
    return tokenizer.rows([(word,)], reading=reading, max_windows=1)[0].ids[0]


def test_relations_read_a_word_and_its_head(tokenizer: TextTokenizer) -> None:
    words = made(tokenizer, TREES, target="upos").items["measuring"]
    relations = made(tokenizer, TREES, what="relation").items["measuring"]
    assert words.places is not None
    assert relations.places is not None
    at = words.places[:6, 0]
    assert relations.places[:5].tolist() == [
        [at[0], at[2]], [at[1], at[2]], [at[3], at[4]], [at[4], at[2]], [at[5], at[2]],
    ]  # fmt: skip
    assert relations.labels[:5].tolist() == [2, 0, 1, 3, 4]


def test_heads_are_places_among_the_words_of_a_text(tokenizer: TextTokenizer) -> None:
    items = made(tokenizer, TREES, what="head").items["measuring"]
    assert items.labels[:6].tolist() == [2, 2, ROOT, 4, 2, 2]
    assert {tuple(row) for row in items.control.reshape(-1, 6)[:, [0, 1, 2, 3, 5]]} == {
        tuple(items.control[[0, 1, 2, 3, 5]])
    }
    for place, control in enumerate(items.control[:6]):
        assert control in (0, place, 5)
    # [CLS] a good day i ##n [SEP]: what lies behind the cut is neither a word nor a head.
    cut = made(tokenizer, TREES, max_length=7, what="head")
    assert cut.items["measuring"].labels[:4].tolist() == [2, 2, ROOT, NO_LABEL]
    assert "cut to 7 tokens" in cut.notes[0]
    assert "words are left out" in cut.notes[1]


def test_texts_are_read_whole(tokenizer: TextTokenizer) -> None:
    rows = [
        {"text": f"good {n}", "text_pair": f"day {n}", "label": ("x", "y")[n % 2]}
        for n in range(40)
    ]
    found = made(tokenizer, rows)
    items = found.items["choosing"]
    assert items.places is None
    assert items.items == len(found.windows["choosing"]) == 8
    assert sorted(items.labels.tolist()) == [0] * 4 + [1] * 4
    assert items.novel.all()
    assert found.windows["choosing"][0].type_ids[-1] == 1
    assert found.label_counts == (12, 12)


def test_a_split_without_words_is_refused(tokenizer: TextTokenizer) -> None:
    rows = [{"tokens": ["\u200b", "good"], "tags": ["A", "B"]} for _ in range(9)]
    other = [{"tokens": ["\u200b", f"day{n}"], "tags": ["A", "C"]} for n in range(9)]
    with pytest.raises(DataError, match="nothing is left to predict in the choosing rows"):
        made(tokenizer, rows, validation=other)


def test_words_find_tokens_that_start_in_them_or_around_them() -> None:
    # Pieces of "cannot go 3.5%": "▁can" "not" " " "go" " 3" ".5%".
    offsets = [(0, 3), (3, 6), (6, 7), (7, 9), (9, 11), (11, 14)]
    row = Row([0] * 6, None, offsets, truncated=False)
    words = [(0, 3), (3, 6), (7, 9), (10, 13), (13, 14), (20, 22)]
    assert first_tokens("cannot go 3.5%", row, words) == [0, 1, 3, 4, 5, None]


def test_control_labels_are_drawn_by_type_from_the_labels_that_train() -> None:
    rows = [ProbeRow(("a b",), ("x", "y"), ((0, 1), (2, 3)))]
    control = make_control(rows, [0] * 700 + [2] * 300, 4, seed=0)
    drawn = Counter(control.label_of(f"type {n}", 0, 1) for n in range(4_000))
    assert set(drawn) == {0, 2}
    assert 2_700 < drawn[0] < 2_900
    assert control.label_of("same", 0, 9) == control.label_of("same", 5, 7)
    assert control.known == {"a", "b"}
    other = make_control(rows, [0] * 700 + [2] * 300, 4, seed=1)
    assert any(control.label_of(str(n), 0, 1) != other.label_of(str(n), 0, 1) for n in range(50))
    heads = make_control(rows, [], None, seed=0)
    assert Counter(heads.label_of(str(n), 4, 9) for n in range(3_000)).keys() == {0, 4, 8}
