from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from adapterhub.model.heads.spans import TaggedText, words_of
from adapterhub.tags import tags_of
from adapterhub.training.data.tagging import (
    Span,
    TaggedWords,
    are_characters,
    character_tags,
    find_scheme,
    join_words,
    repair_tags,
    tag_labels,
    unit_tags,
)


def _words(text: str, tags: str) -> TaggedWords:
    return TaggedWords(tuple(text.split(" ")), tuple(tags.split(" ")))


def test_tags_of_the_older_writing_are_repaired() -> None:
    assert repair_tags(["I-a", "I-a", "O", "I-b", "I-a", "B-a", "I-a"]) == (
        "B-a", "I-a", "O", "B-b", "B-a", "B-a", "I-a",
    )  # fmt: skip
    assert repair_tags(["S-a", "E-a", "I-a", "B-b", "L-b", "I-b", "U-b", "E-b", "O"]) == (
        "B-a", "B-a", "B-a", "B-b", "I-b", "B-b", "B-b", "B-b", "O",
    )  # fmt: skip
    assert repair_tags(["B-a", "M-a", "E-a", "M-a"]) == ("B-a", "I-a", "I-a", "B-a")
    for tag in ("X-a", "b-a", "B-", "B", "", "a", "BI-a"):
        with pytest.raises(ValueError, match="not BIO"):
            repair_tags([tag])


def test_labels_start_with_outside_and_have_ends() -> None:
    assert tag_labels(["B-b", "O", "B-a-c"]) == (
        "O", "B-a-c", "I-a-c", "E-a-c", "S-a-c", "B-b", "I-b", "E-b", "S-b",
    )  # fmt: skip


def test_words_are_joined_as_people_write() -> None:
    row = _words("in New York 北 京 ok 。", "O B-c I-c B-d I-d O O")
    joined = join_words(row, "auto")
    assert joined.text == "in New York 北京 ok。"
    assert [joined.text[span.start : span.end] for span in joined.spans] == ["New York", "北京"]
    assert join_words(row, "none").text == "inNewYork北京ok。"
    assert join_words(row, "space").text == "in New York 北 京 ok 。"


@pytest.mark.parametrize(
    "text",
    [
        "He did|n't pay (|$|5.20|)|, it|'s true|!!",
        "Really|? 50|% of it|: a [|b|]|; she|’ll see|…",
        "He said|: no :) - and/or Mr. Li '90s",
        "我们|去|上海|，|好|吗|？|ok",
    ],
)
def test_punctuation_leans_on_its_words(text: str) -> None:
    # A bar stands between two words without a space.
    words = text.replace("|", " ").split(" ")
    joined = join_words(_words(" ".join(words), " ".join("O" * len(words))), "auto")
    assert joined.text == text.replace("|", "")


def test_character_data_are_recognised() -> None:
    assert are_characters([TaggedWords(tuple("他在3中"), ("O",) * 4)])
    assert not are_characters([TaggedWords(tuple("abc"), ("O",) * 3)])
    assert not are_characters([TaggedWords(("他", "在", "北京"), ("O",) * 3)])


def test_units_get_the_tags_of_the_spans_they_touch() -> None:
    text = "Mr. O'Neil met New York's team"
    offsets = [(i, i + 1) for i in range(len(text))]
    units = words_of(TaggedText(text, offsets))
    spans = [Span(0, 2, "T"), Span(4, 10, "PER"), Span(15, 23, "ORG"), Span(24, 30, "X")]

    def tagged(labels: tuple[str, ...]) -> dict[str, str]:
        found = unit_tags(units, spans, labels)
        return {text[u.start : u.end]: tag for u, tag in zip(units, found, strict=True)}

    tags = tagged(tags_of(["T", "PER", "ORG", "X"], ends=True))
    assert tags["Mr"] == "S-T"
    assert (tags["O"], tags["Neil"]) == ("B-PER", "E-PER")
    assert (tags["New"], tags["York"]) == ("B-ORG", "E-ORG")
    tags = tagged(tags_of(["T", "PER", "ORG", "X"], ends=False))
    assert tags["Mr"] == "B-T"
    assert tags["."] == tags["met"] == "O"
    assert (tags["O"], tags["Neil"]) == ("B-PER", "I-PER")
    assert (tags["New"], tags["York"]) == ("B-ORG", "I-ORG")
    assert tags["s"] == "B-X"
    assert tags["team"] == "I-X"


def test_spans_become_one_tag_per_character() -> None:
    tags = character_tags(6, [Span(0, 2, "a"), Span(2, 3, "a"), Span(4, 6, "b")])
    assert tags == ["B-a", "I-a", "B-a", "O", "B-b", "I-b"]


SAME = ["O", "B-PER", "I-PER", "O", "B-LOC"]
"""Tags of the words that are read below, whatever they are spelled like."""


@pytest.mark.parametrize(
    "spell",
    [
        lambda tag: tag.replace("B-", "b-").replace("I-", "i-").replace("O", "o"),
        lambda tag: tag.replace("B-", "b-").replace("I-", "i-"),
        lambda tag: tag.replace("-", "_"),
        lambda tag: tag.replace("-", "_").replace("O", "_"),
        lambda tag: tag.replace("-", "."),
        lambda tag: tag.replace("-", ":") if tag != "O" else "-O-",
        lambda tag: tag.replace("-", " - "),
        lambda tag: tag.replace("-", "\u2013"),
        lambda tag: tag.replace("-", "\u2011").replace("O", "0"),
        lambda tag: tag.replace("B-", "\uff22\uff0d") if tag != "O" else "\uff2f",
        lambda tag: tag.replace("B-", "\u0412-").replace("I-", "\u0406-") if tag != "O" else "o",
        lambda tag: tag.replace("O", "None") if tag == "O" else tag.replace("-", "/"),
        lambda tag: tag.replace("B-", "b_") if tag != "O" else "O",
    ],
)
def test_a_scheme_is_known_in_any_spelling(spell: Callable[[str], str]) -> None:
    # The types hold an O, so that only what is meant is replaced.
    tags = [spell(tag[:2]) + tag[2:] if tag != "O" else spell(tag) for tag in SAME]
    marks = find_scheme(Counter(tags))
    assert list(marks(tags)) == SAME


@pytest.mark.parametrize(
    "tags",
    [
        ["NOUN", "VERB", "PUNCT"],
        ["N", "V", "O.", "A"],
        ["NN", "-LRB-", "``", ".", ":"],
        ["S", "M"],
        ["e.g.", "abbr"],
        ["o", "n", "v", "n"],
        ["none", "noun", "noun", "verb"],
    ],
)
def test_labels_of_every_word_stay(tags: list[str]) -> None:
    assert find_scheme(Counter(tags))(tags) == tuple(f"B-{tag}" for tag in tags)


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        (["b-per", "NOUN", "o"], "'b-per' looks like one of BIO, but 'NOUN' does not"),
        (["o", "o", "per"], "most words have the tag 'o'"),
        (["_", "_", "PER"], "most words have the tag '_'"),
        (["none", "none", "PER", "LOC"], "most words have the tag 'none'"),
        (["PER-B", "PER-I", "o", "o"], "most words have the tag 'o'"),
        (["0", "1", "2"], "the tags are numbers"),
        (["B", "I", "I"], "name no entity type"),
        (["b", "m", "e", "s"], "name no entity type"),
        (["b", "i", "o", "o"], "name no entity type"),
    ],
)
def test_what_looks_like_a_scheme_is_no_label_of_every_word(tags: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        find_scheme(Counter(tags))


def test_a_type_in_another_spelling_of_the_tag_is_the_same_type() -> None:
    tags = ["O", "B-PER", "i-per", "o", "b_Loc", "B-LOC", "b-org"]
    found = find_scheme(Counter(tags))(tags)
    assert found == ("O", "B-PER", "I-PER", "O", "B-LOC", "B-LOC", "B-org")
    # Tags as their scheme writes them name the types that they name.
    tags = ["B-Title", "I-Title", "B-title", "O"]
    assert list(find_scheme(Counter(tags))(tags)) == tags
