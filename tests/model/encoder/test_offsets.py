"""Offsets of tokens are those of the text as given, whatever the tokenizer drops of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AlbertTokenizer

from adapterhub.model.encoder.offsets import normalized, restored, without
from adapterhub.model.encoder.tokens import Row, TextTokenizer
from adapterhub.model.heads.spans import TaggedText, words_of
from adapterhub.model.tokenizers.described import has_bytes
from adapterhub.model.tokenizers.tokenizer_files import load_tokenizer
from adapterhub.plan import Reading
from tests.encoders import family_tokenizer
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
    **{
        name: lambda folder, name=name: TextTokenizer(family_tokenizer(folder, name))
        for name in ("roberta", "xlm-roberta", "xlm-roberta, newer")
    },
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


WORDS = [
    *[
        "the",
        "City",
        "naïve",
        "cafe\u0301",
        "e\u0327\u0301",
        "don't",
        "ß",
        "İ",
        "ŉ",
        "Ǆ",
        "ＡＢ",
        "ﬁlm",
    ],
    *["中国", "天气", "각", "\u1112\u1161\u11ab", "のが", "ｶﾞ", "नमस्ते", "ไทย", "שלום", "مرحبا"],
]
SIGNS = [
    *["½", "㍿", "①", "…", "\ufb03", "\ufdfa", "``", "''", "##ed", "Ġ", "\u2581"],
    *["👩\u200d👩\u200d👧", "🇩🇪", "👍🏽"],
]
SPECIAL = ["[SEP]", "</s>", "<mask>", "[UNK]", "<s>", "x" * 101]
SPACES = [" ", "  ", "\t", "\r\n", "\n", "\u3000", "\xa0", "\u200b", "\u2028", "\u0085"]
DROPPED = ["\ufeff", "\x10", "\x7f", "\ufffd", "\u00ad"]
MIXED = st.lists(
    st.one_of(
        st.sampled_from([*WORDS, *SIGNS, *SPECIAL, *SPACES, *DROPPED]),
        st.characters(blacklist_categories=["Cs"]),
    ),
    max_size=14,
).map("".join)


@given(MIXED)
@example("``")
@example("``[UNK]")
@example("the``.")
@example("''s ```` ```the ``City''")
@example("a ``[x [SEP]``[x")
@example("\x10``[x``\u0301")
@example("\x10\x85the")
@settings(deadline=None, max_examples=80)
@pytest.mark.slow
def test_each_token_stands_where_its_offsets_say(tokenizer: TextTokenizer, text: str) -> None:
    row = row_of(tokenizer, text)
    fast = tokenizer._fast
    last = (0, 0)
    for token, (start, end) in zip(row.ids, row.offsets, strict=True):
        assert 0 <= start <= end <= len(text)
        assert start >= last[0]
        assert end >= last[1] or start == end
        last = start, max(end, last[1])
        assert is_token_of(fast, token, text[start:end]), (fast.id_to_token(token), text[start:end])


def is_token_of(fast: FastTokenizer, token: int, part: str) -> bool:
    """Returns whether a token can be made of a part of a text; True if that is not decidable."""
    name = fast.id_to_token(token)
    if name in ("<unk>", "[UNK]"):
        return True
    if has_bytes(fast):
        made = "".join(name for name, _ in ByteLevel(add_prefix_space=False).pre_tokenize_str(part))
        return name.strip("Ġ") in made or name == part
    name = name.removeprefix("##").replace("\u2581", "")
    forms = {part, normalized(fast, part), normalized(fast, f"a{part}a")}
    # The last token of a sign that becomes several may stand on the dropped sign behind it: such
    # are no words.
    return any(name in form for form in forms) or "aa" in forms
