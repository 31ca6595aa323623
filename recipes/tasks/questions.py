"""Pairs of questions, made from groups of paraphrases.

In hand-made pairs the two questions share most of their words, and a model trained on them alone
takes another word for another question. Here every group holds paraphrases of one question, and a
set holds groups about the same things that differ in meaning. Questions of two sets that differ in
one place only ("how long does a rooster live", "how long does a tortoise live") are paired too.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

Group = Sequence[str]
Pair = tuple[str, str]

_NEAR = 1
"""Pairs of a question with those of the other groups of its set."""
_FAR = 6
"""One question in so many is paired with one of another set; such pairs are easy."""

_TWINS = 4
"""Pairs of a question with those that differ from it in one place, at most."""
_CUT = range(2, 5)
"""How many letters are left out to find these; more than that stay."""


class Cut(NamedTuple):
    """A question with letters left out in one place."""

    place: int
    question: str
    text: str


def question_rows(
    sets: Sequence[Sequence[Group]], labels: tuple[str, str], columns: tuple[str, str, str]
) -> list[dict[str, str]]:
    """Returns rows of pairs, in a fixed order.

    Args:
        sets: Sets of groups of questions.
        labels: Of paraphrases, and of different questions.
        columns: Of the two questions and of the label.
    """
    draw = random.Random(0)
    rows = []

    def add(pairs: Sequence[Pair], label: str) -> None:
        for pair in pairs:
            # The order of the two must not predict the label.
            first, second = draw.sample(pair, 2)
            rows.append(dict(zip(columns, (first, second, label), strict=True)))

    for place, groups in enumerate(sets):
        others = [group for far in (*sets[:place], *sets[place + 1 :]) for group in far]
        for pairs, label in zip(pairs_of(groups, others, draw), labels, strict=True):
            add(pairs, label)
    add(twins(sets, draw), labels[1])
    return rows


def pairs_of(
    groups: Sequence[Group], others: Sequence[Group], draw: random.Random
) -> tuple[list[Pair], list[Pair]]:
    """Returns pairs of paraphrases of a set, and pairs of different questions.

    Args:
        groups: The set.
        others: The groups of all other sets.
        draw: Random generator.
    """
    same: list[Pair] = []
    different: list[Pair] = []
    for place, group in enumerate(groups):
        near = [one for other in (*groups[:place], *groups[place + 1 :]) for one in other]
        same += _circle(draw.sample(group, len(group)))
        for question in group:
            different += [(question, one) for one in draw.sample(near, min(_NEAR, len(near)))]
            if others and draw.random() < 1 / _FAR:
                different.append((question, draw.choice(draw.choice(others))))
    return same, different


def twins(sets: Sequence[Sequence[Group]], draw: random.Random) -> list[Pair]:
    """Returns pairs of questions of two sets that differ in one place, and share no letter there.

    Args:
        sets: Sets of groups of questions.
        draw: Random generator.
    """
    by_rest: dict[str, list[Cut]] = defaultdict(list)
    for place, groups in enumerate(sets):
        for question in chain.from_iterable(groups):
            for rest, text in _cuts(question):
                by_rest[rest].append(Cut(place, question, text))
    pairs: dict[Pair, None] = {}
    count: Counter[str] = Counter()
    # The more two questions share, the more they look like the same one.
    for rest in sorted(by_rest, key=lambda rest: (-len(rest), rest)):
        cuts = draw.sample(by_rest[rest], len(by_rest[rest]))
        for one, other in pairwise(cuts):
            is_new = max(count[one.question], count[other.question]) < _TWINS
            if is_new and one.place != other.place and set(one.text).isdisjoint(other.text):
                count.update((one.question, other.question))
                pairs[one.question, other.question] = None
    return list(pairs)


def _cuts(question: str) -> Iterator[tuple[str, str]]:
    """Yields what is left of a question with some letters left out, and these."""
    letters = "".join(filter(str.isalnum, question))
    for size in _CUT:
        for start in range(len(letters) - size + 1):
            rest = f"{letters[:start]} {letters[start + size :]}"
            if len(rest) > size + 1:
                yield rest, letters[start : start + size]


def _circle(group: Group) -> list[Pair]:
    """Returns pairs of neighbours in a circle, so that every question stands in two."""
    return [*pairwise(group), *([(group[-1], group[0])] if len(group) > 2 else [])]
