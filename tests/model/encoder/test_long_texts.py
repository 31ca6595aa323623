"""A text is read until its windows are full, whatever makes no tokens in it, and no further."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AlbertTokenizer, PreTrainedTokenizerFast

from adapterhub.model.encoder.tokens import Row, TextTokenizer
from adapterhub.model.heads.spans import TaggedText, words_of
from adapterhub.plan import Reading
from tests.encoders import family_tokenizer
from tests.model.encoder.pieces import save_pieces, save_tokenizer_json
from tests.tiny import bert_tokenizer, save_backbone

CLEAN = "the city said that it was late"
NAMES = ("words", "pieces", "spaced", "roberta", "xlm-roberta", "xlm-roberta, newer")
SILENT = {
    "spaces": " ",
    "lines": "\r\n",
    "tabs": "\t \u3000\xa0",
    "controls": "\x01\x10\x1b",
    "zero width": "\u200b\ufeff",
    "replacement": "\ufffd \ufffd\n",
    "mixed": " \x10\n\u200b",
}


def make(name: str, folder: Path) -> PreTrainedTokenizerFast:
    if name in ("roberta", "xlm-roberta", "xlm-roberta, newer"):
        return family_tokenizer(folder, name)
    if name == "words":
        return bert_tokenizer(save_backbone(folder))
    if name == "spaced":
        return PreTrainedTokenizerFast(
            tokenizer_file=str(save_tokenizer_json(folder) / "tokenizer.json"),
            cls_token="[CLS]",
            sep_token="[SEP]",
        )
    found: PreTrainedTokenizerFast = AlbertTokenizer.from_pretrained(str(save_pieces(folder)))
    return found


@pytest.fixture(scope="module", params=NAMES)
def reference(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> PreTrainedTokenizerFast:
    return make(request.param, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def tokenizer(reference: PreTrainedTokenizerFast) -> TextTokenizer:
    return TextTokenizer(reference)


def row_of(tokenizer: TextTokenizer, *texts: str, max_windows: int = 1, length: int = 32) -> Row:
    fields = ("text", "text_pair")[: len(texts)]
    reading = Reading(fields, length, 0)
    (row,) = tokenizer.rows([texts], reading=reading, max_windows=max_windows)
    return row


def words(text: str, row: Row) -> list[str]:
    return [text[word.start : word.end] for word in words_of(TaggedText(text, row.offsets))]


@pytest.mark.parametrize("signs", SILENT.values(), ids=list(SILENT))
def test_text_behind_signs_without_tokens_is_read(tokenizer: TextTokenizer, signs: str) -> None:
    run = signs * (20_000 // len(signs))
    clean = row_of(tokenizer, f"{CLEAN} {CLEAN}")
    for text in (f"{run}{CLEAN} {CLEAN}", f"{CLEAN} {run}{CLEAN}", f"{CLEAN} {CLEAN}{run}"):
        row = row_of(tokenizer, text)
        if row.truncated:  # this tokenizer counts spaces: the windows are full of them
            assert len(row.ids) == 30
            continue
        assert row.ids == clean.ids
        assert words(text, row) == [*CLEAN.split(), *CLEAN.split()]


@pytest.mark.parametrize("signs", SILENT.values(), ids=list(SILENT))
def test_both_texts_of_a_pair_are_read(tokenizer: TextTokenizer, signs: str) -> None:
    run = signs * (20_000 // len(signs))
    clean = row_of(tokenizer, CLEAN, CLEAN)
    first = row_of(tokenizer, f"{run}{CLEAN}", CLEAN)
    second = row_of(tokenizer, CLEAN, f"{run}{CLEAN}")
    for row in (first, second):
        if not row.truncated:
            assert (row.ids, row.pair_ids) == (clean.ids, clean.pair_ids)


@pytest.mark.parametrize("name", ["words", "pieces"])
@pytest.mark.parametrize("sign", ["😀", "q" * 200])
def test_text_behind_a_long_unknown_word_is_read(name: str, sign: str, tmp_path: Path) -> None:
    tokenizer = TextTokenizer(make(name, tmp_path))
    row = row_of(tokenizer, f"{sign * (4_000 // len(sign))} {CLEAN}")
    if name == "words" or sign == "😀":
        clean = row_of(tokenizer, CLEAN)
        assert row.ids[-len(clean.ids) :] == clean.ids
        assert not row.truncated


def test_what_is_read_of_a_long_text_is_what_the_whole_text_begins_with(
    reference: PreTrainedTokenizerFast,
) -> None:
    text = f"{CLEAN}{' ' * 3_000}" * 30
    row = row_of(TextTokenizer(reference), text, max_windows=3, length=24)
    whole = reference(text, add_special_tokens=False)["input_ids"]
    assert row.ids == whole[: len(row.ids)]
    assert len(row.ids) == 3 * 22
    assert row.truncated


@pytest.mark.parametrize("letters", [60, 99, 101, 150, 250])
def test_a_word_that_is_cut_counts_with_its_own_tokens(
    reference: PreTrainedTokenizerFast, letters: int
) -> None:
    """WordPiece has one token for a word of over 100 letters, and many for a part of it."""
    text = f"{'the ' * 11}{'q' * letters} {'was late ' * 200}"
    row = row_of(TextTokenizer(reference), text, max_windows=2, length=8)
    assert row.ids == reference(text, add_special_tokens=False)["input_ids"][:12]


def test_a_text_that_just_fits_is_not_truncated_by_the_spaces_behind_it(
    tokenizer: TextTokenizer, reference: PreTrainedTokenizerFast
) -> None:
    text = " ".join(["the"] * 30)
    if len(reference("the\x10", add_special_tokens=False)["input_ids"]) > 1:
        return  # this tokenizer drops nothing
    row = row_of(tokenizer, text + "\x10" * 9_000)
    assert (len(row.ids), row.truncated) == (30, False)
    assert row_of(tokenizer, text + "\x10" * 9_000 + " the").truncated


PART = st.sampled_from(
    ["the", "城", " ", " " * 70, "\n" * 65, "\x10" * 80, " \x10" * 40, "\u0301", "\u200b" * 64, "`"]
)


@given(st.lists(PART, max_size=30))
@settings(deadline=None, max_examples=100)
@pytest.mark.slow
def test_runs_that_are_left_out_change_no_token(
    reference: PreTrainedTokenizerFast, tokenizer: TextTokenizer, parts: list[str]
) -> None:
    text = "".join(parts)
    row = row_of(tokenizer, text, length=8, max_windows=2)
    whole = reference(text, add_special_tokens=False)["input_ids"]
    assert row.ids == whole[:12]
    assert row.truncated == (len(whole) > 12)
    assert (
        words(text, row)
        == words(text, row_of(tokenizer, text, length=4_000))[: len(words(text, row))]
    )


RUN = st.builds(
    lambda part, count: part * count,
    st.sampled_from([" ", "=", "😀", "的一是", "the city ", "ab", "\n", "cafe\u0301", "q", "q "]),
    st.sampled_from([1, 3, 30, 200, 700]),
)


@given(
    st.lists(RUN, max_size=10).map("".join),
    st.sampled_from([8, 24, 64]),
    st.sampled_from([1, 2, 5]),
)
@settings(deadline=None, max_examples=80)
@pytest.mark.slow
def test_wherever_a_text_is_cut_its_tokens_are_those_of_the_whole(
    reference: PreTrainedTokenizerFast, tokenizer: TextTokenizer, text: str, length: int, most: int
) -> None:
    """Byte-level merges depend on how long a run of spaces is, and letters have several tokens."""
    row = row_of(tokenizer, text, length=length, max_windows=most)
    whole = reference(text, add_special_tokens=False)["input_ids"]
    room = (length - 2) * most
    assert row.ids == whole[:room]
    assert row.truncated == (len(whole) > room)


@pytest.mark.parametrize("part", [" ", "=", "的一是", "the city ", "q", "\n"])
@pytest.mark.slow
def test_a_million_signs_are_bounded(tokenizer: TextTokenizer, part: str) -> None:
    text = part * (1_000_000 // len(part))
    start = time.process_time()
    row_of(tokenizer, text, length=512, max_windows=4)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("sign", [" ", "\r\n", "\x10", "\u200b", " \x10"], ids=ascii)
def test_a_million_signs_without_tokens_are_quick(sign: str, tmp_path: Path) -> None:
    tokenizer = TextTokenizer(make("pieces", tmp_path))
    text = sign * (1_000_000 // len(sign)) + CLEAN
    start = time.process_time()
    row = row_of(tokenizer, text, length=512)
    # The tokenizer alone takes 0.2 to 0.5 s for such a text.
    assert time.process_time() - start < 0.15
    assert words(text, row) == CLEAN.split()
