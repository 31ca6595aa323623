"""The digest of a tokenizer: the same for the same ids, whichever files it was read from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AlbertTokenizer, BertTokenizer, PreTrainedTokenizerFast

from adapterhub.families import ALBERT, FAMILIES
from adapterhub.model.tokenizers.described import counts_spaces
from adapterhub.model.tokenizers.special_tokens import (
    SPECIAL_TOKENS,
    special_tokens,
    usual_tokens,
)
from adapterhub.model.tokenizers.tokenizer_files import read_json

# The digests of tokenizers that ALBERTs have are part of heads since version 0.1. The name of the
# class and its settings stand for its rules.
_ALBERTS: dict[type[PreTrainedTokenizerFast], tuple[str, tuple[str, ...]]] = {
    AlbertTokenizer: ("AlbertTokenizer", ("do_lower_case", "keep_accents", "add_prefix_space")),
    BertTokenizer: (
        "BertTokenizer",
        ("do_lower_case", "strip_accents", "tokenize_chinese_chars"),
    ),
    PreTrainedTokenizerFast: ("PreTrainedTokenizerFast", ()),
}
_OTHERS = FAMILIES.keys() - {ALBERT.name}


def tokenizer_digest(folder: Path, tokenizer: PreTrainedTokenizerFast) -> bytes:
    """Returns the sha256 over vocabulary, rules and special tokens."""
    family = read_json(folder / "config.json").get("model_type")
    kind = type(tokenizer)
    if kind in _ALBERTS and family not in _OTHERS:
        parts = _parts_of_albert(folder, tokenizer, kind)
    else:
        parts = _parts(tokenizer)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()


def _parts_of_albert(
    folder: Path, tokenizer: PreTrainedTokenizerFast, kind: type[PreTrainedTokenizerFast]
) -> list[object]:
    name, settings = _ALBERTS[kind]
    parts: list[object] = [
        name,
        {role: getattr(tokenizer, f"{role}_token_id") for role in SPECIAL_TOKENS},
        sorted((index, token.content) for index, token in tokenizer.added_tokens_decoder.items()),
        {name: getattr(tokenizer, name) for name in settings},
        _rules_of_albert(folder, tokenizer, kind),
    ]
    added = special_tokens(tokenizer)
    if added != usual_tokens(tokenizer):
        parts.append(dataclasses.astuple(added))
    return parts


def _rules_of_albert(
    folder: Path, tokenizer: PreTrainedTokenizerFast, kind: type[PreTrainedTokenizerFast]
) -> list[object]:
    """Returns the vocabulary and the rules that the files, not the settings, decide."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = _rounded(backend["model"]["vocab"])
    if kind is PreTrainedTokenizerFast:
        content = read_json(folder / "tokenizer.json")
        model = {**content["model"], "vocab": vocabulary}
        return [content.get("normalizer"), content.get("pre_tokenizer"), model]
    # The character map of a SentencePiece model is the only rule that its class does not fix.
    normalizer = backend["normalizer"] or {}
    steps = normalizer.get("normalizers", [normalizer])
    maps = [step.get("precompiled_charsmap") for step in steps]
    return [vocabulary, [found for found in maps if found]]


def _rounded(vocabulary: Any) -> Any:
    """Returns a vocabulary without the last digits of its scores.

    The tokenizers library may change them when it reads a file.
    """
    if isinstance(vocabulary, list):
        return [[piece, round(score, 6)] for piece, score in vocabulary]
    return vocabulary


def _parts(tokenizer: PreTrainedTokenizerFast) -> list[object]:
    """Returns all that decides the ids of texts, in one form for all files and classes."""
    fast = tokenizer.backend_tokenizer
    backend = json.loads(fast.to_str())
    model = backend["model"]
    vocabulary = model.pop("vocab")
    rules = {name: value for name, value in model.items() if value is not False and value != ""}
    rules = {name: value for name, value in rules.items() if value is not None}
    if "unk_token" not in rules:
        rules.pop("fuse_unk", None)
    spaces = counts_spaces(fast)
    return [
        rules,
        # As lines, since lists of lists keep the garbage collector busy for seconds.
        [f"{piece} {score:.6f}" for piece, score in vocabulary]
        if isinstance(vocabulary, list)
        else vocabulary,
        _steps(backend["normalizer"], "normalizers"),
        _steps(backend["pre_tokenizer"], "pretokenizers"),
        [
            [
                token["id"],
                token["content"],
                token["single_word"],
                # Of no effect where spaces are dropped, or nothing is changed before.
                spaces and token["lstrip"],
                spaces and token["rstrip"],
                backend["normalizer"] is not None and token["normalized"],
            ]
            for token in backend["added_tokens"]
        ],
        dataclasses.astuple(special_tokens(tokenizer)),
    ]


def _steps(rules: Mapping[str, Any] | None, name: str) -> list[dict[str, Any]]:
    """Returns the steps of a normalizer or pre-tokenizer, without what changes no id."""
    if rules is None:
        return []
    if rules["type"] == "Sequence":
        return [step for part in rules[name] for step in _steps(part, name)]
    step = {key: value for key, value in rules.items() if key != "trim_offsets"}
    if step["type"] == "BertNormalizer" and step["strip_accents"] is None:
        step["strip_accents"] = step["lowercase"]
    return [step]
