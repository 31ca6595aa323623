"""Phrases of a parsed text: its base noun phrases, and its verbs with what belongs to them.

"The old man will not buy a new car" has the noun phrases "The old man" and "a new car", and the
verb group "will not buy".

Classes and relations of words are those of Universal Dependencies, version 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from adapterhub.tags import OUTSIDE

Span = tuple[int, int]
"""First word of a phrase, and the word after its last one."""

_NOUNS = frozenset({"NOUN", "PROPN", "PRON"})
_BEFORE_NOUN = frozenset(
    {"det", "det:predet", "amod", "nummod", "compound", "flat", "nmod:poss", "nmod:desc"}
)
_BEHIND_NOUN = frozenset({"flat", "goeswith", "nummod"})

_VERBS = frozenset({"VERB", "AUX"})
_NO_VERB = frozenset({"amod", "compound", "case", "mark", "cc", "fixed", "discourse"})
"""What a verb's form does that describes a noun ("broken glass") or joins words ("according")."""
_OF_VERB = frozenset({"aux", "aux:pass", "cop"})
_WITHIN_GROUP = frozenset({"ADV", "PART"})


@dataclass(frozen=True, slots=True)
class Parsed:
    """The words of a text.

    Attributes:
        classes: Part of speech of each.
        heads: For each the place, from 1, of the word that it depends on; 0 for the root.
        relations: How each depends on that.
    """

    classes: Sequence[str]
    heads: Sequence[int]
    relations: Sequence[str]

    def dependents(self, place: int) -> list[int]:
        """Returns the places, from 0, of the words that depend on the one at `place`."""
        return [other for other, head in enumerate(self.heads) if head == place + 1]


def phrase_tags(kind: str, text: Parsed) -> list[str]:
    """Returns the BIO tag of each word, by phrases of a kind of `KINDS`."""
    entity, phrases = KINDS[kind]
    tags = [OUTSIDE] * len(text.classes)
    end_of_last = 0
    for start, end in sorted(phrases(text), key=_longest_first):
        if start >= end_of_last:  # otherwise it lies within the phrase before
            tags[start:end] = [f"B-{entity}", *[f"I-{entity}"] * (end - start - 1)]
            end_of_last = end
    return tags


def noun_phrases(text: Parsed) -> list[Span]:
    """Returns the phrase of each noun, with the words before it that describe it.

    What follows a noun (", who is tired") and what stands before its phrase ("in") is outside.
    Some lie within others.
    """

    def first_word(place: int) -> int:
        return min([place, *map(first_word, text.dependents(place))])

    phrases = []
    for noun in (place for place, name in enumerate(text.classes) if name in _NOUNS):
        dependents = text.dependents(noun)
        before = [d for d in dependents if d < noun and text.relations[d] in _BEFORE_NOUN]
        end = noun + 1
        while end in dependents and text.relations[end] in _BEHIND_NOUN:
            end += 1
        phrases.append((min([noun, *map(first_word, before)]), end))
    return phrases


def verb_groups(text: Parsed) -> list[Span]:
    """Returns each verb with its auxiliaries, what stands between them, and its particle.

    A form of "be" before what is no verb is one too ("is cold"). Auxiliaries before their subject
    ("did you go") are groups of their own.
    """
    return [span for place in range(len(text.classes)) for span in _runs(text, _group(text, place))]


def _group(text: Parsed, place: int) -> list[int]:
    """Returns the words of a verb group around the word at a place, in order; maybe none."""
    relations, dependents = text.relations, text.dependents(place)
    group = [other for other in dependents if relations[other] in _OF_VERB and other < place]
    if text.classes[place] not in _VERBS or relations[place] in _NO_VERB | _OF_VERB:
        return group
    particle = place + 1 in dependents and relations[place + 1] == "compound:prt"
    return [*group, place, *[place + 1] * particle]


def _runs(text: Parsed, places: Iterable[int]) -> list[Span]:
    """Returns the spans of places with no more than adverbs between them."""
    spans: list[Span] = []
    for place in places:
        if spans and _WITHIN_GROUP.issuperset(text.classes[spans[-1][1] : place]):
            spans[-1] = (spans[-1][0], place + 1)
        else:
            spans.append((place, place + 1))
    return spans


def _longest_first(phrase: Span) -> Span:
    start, end = phrase
    return start, -end


KINDS: dict[str, tuple[str, Callable[[Parsed], list[Span]]]] = {
    "noun": ("phrase", noun_phrases),
    "verb": ("verb", verb_groups),
}
"""By kind of phrase the name of its tags, and what finds it."""
