"""The digest is of the ids that a tokenizer gives, not of its files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.model.tokenizers.layouts import (
    JSON_AND_MERGES,
    JSON_AND_PIECES,
    JSON_AND_WORDS,
    before_words,
    digest,
    edited,
    ids,
    layout,
    load,
    newer_pieces,
    of_one_type,
    with_lower_case,
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "files"),
    [
        ("bert", ["vocab.txt", "tokenizer.json", JSON_AND_WORDS]),
        ("roberta", ["vocab.json merges.txt", "tokenizer.json", JSON_AND_MERGES]),
        ("xlm-roberta", ["sentencepiece.bpe.model", "tokenizer.json", JSON_AND_PIECES]),
    ],
)
def test_the_digest_is_of_the_ids_and_not_of_the_files(
    family: str, files: list[str], written: Callable[[str], Path], tmp_path: Path
) -> None:
    named = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta"}[family]
    found: set[bytes] = set()
    for index, some in enumerate(files):
        for config in ({}, {"tokenizer_class": f"{named}Tokenizer"}, {"model_max_length": 64}):
            folder = tmp_path / f"{index}{len(found)}{len(config)}"
            folder = layout(written(family), folder, some, model_type=family, **config)
            saved = tmp_path / f"{folder.name}-saved"
            load(folder).save_pretrained(saved)
            shutil.copy(folder / "config.json", saved)
            found |= {digest(folder), digest(saved)}
    assert len(found) == 1


def swap_merges(content: dict[str, Any]) -> None:
    lines = content["model"]["merges"]
    lines[20], lines[30] = lines[30], lines[20]


CHANGES: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "lower case": ("bert", lambda c: c["normalizer"].update(lowercase=False)),
    "accents": ("bert", lambda c: c["normalizer"].update(strip_accents=False)),
    "controls": ("bert", lambda c: c["normalizer"].update(clean_text=False)),
    "prefix": ("bert", lambda c: c["model"].update(continuing_subword_prefix="#")),
    "longest word": ("bert", lambda c: c["model"].update(max_input_chars_per_word=9)),
    "one type": ("bert", of_one_type),
    "added token": (
        "bert",
        lambda c: c["added_tokens"].append({**c["added_tokens"][0], "id": 300, "content": "qq"}),
    ),
    "token": ("bert", lambda c: c["model"]["vocab"].update(film=9, h=c["model"]["vocab"]["film"])),
    "space before": ("roberta", before_words),
    "case": ("roberta", with_lower_case),
    "order of merges": ("roberta", swap_merges),
    "mask eats its space": ("roberta", lambda c: c["added_tokens"][4].update(lstrip=True)),
    "no regex": ("roberta", lambda c: c["pre_tokenizer"].update(use_regex=False)),
    "score": ("xlm-roberta", lambda c: c["model"]["vocab"][20].__setitem__(1, -1.0)),
    "newer rules": ("xlm-roberta", newer_pieces),
    "no rules": ("xlm-roberta", lambda c: c.update(normalizer=None)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_each_rule_changes_the_digest(
    name: str, written: Callable[[str], Path], tmp_path: Path
) -> None:
    family, change = CHANGES[name]
    plain = layout(written(family), tmp_path / "a", "tokenizer.json", model_type=family)
    other = layout(written(family), tmp_path / "b", "tokenizer.json", model_type=family)
    edited(other, change)
    assert digest(plain) != digest(other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("bert", lambda c: c["normalizer"].update(strip_accents=True)),
        ("bert", lambda c: c.update(decoder=None)),
        ("bert", lambda c: c["added_tokens"][4].update(lstrip=True)),
        ("roberta", lambda c: c["added_tokens"][0].update(normalized=True)),
        ("roberta", lambda c: c["pre_tokenizer"].update(trim_offsets=False)),
        ("roberta", lambda c: c["post_processor"].update(trim_offsets=False)),
        ("xlm-roberta", lambda c: c["added_tokens"][4].update(lstrip=True)),
    ],
)
def test_what_changes_no_id_leaves_the_digest(
    family: str,
    change: Callable[[dict[str, Any]], object],
    written: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    plain = layout(written(family), tmp_path / "a", "tokenizer.json", model_type=family)
    other = layout(written(family), tmp_path / "b", "tokenizer.json", model_type=family)
    edited(other, change)
    assert ids(plain) == ids(other)
    assert digest(plain) == digest(other)
