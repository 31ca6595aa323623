"""Sentences of paragraphs, and pairs of them in and out of order."""

from __future__ import annotations

import pytest

from adapterhub.probing.sentence_pairs import sentence_pairs, sentences_of

ENGLISH = [
    "Dr. A. B. Smith went to the U.S. embassy on Jan. 3 at 5.30 p.m. sharp.",
    'She said "No!" and left.',
    "It was late… Nobody saw her.",
]
CHINESE = ["他说：“我不去！”", "后来他还是去了……为什么？", "没人知道（至今如此）。"]


@pytest.mark.parametrize(
    ("paragraph", "sentences"),
    [
        (" ".join(ENGLISH[:2]), ENGLISH[:2]),
        (ENGLISH[2], ["It was late…", "Nobody saw her."]),
        ("".join(CHINESE), CHINESE),
        (
            "版本 3.5 发布。It works in v. 2 too! Try it",
            ["版本 3.5 发布。", "It works in v. 2 too!", "Try it"],
        ),
        ("“Go.” He went.", ["“Go.”", "He went."]),
        ("No end", ["No end"]),
        ("  \n ", []),
    ],
)
def test_a_paragraph_is_parted_where_sentences_end(paragraph: str, sentences: list[str]) -> None:
    assert sentences_of(paragraph) == sentences


def test_neighbours_are_paired_once_and_about_half_of_them_swapped() -> None:
    paragraphs = [
        f"The {n}th day came and went. It rained on day {n}. Oh. They all stayed home that day "
        f"{n}. Nobody else was seen {n}."
        for n in range(300)
    ]
    pairs = [list(sentence_pairs(paragraph)) for paragraph in paragraphs]
    assert {len(found) for found in pairs} == {2}, "'Oh.' is too short, and in no pair"
    swapped = 0
    for n, found in enumerate(pairs):
        whole = sentences_of(paragraphs[n])
        texts = [text for pair in found for text in (pair.text, pair.text_pair)]
        assert len(set(texts)) == 4
        for pair in found:
            ordered = whole.index(pair.text) < whole.index(pair.text_pair)
            assert pair.label == ("in order" if ordered else "swapped")
            swapped += pair.label == "swapped"
    assert 250 < swapped < 350
    assert pairs[7] == list(sentence_pairs(paragraphs[7])), "the same in every run"
    assert any(a != list(sentence_pairs(p, seed=1)) for a, p in zip(pairs, paragraphs, strict=True))
