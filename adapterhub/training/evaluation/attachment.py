"""Attachment scores of dependency trees, as the evaluation of the CoNLL 2018 shared task has them.

Source: Zeman et al., "CoNLL 2018 Shared Task: Multilingual Parsing from Raw Text to Universal
Dependencies", 2018, section 5, and its script `conll18_ud_eval.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, cast

from adapterhub.results import Answer, ParsedWord

_SUBTYPE = ":"


class Attached(Protocol):
    """A word of a tree."""

    @property
    def start(self) -> int:
        """Returns its first code point in the text."""
        ...

    @property
    def end(self) -> int:
        """Returns the code point after its last one."""
        ...

    @property
    def head(self) -> int:
        """Returns the place of its head among the words of the text, from 1; 0 is the root."""
        ...

    @property
    def relation(self) -> str:
        """Returns its relation to the head."""
        ...


class AttachedWord(NamedTuple):
    """A predicted word of a tree; see `Attached`."""

    start: int
    end: int
    head: int
    relation: str


def attached_words(answers: Sequence[Answer]) -> list[list[AttachedWord]]:
    """Returns the predicted words of a parsing task; rows without a result have none."""
    found = [cast("list[ParsedWord]", answer or []) for answer in answers]
    return [
        [AttachedWord(w["start"], w["end"], w["head"], w["relation"]) for w in row] for row in found
    ]


def attachment_figures(
    found: Sequence[Sequence[Attached]], truth: Sequence[Sequence[Attached]]
) -> dict[str, float]:
    """Returns LAS, UAS and the F1 of words.

    Each is an F1 over all words, punctuation and the root included: of words that are the same
    characters of the text in both, for UAS also have the same head, and for LAS also the same
    relation without its subtype (`nsubj` of `nsubj:pass`). Several true words that are written as
    the same characters, such as `de` and `le` of `du`, are found by none.

    Args:
        found: The predicted words of each text.
        truth: The true words of each text.
    """
    counts: Counter[str] = Counter()
    for own, right in zip(found, truth, strict=True):
        counts.update(_hits(own, right))
        counts["total"] += len(own) + len(right)
    total = counts["total"]
    return {name: 2 * counts[name] / total if total else 0.0 for name in ("las", "uas", "word_f1")}


def relation_counts(
    found: Sequence[Sequence[Attached]], truth: Sequence[Sequence[Attached]]
) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Returns how often each relation, without subtype, is true, predicted, and right as in LAS.

    Args:
        found: The predicted words of each text.
        truth: The true words of each text.
    """
    right = Counter(
        _main(word.relation)
        for own, gold in zip(found, truth, strict=True)
        for word, other, has_head in _aligned(own, gold)
        if has_head and _main(word.relation) == _main(other.relation)
    )
    true, predicted = (
        Counter(_main(word.relation) for row in rows for word in row) for rows in (truth, found)
    )
    return true, predicted, right


def _hits(found: Sequence[Attached], truth: Sequence[Attached]) -> Mapping[str, int]:
    """Returns the number of hits of each metric in one text."""
    hits: Counter[str] = Counter()
    for word, right, has_head in _aligned(found, truth):
        has_relation = _main(word.relation) == _main(right.relation)
        hits.update(word_f1=1, uas=int(has_head), las=int(has_head and has_relation))
    return hits


def _aligned(
    found: Sequence[Attached], truth: Sequence[Attached]
) -> Iterator[tuple[Attached, Attached, bool]]:
    """Yields each word of one text that is in both trees, and whether it has the right head."""
    times = Counter((word.start, word.end) for word in truth)
    place = {
        (word.start, word.end): number
        for number, word in enumerate(truth, start=1)
        if times[word.start, word.end] == 1
    }
    # The true word that each found one is, by place; the root is the root.
    aligned = [0, *(place.get((word.start, word.end)) for word in found)]
    for word, number in zip(found, aligned[1:], strict=True):
        if number is not None:
            right = truth[number - 1]
            yield word, right, aligned[word.head] == right.head


def _main(relation: str) -> str:
    return relation.partition(_SUBTYPE)[0]
