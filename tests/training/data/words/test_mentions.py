"""Training rows with other mentions in the place of their entities."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from adapterhub.errors import DataError, UsageError
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.data.tagging import Span
from adapterhub.training.data.words.mentions import with_other_mentions
from adapterhub.training.option_files import read_mentions
from adapterhub.training.options import training_options
from tests.training.rows import Rows, sentiment_rows

MENTIONS = {"city": ("New York", "Oslo"), "when": ("today",)}
ROWS: list[dict[str, Any]] = [
    {"tokens": ["from", "Rome", "to", "Bonn", "now"], "tags": ["O", "B-city", "O", "B-city", "O"]},
    {"tokens": ["come", "next", "week", "!"], "tags": ["O", "B-when", "I-when", "O"]},
    {"tokens": ["Ann", "sings"], "tags": ["B-name", "O"]},
    {"tokens": ["hello"], "tags": ["O"]},
] * 4
LABELS = sentiment_rows(64)
HELD: dict[str, Any] = {"split_column": "part"}


def test_mentions_stand_where_entities_stood() -> None:
    text, spans = (
        "from Rome to Bonn by Ann",
        (
            Span(5, 9, "city"),
            Span(13, 17, "city"),
            Span(21, 24, "name"),
        ),
    )
    seen = set()
    for seed in range(20):
        found = with_other_mentions(text, spans, MENTIONS, random.Random(seed))
        assert found is not None
        said = [found[0][span.start : span.end] for span in found[1]]
        assert found[0] == f"from {said[0]} to {said[1]} by Ann"
        assert [span.entity for span in found[1]] == ["city", "city", "name"]
        seen.add(tuple(said))
    assert seen == {(a, b, "Ann") for a in MENTIONS["city"] for b in MENTIONS["city"]}
    others = (Span(0, 3, "name"),)
    assert with_other_mentions("Ann sings", others, MENTIONS, random.Random(0)) is None


def test_training_rows_with_such_entities_are_learned_a_second_time() -> None:
    parts = ["train"] * 12 + ["validation"] * 4
    rows = [{**row, "part": part} for row, part in zip(ROWS, parts, strict=True)]
    plain = read_splits(rows, training_options(**HELD))
    more = read_splits(rows, training_options(**HELD, mentions=MENTIONS))
    assert more.validation.inputs == plain.validation.inputs
    assert more.train.labels == plain.train.labels
    assert more.train.inputs[:12] == plain.train.inputs
    copies = list(zip(more.train.inputs[12:], more.train.spans()[12:], strict=True))
    assert len(copies) == 6
    for (text,), spans in copies:
        for span in spans:
            assert text[span.start : span.end] in MENTIONS[span.entity]
    again = read_splits(rows, training_options(**HELD, mentions=MENTIONS))
    assert again.train.digest() == more.train.digest() != plain.train.digest()


def test_few_rows_are_held_out_and_not_crossed() -> None:
    tags = ["O", "B-city"]
    rows = [{"tokens": ["to", f"Town{number}"], "tags": tags} for number in range(40)]
    only = {"city": MENTIONS["city"]}
    assert read_splits(rows, training_options()).folds
    assert not read_splits(rows, training_options(mentions=only)).folds


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS, "'town', which is no entity type of the rows; types are "),
        (LABELS, "the task is not tagging"),
    ],
    ids=["tagging", "labels"],
)
def test_a_type_that_the_rows_do_not_have_is_refused(rows: Rows, message: str) -> None:
    given = [{**row, "part": "train" if i % 5 else "validation"} for i, row in enumerate(rows)]
    with pytest.raises(UsageError, match=message):
        read_splits(given, training_options(mentions={"town": ("Ulm",)}, **HELD))


def test_empty_mentions_are_refused() -> None:
    with pytest.raises(UsageError, match="mentions"):
        training_options(mentions={"city": ()})
    with pytest.raises(UsageError, match="mentions"):
        training_options(mentions={"city": ("",)})


def test_a_file_of_mentions_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "mentions.json"
    path.write_text(json.dumps(MENTIONS, ensure_ascii=False), encoding="utf-8")
    assert read_mentions(path) == MENTIONS
    for content, message in (
        ("[]", "it is not an object"),
        ('{"city": "Oslo"}', "'city' is not a list of texts"),
        ('{"city": [1]}', "'city' is not a list of texts"),
        ("{", "not JSON of mentions"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            read_mentions(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_mentions(tmp_path / "nowhere.json")
