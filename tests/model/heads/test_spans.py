"""Spans: words of any script and tokenizer, the best valid tags, offsets that fit the text."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterhub.inputs import is_invisible
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.heads.spans import TaggedText, best_tags, decode_spans, is_han, words_of
from adapterhub.model.tokenizers.tokenizer_files import load_tokenizer
from adapterhub.plan import Reading
from adapterhub.results import Entity
from adapterhub.tags import tags_of
from tests.encoders import family_tokenizer
from tests.model.encoder.pieces import save_pieces, save_tokenizer_json
from tests.tiny import save_backbone

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
SURE = 5.0
FAMILIES = ("roberta", "xlm-roberta", "xlm-roberta, newer")
NAMES = ("words", "pieces", "spaced", *FAMILIES)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextTokenizer]:
    """Returns WordPiece, SentencePiece, and SentencePiece with leading spaces in its offsets."""
    folders: dict[str, Path] = {
        "words": save_backbone(tmp_path_factory.mktemp("words")),
        "pieces": save_pieces(tmp_path_factory.mktemp("pieces")),
        "spaced": save_tokenizer_json(tmp_path_factory.mktemp("spaced")),
    }
    found = {name: load_tokenizer(folder, vocab_size=1_200) for name, folder in folders.items()}
    for name in FAMILIES:
        found[name] = family_tokenizer(tmp_path_factory.mktemp("family"), name)
    return {name: TextTokenizer(tokenizer) for name, tokenizer in found.items()}


def tagged(tokenizer: TextTokenizer, text: str) -> TaggedText:
    (row,) = tokenizer.rows([(text,)], reading=Reading(("text",), 512, 0), max_windows=1)
    return TaggedText(text, row.offsets)


def words(text: TaggedText) -> list[str]:
    return [text.text[word.start : word.end] for word in words_of(text)]


# Words


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the quick brown fox", ["the", "quick", "brown", "fox"]),
        ("  The   LATE\n\tfilm ", ["The", "LATE", "film"]),
        ("Zanzibar42 was xyz9", ["Zanzibar42", "was", "xyz9"]),
        ("(he said: late!)", ["(", "he", "said", ":", "late", "!", ")"]),
        ("中国的天气", ["中", "国", "的", "天", "气"]),
        ("good中国day", ["good", "中", "国", "day"]),
        ("naïve café", ["naïve", "café"]),
        ("nai\u0308ve cafe\u0301s", ["nai\u0308ve", "cafe\u0301s"]),
        ("a 😀 day", ["a", "😀", "day"]),
        ("day,day", ["day", ",", "day"]),
        ("हिन्दी good", ["हिन्दी", "good"]),
        ("", []),
        ("   ", []),
    ],
)
def test_words_are_found_whatever_the_tokens_are(
    tokenizers: dict[str, TextTokenizer], name: str, text: str, expected: list[str]
) -> None:
    assert words(tagged(tokenizers[name], text)) == expected


def test_tokens_with_their_leading_space_start_at_the_word(
    tokenizers: dict[str, TextTokenizer],
) -> None:
    text = tagged(tokenizers["spaced"], "the late film")
    assert any(text.text[start] == " " for start, _ in text.offsets), "the case is not made"
    assert [(word.start, word.end) for word in words_of(text)] == [(0, 3), (4, 8), (9, 13)]


@pytest.mark.parametrize("text", ["中国", "good 中", " 中 国"])
def test_a_character_is_tagged_by_its_own_token(
    tokenizers: dict[str, TextTokenizer], text: str
) -> None:
    """SentencePiece puts a token for the space before it, which claims the character too."""
    tokenizer = tokenizers["pieces"]
    (row,) = tokenizer.rows([(text,)], reading=Reading(("text",), 512, 0), max_windows=1)
    space = tokenizer._fast.token_to_id("\u2581")
    assert space in row.ids, "the case is not made"
    found = words_of(TaggedText(text, row.offsets))
    assert [text[word.start : word.end] for word in found] == [
        *(["good"] if "good" in text else []),
        *(sign for sign in text if is_han(sign)),
    ]
    assert space not in [row.ids[word.token] for word in found]


def test_a_token_that_joins_han_characters_or_signs_is_one_word() -> None:
    text = TaggedText("东京塔 isn't", [(0, 2), (2, 3), (4, 6), (6, 7), (7, 9)])
    assert words(text) == ["东京", "塔", "isn", "'t"]


def test_a_token_that_reaches_into_a_word_takes_all_of_it() -> None:
    text = TaggedText("东go on", [(0, 2), (2, 3), (4, 6)])
    assert words(text) == ["东go", "on"]


def test_a_sign_keeps_its_marks() -> None:
    text = TaggedText("❤\ufe0fgood 👍🏽", [(0, 1), (1, 2), (2, 6), (7, 8), (8, 9)])
    assert words(text) == ["❤\ufe0f", "good", "👍🏽"]


def by_sign(text: str) -> TaggedText:
    return TaggedText(text, [(place, place + 1) for place in range(len(text))])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Lon\u00addon is", ["Lon\u00addon", "is"]),
        ("London\u00ad is\u200e", ["London", "is"]),
        ("\u00ad\u00adLon\u2060\ufeff\u00addon\u00ad", ["Lon\u2060\ufeff\u00addon"]),
        ("\u2068London\u2069, \u202bPari\u200es\u202c", ["London", ",", "Pari\u200es"]),
        ("می\u200cروم خانه", ["می\u200cروم", "خانه"]),
        ("क्\u200dष good", ["क्\u200dष", "good"]),
        ("Lon\x10don\x1b is", ["Lon\x10don", "is"]),
        ("中\u00ad国", ["中", "国"]),
        ("Lon\u200bdon", ["Lon", "don"]),  # a space of no width
        ("Lon\x1fdon\x85is", ["Lon\x1fdon", "is"]),
        ("\u0600\u0661\u0662 a", ["\u0600\u0661\u0662", "a"]),  # a sign drawn around a number
        ("👩\u200d👩\u200d👧x", ["👩\u200d👩\u200d👧", "x"]),
        ("🇬🇧🇫🇷 👍🏽", ["🇬🇧", "🇫🇷", "👍🏽"]),
        ("1\ufe0f\u20e3 \u1100\u1161\u11a8", ["1\ufe0f\u20e3", "\u1100\u1161\u11a8"]),
        ("it's 3.5 U.S.", ["it", "'", "s", "3", ".", "5", "U", ".", "S", "."]),
        (
            "@user well-known カタカナ 서울 ไทย",
            ["@", "user", "well", "-", "known", "カタカナ", "서울", "ไทย"],
        ),
    ],
    ids=ascii,
)
def test_invisible_signs_part_no_word_and_clusters_stay_whole(
    text: str, expected: list[str]
) -> None:
    assert words(by_sign(text)) == expected


@pytest.mark.parametrize(
    "sign", ["\u00ad", "\u200b", "\u200d", "\ufeff", "\u2060", "\x10", "\ufe0f", "\u3164", "\ufff9"]
)
def test_no_word_has_only_invisible_signs(sign: str) -> None:
    assert words(by_sign(sign)) == []
    assert words(by_sign(f"a {sign} b {sign}{sign}c {sign}")) == ["a", "b", "c"]
    wide = TaggedText(f"a {sign}b {sign}", [(0, 1), (1, 4), (4, 6)])
    assert words(wide) == ["a", "b"]


def test_a_token_of_a_word_and_an_invisible_sign_ends_with_the_word() -> None:
    assert words(TaggedText("Lon\u00addon\u00ad é\u2060", [(0, 8), (8, 11)])) == [
        "Lon\u00addon",
        "é",
    ]


def test_tokens_without_characters_are_no_words() -> None:
    assert words(TaggedText("a b", [(0, 0), (0, 1), (1, 1), (1, 2), (2, 3)])) == ["a", "b"]


TEXT = st.text(
    st.one_of(
        st.sampled_from("abcXY09 .,-'é中国が한\u0301\u0327\u200d\ufe0f\u3000😀👍🏽\n"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=30,
)


@given(TEXT)
@settings(deadline=None, max_examples=150)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_words_are_in_order_and_never_cut(
    tokenizers: dict[str, TextTokenizer], name: str, text: str
) -> None:
    given_text = tagged(tokenizers[name], text)
    found = words_of(given_text)
    for word in found:
        assert 0 <= word.start < word.end <= len(text)
        assert not is_invisible(text[word.start : word.end])
        assert not text[word.start].isspace()
        assert word.end == len(text) or not joins(text, word.end)
        start, _ = given_text.offsets[word.token]
        assert start <= word.start
    for before, after in pairwise(found):
        assert before.end <= after.start
        assert before.token < after.token


def joins(text: str, place: int) -> bool:
    """Returns whether `place` lies between two letters or digits of one word."""
    return all(sign.isalnum() and not is_han(sign) for sign in text[place - 1 : place + 1])


@pytest.mark.parametrize("sign", "一龥㐀豈\U00020000")
def test_han_is_han(sign: str) -> None:
    assert is_han(sign)


@pytest.mark.parametrize("sign", "aがア한。１")
def test_other_scripts_are_not_han(sign: str) -> None:
    assert not is_han(sign)


# Tags


def is_valid(path: tuple[int, ...], labels: tuple[str, ...]) -> bool:
    names = ["O", *(labels[tag] for tag in path), "O"]
    ends = any(label[0] in "ES" for label in labels)

    def fits(before: str, after: str) -> bool:
        if after[0] in "IE":
            return before in (f"B-{after[2:]}", f"I-{after[2:]}")
        return not ends or before[0] not in "BI"

    return all(fits(before, after) for before, after in pairwise(names))


def brute_force(scores: np.ndarray, labels: tuple[str, ...]) -> float:
    """Returns the greatest sum over all valid sequences."""
    paths = product(range(len(labels)), repeat=len(scores))
    return max(total(scores, path) for path in paths if is_valid(path, labels))


def total(scores: np.ndarray, path: tuple[int, ...]) -> float:
    return float(sum(float(row[tag]) for row, tag in zip(scores, path, strict=True)))


@given(
    st.lists(
        st.lists(st.lists(st.integers(-8, 0), min_size=5, max_size=5), max_size=4),
        min_size=1,
        max_size=4,
    ),
    st.permutations(LABELS),
)
@settings(deadline=None, max_examples=60)
def test_the_best_tags_are_those_of_brute_force(
    texts: list[list[list[int]]], order: list[str]
) -> None:
    labels = tuple(order)
    arrays = [np.array(rows, np.float32).reshape(-1, 5) for rows in texts]
    for array, path in zip(arrays, best_tags(arrays, labels), strict=True):
        assert len(path) == len(array)
        assert is_valid(tuple(path), labels)
        if len(array):
            assert total(array, tuple(path)) == brute_force(array, labels)


@given(
    st.lists(st.lists(st.integers(-8, 0), min_size=9, max_size=9), max_size=4),
    st.permutations(tags_of("xy", ends=True)),
)
@settings(deadline=None, max_examples=60)
@pytest.mark.slow
def test_the_best_tags_with_ends_are_those_of_brute_force(
    rows: list[list[int]], order: list[str]
) -> None:
    labels = tuple(order)
    array = np.array(rows, np.float32).reshape(-1, 9)
    (path,) = best_tags([array], labels)
    assert is_valid(tuple(path), labels)
    if len(array):
        assert total(array, tuple(path)) == brute_force(array, labels)


def test_entities_with_ends_are_told_apart() -> None:
    labels = tags_of(["a"], ends=True)
    text = TaggedText("v w x y z", [(place, place + 1) for place in range(0, 9, 2)])
    scores = np.full((5, 5), -9.0, np.float32)
    for place, tag in enumerate(["B-a", "E-a", "S-a", "O", "S-a"]):
        scores[place, labels.index(tag)] = -0.1
    (entities,) = decode_spans([scores], [text], labels)
    assert [entity["word"] for entity in entities] == ["v w", "x", "z"]
    # An entity that the last word leaves open is closed by the next best sequence.
    scores[4] = [-3.0, -0.1, -9.0, -9.0, -1.0]
    (entities,) = decode_spans([scores], [text], labels)
    assert [entity["word"] for entity in entities] == ["v w", "x", "z"]


def test_many_texts_are_decoded_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(rng.integers(0, 40), 5)).astype(np.float32) for _ in range(300)]
    together = best_tags(arrays, LABELS)
    assert together == [best_tags([array], LABELS)[0] for array in arrays]


def test_no_texts_have_no_tags() -> None:
    assert best_tags([], LABELS) == []
    assert list(decode_spans([], [], LABELS)) == []


@given(st.lists(st.lists(st.floats(-50, 0), min_size=5, max_size=5), max_size=6))
@settings(deadline=None)
def test_inside_never_comes_without_begin(rows: list[list[float]]) -> None:
    (path,) = best_tags([np.array(rows, np.float32).reshape(-1, 5)], LABELS)
    assert is_valid(tuple(path), LABELS)


def test_impossible_tags_do_not_disturb_the_others() -> None:
    scores = np.full((3, 5), -np.inf, np.float32)
    scores[[0, 1, 2], [1, 2, 0]] = 0.0
    assert best_tags([scores], LABELS) == [[1, 2, 0]]


# Spans


def decode(text: TaggedText, tags: list[str]) -> list[Entity]:
    """Returns the entities when the first token of each word has one of `tags` for sure."""
    scores = np.full((len(text.offsets), 5), -SURE, np.float32)
    for word, tag in zip(words_of(text), tags, strict=True):
        scores[word.token] = [0.0 if label == tag else -SURE for label in LABELS]
    (entities,) = decode_spans([scores], [text], LABELS)
    return entities


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("text", "tags", "expected"),
    [
        ("he was Zanzibar", ["O", "O", "B-PER"], [("PER", "Zanzibar", 7, 15)]),
        (
            "  Ann Lee, in 中国!",
            ["B-PER", "I-PER", "O", "O", "B-LOC", "I-LOC", "O"],
            [("PER", "Ann Lee", 2, 9), ("LOC", "中国", 14, 16)],
        ),
        ("Ann Bob", ["B-PER", "B-PER"], [("PER", "Ann", 0, 3), ("PER", "Bob", 4, 7)]),
        ("Ann Oslo", ["B-PER", "B-LOC"], [("PER", "Ann", 0, 3), ("LOC", "Oslo", 4, 8)]),
        ("cafe\u0301 Noël", ["B-LOC", "I-LOC"], [("LOC", "cafe\u0301 Noël", 0, 10)]),
        ("😀 Ann", ["O", "B-PER"], [("PER", "Ann", 2, 5)]),
        ("a b", ["O", "O"], []),
    ],
)
def test_spans_have_the_offsets_of_the_text_as_it_was_given(
    tokenizers: dict[str, TextTokenizer],
    name: str,
    text: str,
    tags: list[str],
    expected: list[tuple[str, str, int, int]],
) -> None:
    found = decode(tagged(tokenizers[name], text), tags)
    assert [(e["entity_group"], e["word"], e["start"], e["end"]) for e in found] == expected
    for entity in found:
        assert text[entity["start"] : entity["end"]] == entity["word"]
        assert entity["score"] == 1.0


def test_the_score_of_a_span_is_the_mean_over_its_words() -> None:
    text = TaggedText("Ann Lee", [(0, 3), (4, 7)])
    scores = np.log(np.array([[0.1, 0.9, 0, 0, 0], [0.4, 0, 0.5, 0, 0]], np.float32) + 1e-9)
    ((entity,),) = decode_spans([scores], [text], LABELS)
    assert entity["score"] == pytest.approx(0.7)
    assert type(entity["score"]) is float


def test_the_first_token_of_a_word_decides() -> None:
    text = TaggedText("Zanzibar", [(0, 3), (3, 8)])
    scores = np.array([[-SURE, 0, -SURE, -SURE, -SURE], [0, -SURE, -SURE, -SURE, -SURE]])
    ((entity,),) = decode_spans([scores.astype(np.float32)], [text], LABELS)
    assert entity["word"] == "Zanzibar"


@given(TEXT, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("name", NAMES)
def test_spans_are_apart_in_order_and_made_of_whole_words(
    tokenizers: dict[str, TextTokenizer], name: str, text: str, seed: int
) -> None:
    given_text = tagged(tokenizers[name], text)
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(len(given_text.offsets), 5)).astype(np.float32)
    (found,) = decode_spans([scores], [given_text], LABELS)
    starts = {word.start for word in words_of(given_text)}
    ends = {word.end for word in words_of(given_text)}
    for entity in found:
        assert entity["start"] in starts
        assert entity["end"] in ends
    for before, after in pairwise(found):
        assert before["end"] <= after["start"]
