"""Offsets of tokens are those of the text as given, whatever the tokenizer drops of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AlbertTokenizer

from adapterhub.model.encoder.offsets import restored, without
from adapterhub.model.encoder.tokens import Row, TextTokenizer
from adapterhub.model.heads.spans import TaggedText, words_of
from adapterhub.model.tokenizers.tokenizer_files import load_tokenizer
from adapterhub.plan import Reading
from tests.model.encoder.pieces import save_pieces, save_tokenizer_json
from tests.tiny import save_backbone

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "adapterhub/backbones/small-bilingual"
CLEAN = "张伟昨天 in the city said café London 北京大学"


def keeping_accents(folder: Path) -> TextTokenizer:
    pieces = save_pieces(folder)
    return TextTokenizer(
        AlbertTokenizer.from_pretrained(str(pieces), keep_accents=True, do_lower_case=False)
    )


MAKERS: dict[str, Callable[[Path], TextTokenizer]] = {
    "shipped": lambda _: TextTokenizer(load_tokenizer(SHIPPED, vocab_size=16_000)),
    "pieces": lambda folder: TextTokenizer(load_tokenizer(save_pieces(folder), vocab_size=1_200)),
    "accents": keeping_accents,
    "spaced": lambda folder: TextTokenizer(
        load_tokenizer(save_tokenizer_json(folder), vocab_size=1_200)
    ),
    "words": lambda folder: TextTokenizer(load_tokenizer(save_backbone(folder), vocab_size=1_200)),
}


@pytest.fixture(scope="module", params=list(MAKERS))
def tokenizer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> TextTokenizer:
    name: str = request.param
    return MAKERS[name](tmp_path_factory.mktemp(name))


def row_of(tokenizer: TextTokenizer, *texts: str) -> Row:
    fields = ("text", "text_pair")[: len(texts)]
    (row,) = tokenizer.rows([texts], reading=Reading(fields, 512, 0), max_windows=16)
    return row


def words(text: str, row: Row) -> list[str]:
    return [text[word.start : word.end] for word in words_of(TaggedText(text, row.offsets))]


CONTROLS = [chr(code) for code in (*range(1, 32), 127) if not chr(code).isspace()]


@pytest.mark.parametrize(
    "junk",
    [
        "\x10",
        "".join(CONTROLS),
        "\x1b",
        "\ufeff",
        "\u200b\x1b",
        "\ufffd",
        "\u0301",
        "\u0301\x10\u0327",
        "\r\n\x10",
        "\x10\r\n ",
        "\x10\x11\x12\x10",
    ],
    ids=ascii,
)
@pytest.mark.slow
def test_dropped_signs_at_the_start_shift_no_offset(tokenizer: TextTokenizer, junk: str) -> None:
    clean, dirty = row_of(tokenizer, CLEAN), row_of(tokenizer, junk + CLEAN)
    expected = words(CLEAN, clean)
    assert words(junk + CLEAN, dirty)[-len(expected) :] == expected
    if dirty.ids != clean.ids:  # the tokenizer keeps one of these signs
        return
    shift = len(junk)
    starts = {start for start, end in dirty.offsets if end > start}
    assert starts - {0} <= {start + shift for start, _ in clean.offsets}
    assert [end for start, end in dirty.offsets if end > start] == [
        end + shift for start, end in clean.offsets if end > start
    ]


@pytest.mark.parametrize("special", ["[SEP]", "[CLS] ", "the [MASK]", "\x10[SEP]\x10[CLS]"])
def test_dropped_signs_behind_a_special_token_shift_no_offset(
    tokenizer: TextTokenizer, special: str
) -> None:
    for junk in ("\x10", "\x1b\x1b", "\x01\u0301\x02", "\ufeff\x7f"):
        clean, dirty = row_of(tokenizer, special + CLEAN), row_of(tokenizer, special + junk + CLEAN)
        if dirty.ids == clean.ids:
            text = special + junk + CLEAN
            assert words(text, dirty)[-9:] == words(special + CLEAN, clean)[-9:]


NASTY = st.text(
    st.sampled_from("\x01\x10\x1b\x7f\u0301\u0327\u200b\ufeff\ufffd \r\n①㍿ﬁＡİß각ｶﾞ`'"), max_size=8
)


@given(NASTY, NASTY, st.sampled_from(["", "[SEP]", "[CLS]\x10"]))
@settings(deadline=None, max_examples=150)
@pytest.mark.slow
def test_named_words_are_found_among_nasty_signs(
    tokenizer: TextTokenizer, before: str, between: str, special: str
) -> None:
    """The words of the clean text stand in the text as given, each where its token says."""
    text = f"{before} London {between}{special}{between} 北京 city"
    row = row_of(tokenizer, text)
    found = words(text, row)
    for word in ("London", "北", "京", "city"):
        assert word in found
    if not before.strip():
        assert next(word for word in found) == "London"


def test_the_second_text_of_a_pair_does_not_matter(tokenizer: TextTokenizer) -> None:
    row = row_of(tokenizer, "\x10" + CLEAN, "\x10\x10 other")
    assert row.offsets == row_of(tokenizer, "\x10" + CLEAN).offsets


def test_offsets_in_later_windows_are_not_shifted(tokenizer: TextTokenizer) -> None:
    text = "\x10\x10" + f"{CLEAN} " * 200
    row = row_of(tokenizer, text)
    assert len(row.ids) > 1_000
    assert words(text, row) == words(CLEAN, row_of(tokenizer, CLEAN)) * 200


@given(st.text("ab", min_size=1, max_size=30), st.data())
def test_offsets_are_restored_from_a_text_without_ranges(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    gaps = list(zip(cuts[::2], cuts[1::2], strict=False))
    kept = [i for i in range(len(text)) if not any(a <= i < b for a, b in gaps)]
    shorter = without(text, gaps)
    assert shorter == "".join(text[i] for i in kept)
    spans = [(i, j) for i in range(len(shorter)) for j in range(i + 1, len(shorter) + 1)]
    assert restored(spans, gaps) == [(kept[i], kept[j - 1] + 1) for i, j in spans]
