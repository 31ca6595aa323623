"""Trees of words -> trees of units, the words of scoring (`spans.words_of`), which a parser reads.

A word of the data that has several units is read as its first unit, to which the others are
attached one behind the other with the relation `INSIDE`. Words that share a unit, such as the do
and n't of don't, are read as one word; its head is that of the word whose head lies outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapterhub.model.heads.spans import TaggedText, Word, words_of
from adapterhub.specs import INSIDE
from adapterhub.training.data.words.trees import Arc, depths_of_words

Indices = npt.NDArray[np.int64]

NONE = -1
"""The head of a unit that belongs to no word, and a relation that the task does not have."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Words and units that overlap: mostly one word and its units.

    Attributes:
        words: Indices of words.
        units: Indices of units.
    """

    words: tuple[int, ...]
    units: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class UnitTree:
    """The tree of the n units of one row.

    Attributes:
        heads: (n,) the head of each unit among the units, from 1; 0 is the root.
        relations: (n,) index of its relation among the labels.
        words: (w, 2) first and last unit of each word that is one of units too.
        governors: (w,) the first unit of the word that is its head, from 1; 0 is the root; `NONE`
            where that word is none of units.
        total: Number of all words of the row.
    """

    heads: Indices
    relations: Indices
    words: Indices
    governors: Indices
    total: int


def unit_tree(units: Sequence[Word], arcs: Sequence[Arc], labels: Sequence[str]) -> UnitTree:
    """Returns the tree of the units of a row.

    Args:
        units: The words of scoring.
        arcs: The words of the data, in text order.
        labels: The relations of the task.
    """
    index = {label: place for place, label in enumerate(labels)}
    heads, relations = np.full((2, len(units)), NONE, np.int64)
    depths = depths_of_words([arc.head for arc in arcs])
    read = [one for one in find_clusters(units, arcs) if one.words and one.units]
    firsts = {word: one.units[0] + 1 for one in read for word in one.words}
    words, governors = [], []
    for cluster in read:
        highest = min(cluster.words, key=lambda word: depths[word])
        first, last = cluster.units[0], cluster.units[-1]
        heads[first] = _first_unit(arcs[highest].head, arcs, firsts)
        relations[first] = index.get(arcs[highest].relation, NONE)
        heads[first + 1 : last + 1] = np.arange(first + 1, last + 1)
        relations[first + 1 : last + 1] = index.get(INSIDE, NONE)
        if _is_same(cluster, units, arcs):
            words.append((first, last))
            governor = arcs[highest].head
            governors.append(firsts.get(governor - 1, NONE) if governor else 0)
    return UnitTree(
        heads,
        relations,
        np.array(words, np.int64).reshape(-1, 2),
        np.array(governors, np.int64),
        len(arcs),
    )


def find_clusters(units: Sequence[Word], arcs: Sequence[Arc]) -> Iterator[Cluster]:
    """Yields the words and units that overlap, in text order; some have only words or units."""
    word = unit = 0
    while word < len(arcs) or unit < len(units):
        # The one that begins first.
        has_word = unit == len(units) or (
            word < len(arcs) and arcs[word].start <= units[unit].start
        )
        end = arcs[word].end if has_word else units[unit].end
        first_word, first_unit = word, unit
        word, unit = word + has_word, unit + (not has_word)
        grows = True
        while grows:
            grows = False
            while word < len(arcs) and arcs[word].start < end:
                end, word, grows = max(end, arcs[word].end), word + 1, True
            while unit < len(units) and units[unit].start < end:
                end, unit, grows = max(end, units[unit].end), unit + 1, True
        yield Cluster(tuple(range(first_word, word)), tuple(range(first_unit, unit)))


def _is_same(cluster: Cluster, units: Sequence[Word], arcs: Sequence[Arc]) -> bool:
    """Returns whether a cluster is one word, which has the borders of its units."""
    if len(cluster.words) > 1:
        return False
    arc, first, last = arcs[cluster.words[0]], units[cluster.units[0]], units[cluster.units[-1]]
    return (arc.start, arc.end) == (first.start, last.end)


def _first_unit(head: int, arcs: Sequence[Arc], firsts: dict[int, int]) -> int:
    """Returns the first unit of a word, or of the next word above it that has any."""
    while head and head - 1 not in firsts:
        head = arcs[head - 1].head
    return firsts[head - 1] if head else 0


def have_parts(texts: Iterable[str], rows: Iterable[Sequence[Arc]]) -> bool:
    """Returns whether a word of some rows may have several units, whatever the tokenizer.

    Args:
        texts: The text of each row.
        rows: The words of each row.
    """
    known: dict[str, bool] = {}
    for text, arcs in zip(texts, rows, strict=True):
        for arc in arcs:
            word = text[arc.start : arc.end]
            if word not in known:
                # Tokens of one character make the most units.
                places = [(place, place + 1) for place in range(len(word))]
                known[word] = len(words_of(TaggedText(word, places))) > 1
            if known[word]:
                return True
    return False
