from __future__ import annotations

import pytest

from adapterhub.model.heads.spans import TaggedText, words_of
from adapterhub.tags import tags_of
from adapterhub.training.data.tagging import (
    Span,
    TaggedWords,
    are_characters,
    character_tags,
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
