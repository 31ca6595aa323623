"""Tokens: the ids of transformers, windows that lose nothing unsaid, batches without padding."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AlbertTokenizer, PreTrainedTokenizerFast

from adapterhub.model.encoder.tokens import Row, TextTokenizer, TokenBatch, Window, batches, pack
from adapterhub.plan import Reading
from tests.model.encoder.pieces import save_pieces
from tests.tiny import bert_tokenizer, save_backbone

CPU = torch.device("cpu")
PAIR = ("text", "text_pair")
TEXTS = (
    "a good day",
    "It is LATE,  he said!",
    "naïve café, cafe\u0301",
    "中国的天气很好。it is good",
    "👩‍👩‍👧 a film \u200b about [MASK] and [SEP]",
    "\ufeff",
    "x" * 300,
    "  \t a \n\n b  ",
)


@pytest.fixture(scope="module")
def word_pieces(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    return bert_tokenizer(save_backbone(tmp_path_factory.mktemp("words")))


@pytest.fixture(scope="module")
def sentence_pieces(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    folder: Path = save_pieces(tmp_path_factory.mktemp("pieces"))
    tokenizer: PreTrainedTokenizerFast = AlbertTokenizer.from_pretrained(str(folder))
    return tokenizer


@pytest.fixture(scope="module")
def tokenizer(word_pieces: PreTrainedTokenizerFast) -> TextTokenizer:
    return TextTokenizer(word_pieces)


@pytest.fixture(params=["word_pieces", "sentence_pieces"])
def reference(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    """Returns the tokenizer of transformers that ours must agree with."""
    tokenizer: PreTrainedTokenizerFast = request.getfixturevalue(request.param)
    return tokenizer


def reading(length: int = 64, overlap: int = 0, *, pair: bool = False) -> Reading:
    return Reading(PAIR if pair else ("text",), length, overlap)


def windows_of(
    tokenizer: TextTokenizer,
    inputs: Sequence[tuple[str, ...]],
    how: Reading,
    *,
    max_windows: int = 16,
) -> tuple[list[Row], list[Window]]:
    rows = tokenizer.rows(inputs, reading=how, max_windows=max_windows)
    return rows, tokenizer.windows(rows, reading=how)


# Ids


def test_a_text_has_the_ids_of_transformers(reference: PreTrainedTokenizerFast) -> None:
    inputs = [(text,) for text in TEXTS]
    rows, windows = windows_of(TextTokenizer(reference), inputs, reading(512))
    assert len(windows) == len(TEXTS)
    for text, row, window in zip(TEXTS, rows, windows, strict=True):
        expected = reference(text, return_token_type_ids=True, return_offsets_mapping=True)
        assert window.ids == expected["input_ids"]
        assert window.type_ids == expected["token_type_ids"]
        # A space that is a token by itself holds no character; its place is that of the next one.
        space = reference.get_vocab().get("\u2581")
        offsets = zip(row.ids, expected["offset_mapping"][1:-1], strict=True)
        assert row.offsets == [(at, at if token == space else end) for token, (at, end) in offsets]
        assert row.pair_ids is None


def test_a_pair_has_the_ids_and_segments_of_transformers(
    reference: PreTrainedTokenizerFast,
) -> None:
    pairs = list(zip(TEXTS, reversed(TEXTS), strict=True))
    _, windows = windows_of(TextTokenizer(reference), pairs, reading(512, pair=True))
    for (one, two), window in zip(pairs, windows, strict=True):
        expected = reference(one, two, return_token_type_ids=True)
        assert window.ids == expected["input_ids"]
        assert window.type_ids == expected["token_type_ids"]
        assert set(window.type_ids) == {0, 1}


def test_truncation_to_one_window_is_that_of_transformers(
    reference: PreTrainedTokenizerFast,
) -> None:
    text = "the quick brown fox said that it was late and early " * 20
    _, (window,) = windows_of(TextTokenizer(reference), [(text,)], reading(32), max_windows=1)
    assert window.ids == reference(text, truncation=True, max_length=32)["input_ids"]


def test_settings_of_the_given_tokenizer_do_not_matter_and_do_not_change(
    tiny_backbone_folder: Path,
) -> None:
    shared = bert_tokenizer(tiny_backbone_folder)
    shared.backend_tokenizer.enable_truncation(4)
    shared.backend_tokenizer.enable_padding(length=9)
    ours = TextTokenizer(shared)
    (row,) = ours.rows([("it is a very good day in the city",)], reading=reading(), max_windows=1)
    assert len(row.ids) > 8
    assert shared.backend_tokenizer.truncation["max_length"] == 4
    assert shared.backend_tokenizer.padding["length"] == 9
    shared.backend_tokenizer.enable_truncation(2)
    assert ours.rows([("it is a day",)], reading=reading(), max_windows=1)[0].ids[3:]


def test_threads_with_other_windows_do_not_disturb_each_other(tokenizer: TextTokenizer) -> None:
    texts = [(text * 9,) for text in TEXTS]
    readings = [reading(length) for length in (8, 16, 33, 64)] * 8
    expected = {how: windows_of(tokenizer, texts, how) for how in readings}
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda how: (how, windows_of(tokenizer, texts, how)), readings)
        assert all(result == expected[how] for how, result in found)


# Windows


def ascending(tokens: int) -> list[int]:
    return list(range(100, 100 + tokens))


def single(tokens: int) -> Row:
    return Row(ascending(tokens), None, [], truncated=False)


@given(tokens=st.integers(0, 300), length=st.integers(8, 64), overlap=st.integers(0, 32))
@settings(deadline=None)
def test_windows_show_every_token_with_the_overlap_asked_for(
    tokenizer: TextTokenizer, tokens: int, length: int, overlap: int
) -> None:
    overlap = min(overlap, length // 2)
    windows = tokenizer.windows([single(tokens)], reading=reading(length, overlap))
    room = length - 2
    shared = min(overlap, room // 2)
    assert windows[0].first == 0
    assert windows[-1].last == tokens
    for window in windows:
        assert window.ids[1:-1] == ascending(tokens)[window.first : window.last]
        assert len(window.ids) <= length
    for before, after in pairwise(windows):
        assert before.last - before.first == room, "only the last window may be short"
        assert before.last - after.first == shared
    if tokens <= room:
        assert len(windows) == 1


WORDS_IN_ONE_TOKEN = "the it is a good bad day film food late".split()  # noqa: SIM905


def words(count: int) -> str:
    return " ".join(WORDS_IN_ONE_TOKEN[index % 10] for index in range(count))


@given(
    tokens=st.integers(1, 120),
    length=st.integers(8, 40),
    overlap=st.integers(0, 20),
    max_windows=st.integers(1, 5),
)
@settings(deadline=None)
def test_a_long_text_fills_all_its_windows_and_says_what_is_cut(
    tokenizer: TextTokenizer, tokens: int, length: int, overlap: int, max_windows: int
) -> None:
    how = reading(length, min(overlap, length // 2))
    (row,), windows = windows_of(tokenizer, [(words(tokens),)], how, max_windows=max_windows)
    (whole,) = tokenizer.rows([(words(tokens),)], reading=reading(512), max_windows=1)
    assert row.ids == whole.ids[: len(row.ids)]
    assert row.offsets == whole.offsets[: len(row.ids)]
    assert row.truncated == (len(row.ids) < tokens)
    assert len(windows) <= max_windows
    if row.truncated:
        assert len(windows) == max_windows
        assert {len(window.ids) for window in windows} == {length}


@given(
    one=st.integers(0, 90),
    two=st.integers(0, 90),
    length=st.integers(8, 40),
    overlap=st.integers(0, 20),
    max_windows=st.integers(1, 4),
)
@settings(deadline=None, max_examples=150)
def test_a_pair_slides_the_longer_beside_the_shorter_and_says_what_is_cut(
    tokenizer: TextTokenizer, one: int, two: int, length: int, overlap: int, max_windows: int
) -> None:
    how = reading(length, min(overlap, length // 2), pair=True)
    inputs = [(words(one), words(two))]
    (row,), windows = windows_of(tokenizer, inputs, how, max_windows=max_windows)
    room = length - 3
    assert row.pair_ids is not None
    kept = (len(row.ids), len(row.pair_ids))
    assert row.truncated == (kept != (one, two))
    assert 1 <= len(windows) <= max_windows
    if one + two <= room:
        assert kept == (one, two)
        assert len(windows) == 1
    if min(one, two) <= room // 2:
        assert min(kept) == min(one, two), "a short segment is never cut"
    else:
        assert min(kept) >= room // 2, "a long one keeps half of the window"
    seen: tuple[set[int], set[int]] = (set(), set())
    for window in windows:
        assert len(window.ids) <= length
        segments = split(tokenizer, window)
        slides = 0 if len(row.ids) > len(row.pair_ids) else 1
        still = (row.ids, row.pair_ids)[1 - slides]
        assert segments[1 - slides] == still, "the shorter one is whole in every window"
        part = (row.ids, row.pair_ids)[slides][window.first : window.last]
        assert segments[slides] == part
        seen[slides].update(range(window.first, window.last))
        seen[1 - slides].update(range(len(still)))
    assert (len(seen[0]), len(seen[1])) == kept, "what is kept is in some window"


def split(tokenizer: TextTokenizer, window: Window) -> tuple[list[int], list[int]]:
    """Returns the two segments of a window without its special tokens, which are checked."""
    (cls,), (sep,) = tokenizer.special.before, tokenizer.special.after
    first = window.type_ids.index(1)
    assert window.type_ids == [0] * first + [1] * (len(window.ids) - first)
    assert (window.ids[0], window.ids[first - 1], window.ids[-1]) == (cls, sep, sep)
    return window.ids[1 : first - 1], window.ids[first:-1]


def test_a_pair_that_fits_in_one_window_is_never_cut(tokenizer: TextTokenizer) -> None:
    inputs = [(words(5), words(40))]
    (row,), windows = windows_of(tokenizer, inputs, reading(64, pair=True), max_windows=1)
    assert not row.truncated
    assert [len(window.ids) for window in windows] == [48]


def test_a_text_without_any_token_has_one_window(tokenizer: TextTokenizer) -> None:
    (row,), windows = windows_of(tokenizer, [("\ufeff",)], reading(8))
    assert row == Row([], None, [], truncated=False)
    assert [(window.first, window.last, len(window.ids)) for window in windows] == [(0, 0, 2)]


@pytest.mark.parametrize(
    "text",
    ["a good day " * 90_910, "x " * 500_000, "中" * 1_000_000, "é " * 500_000],
    ids=["words", "letters", "han", "accents"],
)
def test_a_million_characters_are_quick_and_flagged(
    reference: PreTrainedTokenizerFast, text: str
) -> None:
    tokenizer = TextTokenizer(reference)
    start = time.thread_time()
    tokenizer._fast.encode(text[: len(text) // 10], add_special_tokens=False)
    tenth = time.thread_time() - start
    start = time.thread_time()
    (row,), windows = windows_of(tokenizer, [(text,)], reading(64, 16))
    # Without a cut it takes ten times as long as a tenth of the text.
    assert time.thread_time() - start < tenth
    assert row.truncated
    assert len(windows) <= 16


def test_a_million_characters_in_a_pair_are_flagged(tokenizer: TextTokenizer) -> None:
    long = "a good day " * 90_910
    for pair in ((long, "a"), ("a", long), (long, long)):
        (row,), windows = windows_of(tokenizer, [pair], reading(64, pair=True))
        assert row.truncated
        assert len(windows) == 16


# Batches


LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=60)


def window(row: int, length: int) -> Window:
    return Window(row, 0, length, [row + 1] * length, [row % 2] * length)


@given(LENGTHS, st.integers(1, 120))
@settings(deadline=None)
def test_batches_hold_every_window_once_within_the_budget(
    lengths: list[int], max_tokens: int
) -> None:
    windows = [window(row, length) for row, length in enumerate(lengths)]
    found = list(batches(windows, max_tokens=max_tokens, device=CPU))
    assert sorted(w.row for batch in found for w in batch.windows) == list(range(len(lengths)))
    for batch in found:
        assert batch.tokens <= max_tokens or len(batch.windows) == 1
        check_batch(batch)


def check_batch(batch: TokenBatch) -> None:
    """Checks that buckets cover exactly the tokens, and that every tensor fits the windows."""
    assert batch.tokens == sum(len(w.ids) for w in batch.windows)
    end = 0
    sizes: list[int] = []
    for bucket in batch.buckets:
        assert bucket.start == end
        end = bucket.stop
        sizes += [bucket.length] * bucket.windows
    assert end == batch.tokens
    assert sizes == [len(w.ids) for w in batch.windows]
    lengths = [bucket.length for bucket in batch.buckets]
    assert lengths == sorted(set(lengths), reverse=True), "equal lengths stand together"
    flat = [(token, kind, place) for w in batch.windows for token, kind, place in placed(w)]
    tensors = (batch.input_ids, batch.token_type_ids, batch.position_ids)
    assert list(zip(*(tensor.tolist() for tensor in tensors), strict=True)) == flat
    assert all(tensor.dtype == torch.int64 for tensor in (*tensors, batch.starts))
    starts = batch.starts.tolist()
    assert [batch.position_ids[start].item() for start in starts] == [0] * len(batch.windows)
    assert starts == sorted(set(starts))


def placed(w: Window) -> list[tuple[int, int, int]]:
    return list(zip(w.ids, w.type_ids, range(len(w.ids)), strict=True))


def test_no_windows_make_no_batch() -> None:
    assert list(batches([], max_tokens=10, device=CPU)) == []


def test_windows_of_equal_length_keep_their_order() -> None:
    found = list(batches([window(row, 4) for row in range(6)], max_tokens=12, device=CPU))
    assert [[w.row for w in batch.windows] for batch in found] == [[0, 1, 2], [3, 4, 5]]


def test_one_window_packs_alone() -> None:
    batch = pack([window(0, 3)], device=CPU)
    assert [(b.start, b.windows, b.length, b.stop) for b in batch.buckets] == [(0, 1, 3, 3)]
    check_batch(batch)
