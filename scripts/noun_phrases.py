"""Base noun phrases of a parsed text: a noun with the words before it that describe it.

"The old man bought a new car" has "The old man" and "a new car". What follows a noun (", who is
tired") and what stands before its phrase ("in") is outside.

Relations are those of Universal Dependencies, version 2.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapterhub.tags import OUTSIDE

ENTITY = "phrase"

_NOUNS = frozenset({"NOUN", "PROPN", "PRON"})
_BEFORE = frozenset(
    {"det", "det:predet", "amod", "nummod", "compound", "flat", "nmod:poss", "nmod:desc"}
)
_BEHIND = frozenset({"flat", "goeswith", "nummod"})


def noun_phrase_tags(
    classes: Sequence[str], heads: Sequence[int], relations: Sequence[str]
) -> list[str]:
    """Returns the BIO tag of each word of a text.

    Args:
        classes: Part of speech of each word.
        heads: For each word the place, from 1, of the word that it depends on; 0 for the root.
        relations: How each word depends on that.
    """
    tags = [OUTSIDE] * len(classes)
    end_of_last = 0
    for start, end in sorted(noun_phrases(classes, heads, relations), key=_longest_first):
        if start >= end_of_last:  # otherwise it lies within the phrase before
            tags[start:end] = [f"B-{ENTITY}", *[f"I-{ENTITY}"] * (end - start - 1)]
            end_of_last = end
    return tags


def noun_phrases(
    classes: Sequence[str], heads: Sequence[int], relations: Sequence[str]
) -> list[tuple[int, int]]:
    """Returns start and end, in words, of the phrase of each noun; some lie within others."""
    dependents = [
        [other for other, head in enumerate(heads) if head == place + 1]
        for place in range(len(heads))
    ]

    def first_word(place: int) -> int:
        return min([place, *map(first_word, dependents[place])])

    phrases = []
    for noun in (place for place, name in enumerate(classes) if name in _NOUNS):
        before = [d for d in dependents[noun] if d < noun and relations[d] in _BEFORE]
        end = noun + 1
        while end in dependents[noun] and relations[end] in _BEHIND:
            end += 1
        phrases.append((min([noun, *map(first_word, before)]), end))
    return phrases


def _longest_first(phrase: tuple[int, int]) -> tuple[int, int]:
    start, end = phrase
    return start, -end
