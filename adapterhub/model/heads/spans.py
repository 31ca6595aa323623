"""Log-probabilities of tags per token -> entity spans with character offsets.

Each word gets the tag of its first token, so that no span ends inside a word. Words are runs of
letters and digits; a Han character or any other symbol is a word of its own, unless a token joins
it to what follows. As in UAX 29, invisible characters such as the soft hyphen do not part a word,
and no word ends inside a grapheme cluster such as a flag; none has only invisible characters.
Viterbi decoding finds the best valid sequence of tags: in BIO `I-x` only follows `B-x` or `I-x`,
and in BIOES every entity has its end.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import regex

from adapterhub.inputs import is_invisible
from adapterhub.results import Entity
from adapterhub.tags import OUTSIDE, have_ends, mark_of

Array = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

# Texts are decoded in groups of similar length, padded to the longest, to bound the padding.
_GROUP_ROWS = 128
# UAX 29 ignores these inside words (WB4), except controls: the tokenizer drops them there. A zero
# width space is none of them: it parts words.
_HIDDEN = regex.compile(r"[\p{WB=Format}\p{WB=ZWJ}\u200C\p{Cc}--\s]+", regex.V1)
_CLUSTER = regex.compile(r"\X")
_HAN_RANGES = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))


@dataclass(frozen=True)
class TaggedText:
    """A text and the offsets of its tokens.

    Attributes:
        text: The text as given.
        offsets: Start and end of each token, in code points.
    """

    text: str
    offsets: Sequence[tuple[int, int]]

    @cached_property
    def words(self) -> list[Word]:
        """Returns its words, computed once for all tasks that tag the text."""
        return words_of(self)

    @cached_property
    def units(self) -> list[Word]:
        """Returns its words with all characters of their tokens, the units of parsing.

        The words of tagging end where their letters do: `20` is one of `$20,000`, also where the
        next token is `0,000`. In a tree every character belongs to a word.
        """
        return whole_words(self)


@dataclass(frozen=True, slots=True)
class Word:
    """A word, the unit of tagging.

    Attributes:
        token: Index of its first token.
        start: Its first code point.
        end: The code point after its last one.
    """

    token: int
    start: int
    end: int


def words_of(text: TaggedText) -> list[Word]:
    """Returns the words of a text that start at a token, in text order.

    A token that starts inside a word belongs to that word; one that extends past the end of a word
    extends the word.
    """
    words: list[Word] = []
    for index, (start, end) in enumerate(text.offsets):
        # SentencePiece includes the space before a word in its first piece.
        while start < end and _is_invisible(text.text[start]):
            start += 1
        while start < end and _is_invisible(text.text[end - 1]):
            end -= 1
        if start >= end or (words and start < words[-1].end):
            continue
        last = _word_end(text.text, start)
        if end > last:
            last = _word_end(text.text, end - 1)
        words.append(Word(index, start, last))
    return words


def whole_words(text: TaggedText) -> list[Word]:
    """Returns the words of a text, which go on to the end of the last token that starts in them."""
    words = text.words
    nexts = [*words[1:], Word(len(text.offsets), len(text.text), len(text.text))]
    found = []
    for word, following in zip(words, nexts, strict=False):
        end = max(end for _, end in text.offsets[word.token : following.token])
        while end > word.end and _is_invisible(text.text[end - 1]):
            end -= 1
        found.append(replace(word, end=max(word.end, min(end, following.start))))
    return found


def decode_spans(
    scores: Sequence[Array], texts: Sequence[TaggedText], labels: Sequence[str]
) -> Iterator[list[Entity]]:
    """Yields the entities of each text.

    Args:
        scores: Per text, (tokens, K) log-probabilities of tags.
        texts: The texts.
        labels: The tags in column order.
    """
    words = [text.words for text in texts]
    by_word = [
        row[[word.token for word in found]] for row, found in zip(scores, words, strict=True)
    ]
    tags = best_tags(by_word, labels)
    for text, found, path, row in zip(texts, words, tags, by_word, strict=True):
        chosen = row[np.arange(len(path)), path] if len(path) else row[:0, 0]
        yield list(_entities(text.text, found, [labels[tag] for tag in path], np.exp(chosen)))


def best_tags(scores: Sequence[Array], labels: Sequence[str]) -> list[list[int]]:
    """Returns the best valid tag sequence for each (words, K) array of log-probabilities."""
    order = sorted(range(len(scores)), key=lambda index: len(scores[index]))
    paths: list[list[int]] = [[] for _ in scores]
    for first in range(0, len(order), _GROUP_ROWS):
        group = order[first : first + _GROUP_ROWS]
        for index, path in zip(group, _viterbi([scores[i] for i in group], labels), strict=True):
            paths[index] = path
    return paths


@dataclass(frozen=True, slots=True, eq=False)
class _Rules:
    """Which of K tags may follow which.

    Attributes:
        later: (L,) the tags that continue an entity, `I-x` and `E-x`; others follow closed tags.
        begin: (L,) the `B-x` of each.
        inside: (L,) the `I-x` of each, or `B-x` where there is none.
        closed: (K,) whether no entity is open after a tag.
    """

    later: Places
    begin: Places
    inside: Places
    closed: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, labels: Sequence[str]) -> _Rules:
        place = {label: index for index, label in enumerate(labels)}
        later = [label for label in labels if mark_of(label) in ("I", "E")]
        begin = [place[f"B-{label[2:]}"] for label in later]
        inside = [place.get(f"I-{label[2:]}", own) for label, own in zip(later, begin, strict=True)]
        ends = have_ends(labels)
        closed = [not ends or mark_of(label) not in ("B", "I") for label in labels]
        return cls(
            np.array([place[label] for label in later], np.int64),
            np.array(begin, np.int64),
            np.array(inside, np.int64),
            np.array(closed, np.bool_),
        )


def _viterbi(scores: Sequence[Array], labels: Sequence[str]) -> list[list[int]]:
    """Returns the best paths of one group: max-sum over (n, L, K) under the rules of the tags.

    A step needs the best closed tag, and for `I-x` and `E-x` the better of `B-x` and `I-x`: O(K)
    instead of O(K^2).
    """
    lengths = [len(row) for row in scores]
    steps = max(lengths, default=0)
    if steps == 0:
        return [[] for _ in scores]
    rules = _Rules.of(labels)
    later, begin, inside = rules.later, rules.begin, rules.inside
    never = np.where(rules.closed, 0.0, -np.inf).astype(np.float32)
    padded = np.zeros((len(scores), steps, len(labels)), np.float32)
    for index, row in enumerate(scores):
        padded[index, : len(row)] = row
    best = padded[:, 0].copy()
    best[:, later] = -np.inf
    back = np.zeros((steps, len(scores), len(labels)), np.int32)
    for step in range(1, steps):
        closed = best + never
        previous = closed.argmax(1)
        back[step] = previous[:, None]
        total = np.repeat(closed.max(1, keepdims=True), len(labels), 1)
        from_begin = best[:, begin] >= best[:, inside]
        back[step][:, later] = np.where(from_begin, begin, inside)
        total[:, later] = np.where(from_begin, best[:, begin], best[:, inside])
        running = np.array([step < length for length in lengths])[:, None]
        best = np.where(running, total + padded[:, step], best)
    best = best + never
    return [_walk_back(back[:length, i], best[i], length) for i, length in enumerate(lengths)]


def _walk_back(back: npt.NDArray[np.int32], best: Array, length: int) -> list[int]:
    if length == 0:
        return []
    path = [int(best.argmax())]
    for step in range(length - 1, 0, -1):
        path.append(int(back[step, path[-1]]))
    return path[::-1]


def _entities(
    text: str, words: Sequence[Word], tags: Sequence[str], scores: Array
) -> Iterator[Entity]:
    first = 0
    while first < len(words):
        if tags[first] == OUTSIDE:
            first += 1
            continue
        last = first + 1
        entity = tags[first][2:]
        while last < len(words) and tags[last] in (f"I-{entity}", f"E-{entity}"):
            last += 1
        start, end = words[first].start, words[last - 1].end
        yield Entity(
            entity_group=entity,
            score=float(scores[first:last].mean()),
            word=text[start:end],
            start=start,
            end=end,
        )
        first = last


def _word_end(text: str, start: int) -> int:
    """Returns the end of the word to which the character at `start` belongs."""
    end = _cluster_end(text, start)
    in_word = _in_word(text[start]) or _is_letter(text[end - 1])
    joins = _in_word if in_word else _is_mark
    while end < len(text):
        if joins(text[end]):
            end += 1
        elif in_word and _is_invisible(text[end]):
            hidden = _HIDDEN.match(text, end)
            behind = len(text) if hidden is None else hidden.end()
            if behind == len(text) or not _in_word(text[behind]):
                break
            end = behind
        else:
            break
    return _cluster_end(text, end - 1)


def _cluster_end(text: str, start: int) -> int:
    """Returns the end of the grapheme cluster that goes on from the character at `start`."""
    following = text[start + 1 : start + 2]
    if following.isascii() or is_han(following):  # or there is none; it begins a cluster
        return start + 1
    cluster = _CLUSTER.match(text, start)
    return start + 1 if cluster is None else cluster.end()


# Called for each token, mostly with characters that it has seen.
_is_invisible = lru_cache(maxsize=10_000)(is_invisible)


def _in_word(character: str) -> bool:
    """Returns whether a character is a letter, digit or combining mark, and not Han."""
    return _is_letter(character) or _is_mark(character)


def _is_letter(character: str) -> bool:
    return character.isalnum() and not is_han(character)


def _is_mark(character: str) -> bool:
    """Returns whether a character is a combining mark, such as an accent or vowel sign."""
    return unicodedata.category(character).startswith("M")


def is_han(character: str) -> bool:
    """Returns whether a character is a Han ideograph."""
    code = ord(character)
    return code >= _HAN_RANGES[0][0] and any(first <= code <= last for first, last in _HAN_RANGES)
