"""Folders with the tokenizer files that repositories on the Hub have."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.tokenizers.tokenizer_digest import tokenizer_digest
from adapterhub.model.tokenizers.tokenizer_files import load_tokenizer
from adapterhub.plan import Reading

JSON_AND_WORDS = "tokenizer.json vocab.txt"
JSON_AND_MERGES = "tokenizer.json vocab.json merges.txt"
JSON_AND_PIECES = "tokenizer.json sentencepiece.bpe.model"
ROWS = 1_200
WORDS = "The Good City Film Early Late Berlin London Paris Anna Peter Maria school people".split()  # noqa: SIM905
TEXTS = (
    "the good city",
    "The Good  City, naïve CAFÉ cafe\u0301!",
    "  中国的天气很好。it is good\r\n\tand  late ",
    "ＡＢ ﬁlm ½ \u3000\xa0the\u200bcity \x10x",
    "👩\u200d👩\u200d👧 a film about [MASK] and </s> <mask>x",
    "x" * 120,
    "",
)

# transformers reads a pair with an empty second text as a single text.
PAIRS = list(zip(TEXTS[:-1], TEXTS[-2::-1], strict=True))

Fast = PreTrainedTokenizerFast


def write_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the tokenizer.json of a folder."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def layout(source: Path, folder: Path, files: str, *, model_type: str, **config: object) -> Path:
    """Copies some vocabulary files and writes the configs beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in files.split():
        shutil.copy(source / name, folder / name)
    write_json(folder / "config.json", model_type=model_type, vocab_size=ROWS)
    if config:
        write_json(folder / "tokenizer_config.json", **config)
    return folder


def load(folder: Path) -> Fast:
    return load_tokenizer(folder, vocab_size=ROWS)


def digest(folder: Path) -> bytes:
    return tokenizer_digest(folder, load(folder))


def ids(folder: Path) -> list[list[int]]:
    """Returns the ids of the texts in windows of our own, and of pairs of them."""
    tokenizer = TextTokenizer(load(folder))
    return [
        window.ids + window.type_ids
        for fields, inputs in (
            (("text",), [(text,) for text in TEXTS]),
            (("text", "text_pair"), PAIRS),
        )
        for reading in (Reading(fields, 512, 0),)
        for window in tokenizer.windows(
            tokenizer.rows(inputs, reading=reading, max_windows=1), reading=reading
        )
    ]


def expected(reference: Any) -> list[list[int]]:
    """Returns the ids and types that a tokenizer of transformers gives."""
    inputs = [*((text,) for text in TEXTS), *PAIRS]
    found = [reference(*texts, return_token_type_ids=True) for texts in inputs]
    return [one["input_ids"] + one["token_type_ids"] for one in found]


def newer_pieces(content: dict[str, Any]) -> None:
    """Gives XLM-R's tokenizer the rules that transformers 4.39 and later wrote for it."""
    content["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            content["normalizer"],
            {"type": "Strip", "strip_left": False, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"},
        ],
    }
    content["pre_tokenizer"] = content["pre_tokenizer"]["pretokenizers"][1]


def before_words(content: dict[str, Any]) -> None:
    content["pre_tokenizer"]["add_prefix_space"] = True


def with_lower_case(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "Lowercase"}


def of_one_type(content: dict[str, Any]) -> None:
    for part in content["post_processor"]["pair"]:
        next(iter(part.values()))["type_id"] = 0
