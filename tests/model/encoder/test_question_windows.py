"""A question is whole in each window, and its context slides, with the offsets of its tokens."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from adapterhub.model.encoder.tokens import Row, TextTokenizer, Window
from adapterhub.plan import Reading
from tests.encoders import family_tokenizer
from tests.tiny import bert_tokenizer, save_backbone

FIELDS = ("question", "context")
WORDS = ("the", "it", "is", "a", "good", "bad", "day", "film", "food", "late")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    return bert_tokenizer(save_backbone(tmp_path_factory.mktemp("words")))


@pytest.fixture(scope="module")
def tokenizer(reference: PreTrainedTokenizerFast) -> TextTokenizer:
    return TextTokenizer(reference)


def words(count: int) -> str:
    return " ".join(WORDS[index % 10] for index in range(count))


def windows_of(
    tokenizer: TextTokenizer, question: str, context: str, how: Reading, max_windows: int = 16
) -> tuple[Row, list[Window]]:
    (row,) = tokenizer.rows([(question, context)], reading=how, max_windows=max_windows)
    return row, tokenizer.windows([row], reading=how)


@given(
    question=st.integers(1, 60),
    context=st.integers(0, 200),
    length=st.integers(12, 40),
    overlap=st.integers(0, 20),
    max_windows=st.integers(1, 5),
)
@settings(deadline=None, max_examples=100)
def test_the_context_slides_beside_the_whole_question(
    tokenizer: TextTokenizer,
    question: int,
    context: int,
    length: int,
    overlap: int,
    max_windows: int,
) -> None:
    overlap = min(overlap, length // 2)
    how = Reading(FIELDS, length, overlap, slides_second=True)
    row, windows = windows_of(tokenizer, words(question), words(context), how, max_windows)
    assert row.pair_ids is not None
    room = length - 3
    assert len(row.ids) == min(question, max(room // 2, room - context))
    assert row.truncated == ((len(row.ids), len(row.pair_ids)) != (question, context))
    assert windows[0].first == 0
    assert windows[-1].last == len(row.pair_ids) == len(row.offsets)
    for window in windows:
        assert len(window.ids) <= length
        place, size = window.place, window.last - window.first
        assert window.ids[1 : place - 1] == row.ids
        assert window.ids[place : place + size] == row.pair_ids[window.first : window.last]
        assert window.type_ids == [0] * place + [1] * (size + 1)
    for before, after in pairwise(windows):
        assert before.last - after.first == min(overlap, (room - len(row.ids)) // 2)
    whole = [(at, end) for at, end in row.offsets if end > at]
    assert [words(context)[at:end] for at, end in whole] == words(len(row.pair_ids)).split()


def test_windows_are_those_of_transformers(reference: PreTrainedTokenizerFast) -> None:
    question, context = words(4), "Caf\u00e9 \u4e2d\u56fd " + words(70)
    how = Reading(FIELDS, 32, 8, slides_second=True)
    row, windows = windows_of(TextTokenizer(reference), question, context, how)
    expected = reference(
        *(question, context),
        truncation="only_second",
        max_length=32,
        stride=8,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    assert [window.ids for window in windows] == expected["input_ids"]
    for window, offsets in zip(windows, expected["offset_mapping"], strict=True):
        own = row.offsets[window.first : window.last]
        assert own == offsets[6 : 6 + len(own)]


def test_other_pairs_are_read_as_before(tokenizer: TextTokenizer) -> None:
    pair = (words(40), words(8))
    row, windows = windows_of(tokenizer, *pair, Reading(FIELDS, 32, 4))
    assert len(row.offsets) == len(row.ids) == 40
    assert {tuple(window.ids[-9:-1]) for window in windows} == {tuple(row.pair_ids or ())}


def test_two_special_tokens_between_move_the_context(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(family_tokenizer(tmp_path, "roberta"))
    row, windows = windows_of(
        tokenizer, "it is", words(60), Reading(FIELDS, 24, 4, slides_second=True)
    )
    assert len(windows) > 1
    for window in windows:
        place = window.place
        own = (row.pair_ids or [])[window.first : window.last]
        assert window.ids[place : place + len(own)] == own
        assert place == 1 + len(row.ids) + 2
