"""Checks of a loaded tokenizer: that it works, and that it fits the tables of a backbone."""

from __future__ import annotations

from collections.abc import Mapping

from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from adapterhub.model.tokenizers.described import SPACE
from adapterhub.model.tokenizers.special_tokens import special_tokens

ID_BITS = 20
"""Bits of an id plus one in the features of n-grams, of which three fit an integer."""

_PROBES = (
    "The quick brown fox said that it would be back before the end of the year.",
    "中国人民在这个城市的学校里学习，他们说今年的天气很好。",
)
# A tokenizer whose vocabulary was not found has 5 tokens, the special ones.
_SMALLEST_VOCABULARY = 100
# The lowest rate of unknown tokens of the probes and of words of the vocabulary; a tokenizer that
# was loaded wrongly has 1.
_HIGHEST_UNKNOWN_RATE = 0.2
# Right merges make all tokens but a few that were added by hand, those of another model hardly one.
_LOWEST_MADE_SHARE = 0.8
_SAMPLE = 500
# Those of RoBERTa; the shortest window has to hold tokens of both texts besides.
_MOST_SPECIAL = 4
_SHORTEST_WORD = 3


def check_fit(
    tokenizer: PreTrainedTokenizerFast,
    vocabulary: Mapping[str, int],
    *,
    missing: str | None,
    vocab_size: int,
    type_vocab_size: int,
    padding: int | None,
) -> str | None:
    """Returns why a tokenizer cannot be used with a backbone, or None.

    Args:
        tokenizer: The tokenizer.
        vocabulary: Its ids by token, with added ones.
        missing: A special token that its class added, because the files have none.
        vocab_size: Rows of the token table.
        type_vocab_size: Rows of the table of token types.
        padding: Id of the padding token behind which positions start, if they do.
    """
    if len(vocabulary) < _SMALLEST_VOCABULARY:
        return (
            f"the tokenizer has only {len(vocabulary)} tokens; its vocabulary file was not found "
            f"or is damaged"
        )
    if missing is not None:
        return f"the vocabulary has no {missing} token; it is damaged, or of another model"
    highest = max(vocabulary.values())
    if highest >= vocab_size:
        return (
            f"the tokenizer gives ids up to {highest}, the token table has {vocab_size} rows; "
            f"these files belong to another backbone"
        )
    problem = _special_problem(tokenizer, type_vocab_size, padding)
    if problem is not None:
        return problem
    lowest = min(_unknown_rate(tokenizer, probe) for probe in _PROBES)
    if lowest > _HIGHEST_UNKNOWN_RATE:
        own = " ".join(_own_words(vocabulary))
        if _unknown_rate(tokenizer, own) > _HIGHEST_UNKNOWN_RATE:
            return (
                f"the tokenizer does not know {lowest:.0%} of plain English and Chinese text, nor "
                f"words of its own vocabulary; it was loaded wrongly"
            )
    # A table padded to a power of two has more rows used than not.
    if highest + 1 <= vocab_size / 2:
        return (
            f"the tokenizer gives ids up to {highest}, most of the {vocab_size} rows of the token "
            f"table are of no use to it; it belongs to another backbone"
        )
    if highest + 1 >= 2**ID_BITS:
        return f"the tokenizer gives ids up to {highest}; the highest possible is {2**ID_BITS - 2}"
    return _model_problem(tokenizer, vocabulary)


def _special_problem(
    tokenizer: PreTrainedTokenizerFast, type_vocab_size: int, padding: int | None
) -> str | None:
    for role in ("cls", "sep", "pad"):
        if getattr(tokenizer, f"{role}_token_id") is None:
            return f"the tokenizer has no [{role.upper()}] token"
    try:
        special = special_tokens(tokenizer)
    except ValueError as error:
        return f"the tokenizer cannot be used: {error}"
    if len(special.before) != 1:
        return (
            f"the tokenizer adds {len(special.before)} special tokens before a text; expected one, "
            f"such as [CLS]"
        )
    most = max(special.count(1), special.count(2))
    if most > _MOST_SPECIAL:
        return (
            f"the tokenizer adds {most} special tokens to a text or pair; at most {_MOST_SPECIAL}"
        )
    types = max(special.second_type, *special.between_types, 0)
    # A table of one type is for tokenizers that give it to both texts, and those that do not.
    if type_vocab_size > 1 and types >= type_vocab_size:
        return f"the tokenizer gives the type {types}, the backbone has {type_vocab_size} types"
    if padding is not None and padding != tokenizer.pad_token_id:
        token = tokenizer.convert_ids_to_tokens(padding)
        if token is not None and padding not in tokenizer.added_tokens_decoder:
            return (
                f"the padding token is {tokenizer.pad_token_id} to the tokenizer and {padding} to "
                f"config.json (pad_token_id), where it is {token!r}; these files belong to "
                f"different backbones"
            )
    return None


def _own_words(vocabulary: Mapping[str, int]) -> list[str]:
    """Returns a sample of the words of a vocabulary, which may be of any language."""
    words = [token.lstrip(SPACE) for token in vocabulary if not token.startswith("#")]
    words = sorted(word for word in words if len(word) >= _SHORTEST_WORD and word.isalpha())
    return words[:: max(1, len(words) // _SAMPLE)]


def _unknown_rate(tokenizer: PreTrainedTokenizerFast, text: str) -> float:
    ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    # Models without an unknown token drop what they do not know.
    return ids.count(tokenizer.unk_token_id) / len(ids) if ids else 1.0


def _model_problem(tokenizer: PreTrainedTokenizerFast, vocabulary: Mapping[str, int]) -> str | None:
    """Returns what is wrong with merges, or None.

    A vocabulary of bytes knows every text, so unknown tokens show nothing: without its merges,
    every byte is a token.
    """
    model = tokenizer.backend_tokenizer.model
    if not isinstance(model, BPE):
        return None
    if model.dropout:
        return "its merges have dropout, so that a text has other tokens each time"
    added = tokenizer.added_tokens_decoder
    tokens = [token for token, index in vocabulary.items() if len(token) > 1 and index not in added]
    sample = sorted(tokens)[:: max(1, len(tokens) // _SAMPLE)]
    made = sum([part.value for part in model.tokenize(token)] == [token] for token in sample)
    if made < _LOWEST_MADE_SHARE * len(sample):
        return (
            f"its merges make only {made / len(sample):.0%} of the tokens of its vocabulary; they "
            f"are cut off, or belong to another vocabulary"
        )
    return None
