"""Scores of arcs -> the best dependency tree: each word has one head, and one word the root.

Where the best head of each word already makes such a tree, that is the answer. Else it is found by
contracting cycles, in O(n^2) for n words.

Sources: Tarjan, "Finding Optimum Branchings", 1977, for dense graphs; Zmigrod et al., "Please Mind
the Root", 2020, on trees with one word at the root.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

ROOT = 0
"""The place of the root among heads; words follow from 1."""


def best_heads(scores: npt.NDArray[np.floating]) -> Places:
    """Returns the heads of the tree with the highest sum of scores: (n,) int64.

    Args:
        scores: (n, n + 1) finite score of each head of each word, the root first. No word is its
            own head, whatever its score.
    """
    count = len(scores)
    others = scores.copy()
    others[np.arange(count), np.arange(1, count + 1)] = -np.inf
    heads: Places = others.argmax(1)
    if is_tree(heads):
        return heads
    arcs = others.astype(np.float64)
    # Each word has one head, so that a constant for all of them changes no tree.
    arcs -= arcs.max(1, keepdims=True)
    # More than what all heads together can lose: a second word at the root never pays.
    losses = -np.where(np.isfinite(arcs), arcs, 0.0).min(1)
    arcs[:, ROOT] -= 1.5 * losses.sum() + 1.0
    return _Contraction(arcs).heads()


def is_tree(heads: npt.NDArray[np.integer]) -> bool:
    """Returns whether heads, from 1 and 0 for the root, are a tree with one word at the root."""
    if np.count_nonzero(heads == ROOT) != min(1, len(heads)):
        return False
    # After 2^k steps of k doublings every word of a tree has arrived at the root.
    above = np.concatenate(([ROOT], heads))
    for _ in range(len(heads).bit_length()):
        above = above[above]
    return not above.any()


@dataclass(slots=True, eq=False)
class _Part:
    """A word, or a contracted cycle of parts, of which exactly one arc from outside enters.

    Attributes:
        arcs: (n + 1,) best score of an arc from each head into the part, less that of the arc
            which it replaces within; -inf from its own words.
        enters: (n + 1,) the word at which that arc arrives; a number for a single word.
        head: The head of the arc that was chosen.
        word: The word at which it arrives.
        whole: The part that this one is in, or itself.
    """

    arcs: Floats
    enters: Places | int
    head: int
    word: int
    whole: int


class _Contraction:
    """Grows a path of best arcs from every word; a cycle on it becomes a part, one arc the root."""

    def __init__(self, arcs: Floats) -> None:
        count = len(arcs)
        self._parts = [_Part(arcs[0], ROOT, 0, ROOT, ROOT)]  # no arc enters the root
        self._parts += (_Part(row, word, 0, word, word) for word, row in enumerate(arcs, start=1))
        self._outer = np.arange(count + 1)  # the outermost part of each word
        self._words: dict[int, Places] = {}  # the words of a contracted part
        self._count = count

    def heads(self) -> Places:
        """Returns the heads of the best tree."""
        done = np.zeros(2 * self._count + 2, np.bool_)
        done[ROOT] = True
        for word in range(1, self._count + 1):
            path: list[int] = []
            place: dict[int, int] = {}
            part = int(self._outer[word])
            while not done[part]:
                if part in place:
                    first = place[part]
                    cycle = path[first:]
                    for member in cycle:
                        del place[member]
                    del path[first:]
                    part = self._contract(cycle)
                place[part] = len(path)
                path.append(part)
                part = self._choose(part)
            done[path] = True
        return self._expand()

    def _choose(self, number: int) -> int:
        """Chooses the best arc into a part; returns the part that it comes from."""
        part = self._parts[number]
        part.head = int(part.arcs.argmax())
        part.word = part.enters if isinstance(part.enters, int) else int(part.enters[part.head])
        return int(self._outer[part.head])

    def _contract(self, cycle: list[int]) -> int:
        """Makes one part of a cycle; returns its number."""
        members = [self._parts[number] for number in cycle]
        gains = np.stack([part.arcs - part.arcs[part.head] for part in members])
        best = gains.argmax(0)
        enters = np.zeros(len(best), np.int64)
        for place, part in enumerate(members):
            np.copyto(enters, part.enters, where=best == place)
        arcs = gains.max(0)
        words = np.concatenate([self._words.pop(number, np.array([number])) for number in cycle])
        number = len(self._parts)
        arcs[words] = -np.inf
        self._outer[words] = number
        self._words[number] = words
        for part in members:
            part.whole = number
            part.arcs, part.enters = arcs[:0], ROOT  # frees them
        self._parts.append(_Part(arcs, enters, 0, 0, number))
        return number

    def _expand(self) -> Places:
        """Returns the heads of words: the arc into a part breaks the cycle where it enters."""
        heads = np.zeros(self._count + 1, np.int64)
        broken: set[int] = set()
        for number in range(len(self._parts) - 1, ROOT, -1):
            if number in broken:
                continue
            part = self._parts[number]
            heads[part.word] = part.head
            inner = part.word
            while inner != number:
                broken.add(inner)
                inner = self._parts[inner].whole
        return heads[1:]
