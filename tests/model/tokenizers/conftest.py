"""The vocabulary files of each family, written once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tests.encoders import save_tokenizer
from tests.model.tokenizers.layouts import (
    ROWS,
    WORDS,
    write_json,
)
from tests.tiny import vocabulary


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the folder of the vocabulary files of a family, with the tokenizer.json of each."""

    @cache
    def write(family: str) -> Path:
        folder = tmp_path_factory.mktemp(family)
        if family == "cased":
            lines = [*vocabulary(), *WORDS, *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
            (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        else:
            save_tokenizer(folder, family)
        name = "bert" if family == "cased" else family
        write_json(folder / "config.json", model_type=name, vocab_size=ROWS)
        settings = {"do_lower_case": False} if family == "cased" else {}
        found = AutoTokenizer.from_pretrained(str(folder), **settings)
        found.backend_tokenizer.save(str(folder / "tokenizer.json"))
        return folder

    return write
