"""A tagger on each way to make tokens finds names in a text, exactly where they stand in it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from adapterhub import Hub, train
from tests.encoders import save_encoder

NAMES = {"city": "LOC", "school": "LOC", "fox": "PER", "people": "PER"}
OTHERS = [
    *[
        "the",
        "good",
        "day",
        "said",
        "and",
        "naïve",
        "cafe\u0301",
        "中",
        "天",
        "①",
        "ﬁlm",
        "😀",
        ",",
    ],
    *["<mask>", "[SEP]"],
]
# Signs that are dropped, that become spaces, that are special tokens; a space ends each.
GAPS = (" ", "  ", "\r\n ", "\u3000 ", "\x10 ", "\u200b ", " \ufeff \xa0 ", " <mask> ", " [SEP] ")


def tagged_words(pick: random.Random) -> dict[str, list[str]]:
    words = pick.choices([*NAMES, *OTHERS], k=8)
    return {"tokens": words, "tags": [f"S-{NAMES[w]}" if w in NAMES else "O" for w in words]}


def text_with_names(pick: random.Random) -> tuple[str, list[tuple[int, int, str]]]:
    text = ""
    found = []
    for word in pick.choices([*NAMES, *OTHERS], k=8):
        text += pick.choice(GAPS)
        if word in NAMES:
            found.append((len(text), len(text) + len(word), NAMES[word]))
        text += word
    return text, found


@pytest.mark.slow
@pytest.mark.parametrize("family", ["distilbert", "roberta", "xlm-roberta"])
def test_a_tagger_finds_names_where_they_stand(family: str, tmp_path: Path) -> None:
    pick = random.Random(0)
    train(
        [tagged_words(pick) for _ in range(100)],
        task="names",
        registry=tmp_path / "registry.yaml",
        backbone=save_encoder(tmp_path / "encoder", family),
        options={"depths": [0]},
    )
    rows = [text_with_names(pick) for _ in range(40)]
    hub = Hub(tmp_path / "registry.yaml", device="cpu")
    answers = hub.score([text for text, _ in rows], "names")["names"].answers
    hits = total = 0
    for (text, expected), entities in zip(rows, answers, strict=True):
        found = [(one["start"], one["end"], one["entity_group"]) for one in entities]
        assert set(found) <= set(expected), text
        assert [one["word"] for one in entities] == [text[a:b] for a, b, _ in found]
        hits, total = hits + len(found), total + len(expected)
    assert hits >= 0.9 * total  # the encoder is random
