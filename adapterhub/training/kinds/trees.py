"""The trees of the units of a split, and the judge of trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.kinds import INSIDE, MetricName
from adapterhub.model.heads.spans import Word
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.data.words.units import NONE, unit_tree
from adapterhub.training.kinds.selection import Judge

Indices = npt.NDArray[np.int64]

_SUBTYPE = ":"


@dataclass(frozen=True, slots=True, eq=False)
class SplitTrees:
    """The trees of the M units of N rows.

    Attributes:
        sizes: (N,) units of each row.
        heads: (M,) the head of each unit among those of its row, from 1; 0 is the root, `NONE`
            where a unit belongs to no word.
        relations: (M,) index of its relation among the labels, or `NONE`.
        words: (w, 2) first and last unit, among all, of each word that is one of units too.
        governors: (w,) first unit, among all, of the head of each of these words; M is the root,
            `NONE` where the head is none of units.
        total: Number of all words.
    """

    sizes: Indices
    heads: Indices
    relations: Indices
    words: Indices
    governors: Indices
    total: int

    @property
    def starts(self) -> Indices:
        """Returns the first unit of each row: (N,)."""
        return np.cumsum(self.sizes) - self.sizes

    def targets(self) -> torch.Tensor:
        """Returns head and relation of each unit: (M, 2) int64."""
        return torch.from_numpy(np.stack([self.heads, self.relations], axis=1))

    @property
    def aligned(self) -> float:
        """Returns the share of words that are one of units too, the most that can be right."""
        return len(self.words) / max(1, self.total)


def split_trees(units: Sequence[Sequence[Word]], dataset: Dataset) -> SplitTrees:
    """Returns the trees of all rows of a parsing set.

    Args:
        units: The words of scoring of each row.
        dataset: The rows.
    """
    rows = [
        unit_tree(row, arcs, dataset.labels)
        for row, arcs in zip(units, dataset.trees(), strict=True)
    ]
    sizes = np.array([len(row) for row in units], np.int64)
    starts, whole = np.cumsum(sizes) - sizes, int(sizes.sum())
    governors = [
        np.where(row.governors > 0, row.governors - 1 + start, row.governors)
        for row, start in zip(rows, starts.tolist(), strict=True)
    ]
    at_root = np.concatenate([row.governors for row in rows]) == 0
    return SplitTrees(
        sizes=sizes,
        heads=np.concatenate([row.heads for row in rows]),
        relations=np.concatenate([row.relations for row in rows]),
        words=np.concatenate([row.words + start for row, start in zip(rows, starts, strict=True)]),
        governors=np.where(at_root, whole, np.concatenate(governors)),
        total=sum(row.total for row in rows),
    )


def judge_trees(metric: MetricName, trees: SplitTrees, labels: Sequence[str]) -> Judge:
    """Returns the judge of predicted heads and relations: (X, M, 2) int64 -> (X,).

    It is LAS or UAS as CoNLL 2018 has them: F1 over words, which are aligned by their characters;
    subtypes of relations do not count. Each unit has its own best head here: scoring finds the
    best tree instead, which is slower and shifts all candidates alike.
    """
    units = _Units.of(trees, labels)

    def judge(predicted: torch.Tensor) -> torch.Tensor:
        rows = predicted.cpu().numpy()
        values = [units.score(row, is_labelled=metric == "las") for row in rows]
        return torch.tensor(values, device=predicted.device)

    return judge


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """What the judge knows of all units.

    Attributes:
        trees: The true trees.
        starts: (M,) the first unit of the row of each unit.
        bases: (K,) an index of each relation without its subtype.
        inside: Index of the relation within words; `NONE` where the task has none.
    """

    trees: SplitTrees
    starts: Indices
    bases: Indices
    inside: int

    @classmethod
    def of(cls, trees: SplitTrees, labels: Sequence[str]) -> _Units:
        names = [label.partition(_SUBTYPE)[0] for label in labels]
        known = {name: place for place, name in enumerate(dict.fromkeys(names))}
        return cls(
            trees,
            np.repeat(trees.starts, trees.sizes),
            np.array([known[name] for name in names], np.int64),
            labels.index(INSIDE) if INSIDE in labels else NONE,
        )

    def score(self, predicted: Indices, *, is_labelled: bool) -> float:
        """Returns F1 of words with the right head, and the right relation too."""
        trees, count = self.trees, len(predicted)
        heads, relations = predicted.T
        places = np.arange(count)
        goes_on = (relations == self.inside) & (heads == places - self.starts) & (heads > 0)
        begins = ~goes_on
        word_of = np.append(np.maximum.accumulate(np.where(begins, places, 0)), count)
        ends = np.append(begins[1:], True)
        first, last = trees.words.T
        aligned = (word_of[first] == first) & (word_of[last] == first) & ends[last]
        is_word = np.zeros(count + 1, np.bool_)
        is_word[first] = aligned
        is_word[count] = True
        governors = word_of[np.where(heads > 0, self.starts + heads - 1, count)][first]
        right = aligned & (governors == trees.governors) & is_word[governors]
        if is_labelled:
            true = trees.relations[first]
            right &= (true != NONE) & (self.bases[relations[first]] == self.bases[true])
        return 2 * int(right.sum()) / max(1, trees.total + int(begins.sum()))
