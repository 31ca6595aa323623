"""Sets and rows that had no part in a backbone."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterhub.errors import DataError, UsageError
from adapterhub.model.backbone.sources import SHIPPED, locate
from adapterhub.training.data.dataset import read_splits
from recipes.quality.untouched import (
    listed_sets,
    listed_texts,
    measured_options,
    measured_rows,
    untouched_sets,
)
from tests.training.rows import sentiment_rows, write_rows

_CARD = (
    "# small\n\n- training rows of {} public sets: seen 4,132, sms-spam 3, other 12,817\n- more\n"
)


def _card(folder: Path, count: int = 3) -> Path:
    folder.mkdir()
    (folder / "README.md").write_text(_CARD.format(count), encoding="utf-8")
    return folder


def _set(data: Path, name: str, *parts: list[dict[str, object]]) -> Path:
    folder = data / name
    folder.mkdir(parents=True)
    for part, rows in zip(("train", "validation"), parts, strict=False):
        write_rows(folder / f"{part}.jsonl.gz", rows)
    return folder


def test_the_card_of_a_backbone_lists_its_sets(tmp_path: Path) -> None:
    assert listed_sets(_card(tmp_path / "small")) == ("seen", "sms-spam", "other")
    assert listed_sets(tmp_path) == ()
    with pytest.raises(DataError, match="lists 3 sets, but says 4"):
        listed_sets(_card(tmp_path / "wrong", 4))


def test_the_shipped_card_lists_none_of_the_sets_left_out() -> None:
    listed = listed_sets(locate(SHIPPED, only=("README.md",))[0])
    assert len(listed) == 36
    assert "stsb" in listed
    left_out = {"ag_news", "c3", "cola", "conll2003_ner", "dream", "mrpc", "ud_chinese_gsd"}
    assert not left_out & set(listed)


def test_only_sets_that_are_not_listed_are_measured(tmp_path: Path) -> None:
    row = {"text": "a good day", "label": "good"}
    for name in ("seen", "new"):
        _set(tmp_path, name, [row])
    _set(tmp_path, "trees", [{"tokens": ["a"], "upos": ["DET"], "head": [0], "deprel": ["root"]}])
    _set(tmp_path, "choices", [{"prompt": "a", "choices": ["b"], "label": "0"}])
    assert untouched_sets(tmp_path, ["seen"]) == ("new", "trees")
    assert untouched_sets(tmp_path, ["seen"], ["trees"]) == ("trees",)
    with pytest.raises(UsageError, match="'seen' had a part in the backbone; known: new, trees"):
        untouched_sets(tmp_path, ["seen"], ["seen"])
    with pytest.raises(UsageError, match="'choices' cannot be used here"):
        untouched_sets(tmp_path, ["seen"], ["choices"])
    with pytest.raises(UsageError, match="no data set that had no part"):
        untouched_sets(tmp_path, ["seen", "new", "trees"])


def test_rows_that_share_a_text_with_a_listed_set_are_left_out(tmp_path: Path) -> None:
    seen = [
        {"text": "The court dismissed the case.", "text_pair": "It was a long trial", "score": 3},
        {"text": "Thank you!", "text_pair": "Some other words here", "score": 1},
    ]
    _set(tmp_path, "seen", seen)
    pairs = [
        ("something entirely new", "the  COURT dismissed the case"),
        ("something entirely new", "thank you"),  # so short that it says nothing
        ("some\u3000other words, here", "and a new text"),
        ("both of these", "were never seen"),
    ]
    rows = [{"text": one, "text_pair": other, "label": "same"} for one, other in pairs]
    folder = _set(tmp_path, "new", rows, rows)
    texts = listed_texts(tmp_path, ["seen", "missing"])
    found = measured_rows(folder, texts)
    assert (found.rows, found.shared) == ((rows[1], rows[3]), 2)
    assert measured_rows(folder, frozenset()).shared == 0


def test_words_of_tagged_rows_and_choices_are_texts_too(tmp_path: Path) -> None:
    tokens = ["New", "York", "is", "a", "city"]
    _set(
        tmp_path, "seen", [{"prompt": "?", "choices": ["New York is a city.", "no"], "label": "0"}]
    )
    row = {"tokens": tokens, "tags": ["O"] * 5}
    found = measured_rows(_set(tmp_path, "new", [row], [row]), listed_texts(tmp_path, ["seen"]))
    assert found.rows == ()


def test_the_training_file_chooses_and_the_validation_file_measures(tmp_path: Path) -> None:
    train, held_out = sentiment_rows(100), sentiment_rows(30, seed=5)
    folder = _set(tmp_path, "new", train, held_out)
    options = measured_options(folder, measured_rows(folder, frozenset()), 60)
    splits = read_splits(folder / "train.jsonl.gz", options)
    texts = {(row["text"],) for row in train}
    assert len(splits.train) == 60
    assert set(splits.train.inputs) | set(splits.validation.inputs) <= texts
    assert not set(splits.train.inputs) & set(splits.validation.inputs)
    assert splits.test is not None
    assert splits.test.inputs == tuple((row["text"],) for row in held_out)
    assert splits.folds == ()


def test_parts_of_speech_are_tags(tmp_path: Path) -> None:
    row = {"tokens": ["a", "day"], "upos": ["DET", "NOUN"], "head": [2, 0], "deprel": ["x", "y"]}
    rows = [row | {"tokens": ["a", f"day{number}"]} for number in range(40)]
    folder = _set(tmp_path, "trees", rows, rows)
    options = measured_options(folder, measured_rows(folder, frozenset()), 60)
    splits = read_splits(folder / "train.jsonl.gz", options)
    assert splits.train.kind == "tagging"
    assert [span.entity for span in splits.train.spans()[0]] == ["DET", "NOUN"]
