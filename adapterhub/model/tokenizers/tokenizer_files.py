"""Loads the tokenizer of a folder and checks it.

transformers 5 silently loads a 5-token tokenizer when a folder lacks the files of the class that
it guesses (every text becomes `[CLS] <unk> [SEP]`). So the class is chosen here, in this order, and
the loaded tokenizer is checked:

1. the class that `tokenizer_config.json` or `config.json` names, else
2. `tokenizer.json` as PreTrainedTokenizerFast, else
3. `spiece.model` as AlbertTokenizer, else
4. `sentencepiece.bpe.model` as XLMRobertaTokenizer, else
5. `vocab.txt` as BertTokenizer, else
6. `vocab.json` with `merges.txt` as RobertaTokenizer, else refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from transformers import (
    AlbertTokenizer,
    BertTokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from adapterhub.errors import TokenizerError
from adapterhub.model.tokenizers.special_tokens import special_tokens, usual_tokens

_CLASS_OF_FILE = {
    "tokenizer.json": "PreTrainedTokenizerFast",
    "spiece.model": "AlbertTokenizer",
    "sentencepiece.bpe.model": "XLMRobertaTokenizer",
    "vocab.txt": "BertTokenizer",
    "vocab.json": "RobertaTokenizer",
}
VOCABULARY_FILES = tuple(_CLASS_OF_FILE)
MERGES_FILE = "merges.txt"
TOKENIZER_FILES = (
    *VOCABULARY_FILES,
    MERGES_FILE,
    "tokenizer_config.json",
    "special_tokens_map.json",
)

_CLASSES: dict[str, type[PreTrainedTokenizerFast]] = {
    "AlbertTokenizer": AlbertTokenizer,
    "AlbertTokenizerFast": AlbertTokenizer,
    "BertTokenizer": BertTokenizer,
    "BertTokenizerFast": BertTokenizer,
    "DistilBertTokenizer": BertTokenizer,
    "DistilBertTokenizerFast": BertTokenizer,
    "ElectraTokenizer": BertTokenizer,
    "ElectraTokenizerFast": BertTokenizer,
    "PreTrainedTokenizerFast": PreTrainedTokenizerFast,
    "RobertaTokenizer": RobertaTokenizer,
    "RobertaTokenizerFast": RobertaTokenizer,
    "TokenizersBackend": PreTrainedTokenizerFast,
    "XLMRobertaTokenizer": XLMRobertaTokenizer,
    "XLMRobertaTokenizerFast": XLMRobertaTokenizer,
}
_NEEDED_BY_CLASS: dict[type[PreTrainedTokenizerFast], tuple[tuple[str, ...], ...]] = {
    AlbertTokenizer: (("tokenizer.json",), ("spiece.model",)),
    BertTokenizer: (("tokenizer.json",), ("vocab.txt",)),
    PreTrainedTokenizerFast: (("tokenizer.json",),),
    # Without merges, transformers makes a token of every byte and says nothing.
    RobertaTokenizer: (("tokenizer.json",), ("vocab.json", MERGES_FILE)),
    XLMRobertaTokenizer: (("tokenizer.json",), ("sentencepiece.bpe.model",)),
}
"""The files of each class: any of these groups, whole."""

# Settings of each class that change the ids of a text; part of the digest.
_SETTINGS: dict[type[PreTrainedTokenizerFast], tuple[str, ...]] = {
    AlbertTokenizer: ("do_lower_case", "keep_accents", "add_prefix_space"),
    BertTokenizer: ("do_lower_case", "strip_accents", "tokenize_chinese_chars"),
    PreTrainedTokenizerFast: (),
    RobertaTokenizer: ("add_prefix_space",),
    XLMRobertaTokenizer: ("add_prefix_space",),
}
# Names of special tokens where no config has them, as in many checkpoints.
_SPECIAL_TOKENS = {
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "pad": ("<pad>", "[PAD]"),
    "unk": ("<unk>", "[UNK]"),
    "mask": ("[MASK]", "<mask>"),
}
_PROBES = (
    "The quick brown fox said that it would be back before the end of the year.",
    "中国人民在这个城市的学校里学习，他们说今年的天气很好。",
)
# A tokenizer whose vocabulary was not found has 5 tokens, the special ones.
_SMALLEST_VOCABULARY = 100
# The lower rate of unknown tokens of the two probes; a tokenizer that was loaded wrongly has 1.
_HIGHEST_UNKNOWN_RATE = 0.2


def load_tokenizer(folder: Path, *, vocab_size: int) -> PreTrainedTokenizerFast:
    """Returns the checked tokenizer of a folder.

    Args:
        folder: The folder of the tokenizer files.
        vocab_size: Rows of the backbone's token table; every id must be below it, and more than
            half of them must be in use.

    Raises:
        TokenizerError: The files are missing, damaged, or do not match the backbone.
    """
    name = tokenizer_class_name(folder)
    read = _files_of(name, folder)
    try:
        tokenizer: PreTrainedTokenizerFast
        tokenizer = _CLASSES[name].from_pretrained(str(folder), local_files_only=True)
    # The tokenizers library raises plain Exception for a damaged vocabulary.
    except Exception as error:
        problem = f"{read} is damaged or no such file, {name} cannot read it"
        if not read.endswith(".model"):
            problem += f": {error}"
        # Without `error` for SentencePiece: it only names another library that is missing.
        raise TokenizerError(str(folder), f"{problem}. Fetch it again.") from error
    _name_special_tokens(tokenizer)
    _check(tokenizer, folder, vocab_size)
    return tokenizer


def _files_of(name: str, folder: Path) -> str:
    """Returns the files of a class that a folder has, for messages.

    Raises:
        TokenizerError: It has none of them whole.
    """
    groups = _NEEDED_BY_CLASS[_CLASSES[name]]
    for files in groups:
        if all((folder / file).is_file() for file in files):
            return " with ".join(files)
    needed = " or ".join(" with ".join(files) for files in groups)
    raise TokenizerError(
        str(folder), f"its tokenizer is of class {name}, which needs {needed}; add that file"
    )


def tokenizer_class_name(folder: Path) -> str:
    """Returns the name of the tokenizer class of `folder`, in the order of the module docstring.

    Raises:
        TokenizerError: The folder names an unknown class, or has no vocabulary file.
    """
    for config in ("tokenizer_config.json", "config.json"):
        name = _read_json(folder / config).get("tokenizer_class")
        if isinstance(name, str):
            if name not in _CLASSES:
                known = ", ".join(sorted(_CLASSES))
                raise TokenizerError(
                    str(folder), f"{config} names the tokenizer {name}; known are {known}"
                )
            return name
    for file in VOCABULARY_FILES:
        if (folder / file).is_file():
            return _CLASS_OF_FILE[file]
    raise TokenizerError(
        str(folder), f"no tokenizer; expected one of {', '.join(VOCABULARY_FILES)} in the folder"
    )


def tokenizer_digest(folder: Path, tokenizer: PreTrainedTokenizerFast) -> bytes:
    """Returns the sha256 over class, settings, special tokens and vocabulary.

    The same tokenizer has the same digest whichever of its files it was read from.
    """
    kind = _CLASSES[tokenizer_class_name(folder)]
    parts = [
        next(name for name, known in _CLASSES.items() if known is kind),
        {role: getattr(tokenizer, f"{role}_token_id") for role in _SPECIAL_TOKENS},
        sorted((index, token.content) for index, token in tokenizer.added_tokens_decoder.items()),
        {name: getattr(tokenizer, name) for name in _SETTINGS[kind]},
        _rules(folder, tokenizer, kind),
    ]
    added = special_tokens(tokenizer)
    if added != usual_tokens(tokenizer):
        parts.append(dataclasses.astuple(added))
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()


def _rules(
    folder: Path, tokenizer: PreTrainedTokenizerFast, kind: type[PreTrainedTokenizerFast]
) -> list[object]:
    """Returns the vocabulary and the rules that the files, not the settings, decide."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = backend["model"]["vocab"]
    if isinstance(vocabulary, list):
        # The tokenizers library may change the last digit of a score when it reads a file.
        vocabulary = [[piece, round(score, 6)] for piece, score in vocabulary]
    if kind is PreTrainedTokenizerFast:
        content: dict[str, Any] = _read_json(folder / "tokenizer.json")
        model = {**content["model"], "vocab": vocabulary}
        return [content.get("normalizer"), content.get("pre_tokenizer"), model]
    if kind is RobertaTokenizer:
        return [vocabulary, backend["model"]["merges"]]
    # The character map of a SentencePiece model is the only rule that its class does not fix.
    normalizer = backend["normalizer"] or {}
    steps = normalizer.get("normalizers", [normalizer])
    maps = [step.get("precompiled_charsmap") for step in steps]
    return [vocabulary, [found for found in maps if found]]


def _read_json(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TokenizerError(str(path.parent), f"{path.name} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise TokenizerError(str(path.parent), f"{path.name} is not a JSON object")
    return value


def _name_special_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    vocabulary = tokenizer.get_vocab()
    for role, names in _SPECIAL_TOKENS.items():
        name = next((name for name in names if name in vocabulary), None)
        if getattr(tokenizer, f"{role}_token") is None and name is not None:
            setattr(tokenizer, f"{role}_token", name)


def _check(tokenizer: PreTrainedTokenizerFast, folder: Path, vocab_size: int) -> None:
    source = str(folder)
    if len(tokenizer) < _SMALLEST_VOCABULARY:
        raise TokenizerError(
            source,
            f"the tokenizer has only {len(tokenizer)} tokens; its vocabulary file was not found "
            f"or is damaged",
        )
    highest = max(tokenizer.get_vocab().values())
    if highest >= vocab_size:
        raise TokenizerError(
            source,
            f"the tokenizer gives ids up to {highest}, the token table has {vocab_size} rows; "
            f"these files belong to another backbone",
        )
    for role in ("cls", "sep", "pad"):
        if getattr(tokenizer, f"{role}_token_id") is None:
            raise TokenizerError(source, f"the tokenizer has no [{role.upper()}] token")
    try:
        special_tokens(tokenizer)
    except ValueError as error:
        raise TokenizerError(source, f"the tokenizer cannot be used: {error}") from error
    lowest = min(_unknown_rate(tokenizer, probe) for probe in _PROBES)
    if lowest > _HIGHEST_UNKNOWN_RATE:
        raise TokenizerError(
            source,
            f"the tokenizer does not know {lowest:.0%} of plain English and Chinese text; "
            f"it was loaded wrongly or is for other languages",
        )
    # A table padded to a power of two has more rows used than not.
    if highest + 1 <= vocab_size / 2:
        raise TokenizerError(
            source,
            f"the tokenizer gives ids up to {highest}, most of the {vocab_size} rows of the token "
            f"table are of no use to it; it belongs to another backbone",
        )


def _unknown_rate(tokenizer: PreTrainedTokenizerFast, text: str) -> float:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids.count(tokenizer.unk_token_id) / max(len(ids), 1)
