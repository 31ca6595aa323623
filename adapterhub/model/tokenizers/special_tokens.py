"""The special tokens around a text or a pair, as the tokenizer itself adds them."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Encoding
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

# By role; the names where no config has them, as in many checkpoints.
SPECIAL_TOKENS = {
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "pad": ("<pad>", "[PAD]"),
    "unk": ("<unk>", "[UNK]"),
    "mask": ("[MASK]", "<mask>"),
}


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The ids of special tokens, and the types of all tokens of a pair.

    Attributes:
        before: Before a text, and before the first text of a pair.
        after: After a text.
        between: Between the texts of a pair.
        end: After the second text of a pair.
        between_types: The types of `between`.
        second_type: The type of the second text of a pair, and of `end`.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    between: tuple[int, ...]
    end: tuple[int, ...]
    between_types: tuple[int, ...]
    second_type: int

    def count(self, fields: int) -> int:
        """Returns the number of special tokens of a window with one or two texts."""
        if fields == 1:
            return len(self.before) + len(self.after)
        return len(self.before) + len(self.between) + len(self.end)

    def around(self, ids: list[int]) -> tuple[list[int], list[int]]:
        """Returns ids and types of a window with one text."""
        window = [*self.before, *ids, *self.after]
        return window, [0] * len(window)

    def around_pair(self, one: list[int], two: list[int]) -> tuple[list[int], list[int]]:
        """Returns ids and types of a window with two texts."""
        ids = [*self.before, *one, *self.between, *two, *self.end]
        first = [0] * (len(self.before) + len(one))
        second = [self.second_type] * (len(two) + len(self.end))
        return ids, [*first, *self.between_types, *second]


def usual_tokens(tokenizer: PreTrainedTokenizerFast) -> SpecialTokens:
    """Returns BERT's special tokens: [CLS] one [SEP] two [SEP], with types 0 and 1."""
    cls, sep = int(tokenizer.cls_token_id), int(tokenizer.sep_token_id)
    return SpecialTokens((cls,), (sep,), (sep,), (sep,), (0,), 1)


def special_tokens(tokenizer: PreTrainedTokenizerFast) -> SpecialTokens:
    """Returns the special tokens that a tokenizer adds; BERT's, if it adds none.

    Raises:
        ValueError: It adds them in a form that a window does not have.
    """
    return special_tokens_of(tokenizer.backend_tokenizer) or usual_tokens(tokenizer)


def special_tokens_of(fast: FastTokenizer) -> SpecialTokens | None:
    """Returns the special tokens that the post-processor of a tokenizer adds; None if none.

    Raises:
        ValueError: It adds them in a form that a window does not have.
    """
    fast = _unlimited(fast)
    if not fast.num_special_tokens_to_add(False) or not fast.num_special_tokens_to_add(True):
        return None
    one, two = _probe(fast.encode("a")), _probe(fast.encode("a", "b"))
    (before, after), (_, between, end) = one.runs(2), two.runs(3)
    found = SpecialTokens(
        before=_ids(before),
        after=_ids(after),
        between=_ids(between),
        end=_ids(end),
        between_types=tuple(token.type for token in between),
        second_type=next(token.type for token in two.tokens if token.text == 1),
    )
    rebuilt = found.around(one.ids_of(0)), found.around_pair(two.ids_of(0), two.ids_of(1))
    if rebuilt != (one.plain, two.plain):
        raise ValueError("it gives types to single texts, or other special tokens to pairs")
    return found


def add_special_tokens_of_roberta(tokenizer: PreTrainedTokenizerFast) -> None:
    """Makes a tokenizer that adds no special tokens add those of RoBERTa, of one type for all."""
    fast, cls, sep = tokenizer.backend_tokenizer, tokenizer.cls_token, tokenizer.sep_token
    if fast.num_special_tokens_to_add(False) or cls is None or sep is None:
        return
    fast.post_processor = TemplateProcessing(
        single=[cls, "$A", sep],
        pair=[cls, "$A", sep, sep, "$B", sep],
        special_tokens=[(cls, tokenizer.cls_token_id), (sep, tokenizer.sep_token_id)],
    )


def _unlimited(fast: FastTokenizer) -> FastTokenizer:
    """Returns a tokenizer that cuts and pads nothing, without changing the given one."""
    if fast.truncation is None and fast.padding is None:
        return fast
    own = FastTokenizer.from_str(fast.to_str())
    own.no_truncation()
    own.no_padding()
    return own


@dataclass(frozen=True, slots=True)
class _Token:
    """A token of a probe: its id, its type, and the text that it is of; None if special."""

    id: int
    type: int
    text: int | None


@dataclass(frozen=True, slots=True)
class _Probe:
    """The tokens of a text or pair with special tokens."""

    tokens: tuple[_Token, ...]

    @property
    def plain(self) -> tuple[list[int], list[int]]:
        """Returns ids and types."""
        return [token.id for token in self.tokens], [token.type for token in self.tokens]

    def ids_of(self, text: int) -> list[int]:
        """Returns the ids of a text."""
        return [token.id for token in self.tokens if token.text == text]

    def runs(self, count: int) -> list[list[_Token]]:
        """Returns the special tokens before, between and behind the texts.

        Raises:
            ValueError: A text has no token, or special tokens inside.
        """
        found: list[list[_Token]] = [[]]
        last = None
        for token in self.tokens:
            if token.text is None:
                found[-1].append(token)
            elif token.text != last or found[-1]:
                last = token.text
                found.append([])
        if len(found) != count:
            raise ValueError("it puts special tokens inside a text, or drops letters")
        return found


def _probe(encoding: Encoding) -> _Probe:
    rows = zip(encoding.ids, encoding.type_ids, encoding.sequence_ids, strict=True)
    return _Probe(tuple(_Token(*row) for row in rows))


def _ids(tokens: list[_Token]) -> tuple[int, ...]:
    return tuple(token.id for token in tokens)
