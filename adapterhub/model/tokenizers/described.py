"""What the files of a tokenizer say of its rules: case, accents, spaces, special tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel, Metaspace, PreTokenizer, Sequence

from adapterhub.model.tokenizers.special_tokens import special_tokens_of

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""SentencePiece's symbol for a space."""

# Settings of BertTokenizer and what BertNormalizer calls them.
_OF_BERT = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
# Of the words of a cased vocabulary a third and more have a capital, of a lower-cased one none.
_CASED_SHARE = 0.05
_FEWEST_CASED = 10
_SHORTEST_WORD = 3  # letters alone are in many vocabularies in both cases


def settings_of_bert(fast: FastTokenizer) -> dict[str, Any] | None:
    """Returns the settings with which BertTokenizer gives the same ids; None if it cannot."""
    rules, model = fast.normalizer, fast.model
    if not isinstance(rules, BertNormalizer) or not rules.clean_text:
        return None
    if not isinstance(fast.pre_tokenizer, BertPreTokenizer) or not isinstance(model, WordPiece):
        return None
    if model.continuing_subword_prefix != "##" or model.max_input_chars_per_word != 100:
        return None
    added = special_tokens_of(fast)
    if added is not None:
        one = added.after
        others = (added.between, added.end, added.between_types, (added.second_type,))
        if len(added.before) != 1 or len(one) != 1 or others != (one, one, (0,), (1,)):
            return None
    return {name: getattr(rules, own) for name, own in _OF_BERT.items()}


def apply_settings(fast: FastTokenizer, given: Mapping[str, Any]) -> None:
    """Sets the rules that `tokenizer_config.json` gives, in place of those of `tokenizer.json`."""
    rules = fast.normalizer
    if isinstance(rules, BertNormalizer):
        for name, own in _OF_BERT.items():
            if isinstance(given.get(name), bool):
                setattr(rules, own, given[name])
    prefix = given.get("add_prefix_space")
    if isinstance(prefix, bool):
        for step in _steps(fast.pre_tokenizer):
            if isinstance(step, ByteLevel):
                step.add_prefix_space = prefix
            elif isinstance(step, Metaspace) and prefix != (step.prepend_scheme != "never"):
                step.prepend_scheme = "always" if prefix else "never"


def is_cased(folder: Path) -> bool:
    """Returns whether a `vocab.txt` has words with capitals, which lower case never finds."""
    lines = (folder / "vocab.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    words = [line for line in lines if len(line) >= _SHORTEST_WORD and line.isalpha()]
    cased = sum(word != word.lower() for word in words)
    return cased >= _FEWEST_CASED and cased > _CASED_SHARE * len(words)


def counts_spaces(fast: FastTokenizer) -> bool:
    """Returns whether the number of spaces between two words changes the tokens."""
    one, many = (fast.encode(f"a{gap}a", add_special_tokens=False) for gap in (" ", " \n\t   "))
    return bool(one.ids != many.ids)


def has_bytes(fast: FastTokenizer) -> bool:
    """Returns whether the tokens are made of bytes."""
    return any(isinstance(step, ByteLevel) for step in _steps(fast.pre_tokenizer))


def _steps(rules: PreTokenizer | None) -> Iterator[PreTokenizer]:
    if isinstance(rules, Sequence):
        count = len(json.loads(rules.__getstate__())["pretokenizers"])
        for index in range(count):
            yield from _steps(rules[index])
    elif rules is not None:
        yield rules
