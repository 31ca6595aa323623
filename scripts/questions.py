"""Pairs of questions, from questions that were written as groups that ask the same.

People who pair questions by hand write the second one after the first, so that the two share most
of their words, and who learned from them alone takes another word for another question. Here every
group says one thing in several ways, and a set holds groups that lie near each other: they are
about the same things, and ask something else.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

Group = Sequence[str]
Pair = tuple[str, str]

_NEAR = 1
"""Pairs of a question with others of the other groups of its set."""
_FAR = 6
"""One question in so many is paired with one of another set; such pairs are easy."""


def question_rows(
    sets: Sequence[Sequence[Group]], labels: tuple[str, str], columns: tuple[str, str, str]
) -> list[dict[str, str]]:
    """Returns rows of pairs, in a fixed order.

    Args:
        sets: Sets of groups of questions.
        labels: Of pairs that ask the same, and of those that do not.
        columns: Of the two questions and of the label.
    """
    draw = random.Random(0)
    rows = []
    for place, groups in enumerate(sets):
        others = [group for far in (*sets[:place], *sets[place + 1 :]) for group in far]
        for pairs, label in zip(pairs_of(groups, others, draw), labels, strict=True):
            for pair in pairs:
                # Which of the two comes first says nothing.
                first, second = draw.sample(pair, 2)
                rows.append(dict(zip(columns, (first, second, label), strict=True)))
    return rows


def pairs_of(
    groups: Sequence[Group], others: Sequence[Group], draw: random.Random
) -> tuple[list[Pair], list[Pair]]:
    """Returns pairs of questions of a set that ask the same, and pairs that do not.

    Args:
        groups: The set.
        others: The groups of all other sets.
        draw: Chooses.
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


def _circle(group: Group) -> list[Pair]:
    """Returns pairs of neighbours in a circle, so that every question stands in two."""
    return [*pairwise(group), *([(group[-1], group[0])] if len(group) > 2 else [])]
