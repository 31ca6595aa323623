"""A made-up bilingual corpus, its vocabulary and its shards, once per test run."""

from __future__ import annotations

import lzma
import random
from pathlib import Path

import pytest

from recipes.backbone.shards import write_shards
from recipes.backbone.vocabulary import save_tokenizer, train_vocabulary

EN = "the river runs through old town while many people watch boats under a bridge".split()  # noqa: SIM905
ZH = "小河流过老城很多人在石桥下看船天气好时孩子们也来"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    chance = random.Random(0)

    def english() -> str:
        words = chance.choices(EN, k=chance.randint(5, 9))
        return " ".join(words).capitalize() + "."

    def chinese() -> str:
        return "".join(chance.choices(ZH, k=chance.randint(6, 12))) + "。"

    for language, sentence, space in (("en", english, " "), ("zh", chinese, "")):
        documents = (
            "\n".join(space.join(sentence() for _ in range(8)) for _ in range(3))
            for _ in range(600)
        )
        (folder / language).mkdir()
        with lzma.open(folder / language / "made-000.txt.xz", "wt", encoding="utf-8") as file:
            file.write("\n\n".join(documents) + "\n")
    return folder


@pytest.fixture(scope="session")
def tokenizer_folder(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_vocabulary(corpus, vocab_size=64, threads=1), folder)
    return folder


@pytest.fixture(scope="session")
def shards(corpus, tokenizer_folder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    write_shards(corpus, tokenizer_folder, folder)
    return folder
