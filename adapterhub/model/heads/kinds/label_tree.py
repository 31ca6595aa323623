"""Logits of the leaves of a tree -> the most probable leaf, and the labels above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapterhub.decoding import AnswerOptions
from adapterhub.label_trees import Parents, inner_labels
from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.model.heads.kinds.decoder import Decoder, least_confidence
from adapterhub.model.heads.kinds.single_label import label_scores
from adapterhub.results import Answer, TreeLabel
from adapterhub.specs import TaskSpec

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class LabelTree:
    """The T labels of a tree as arrays: first its K leaves in the order of a task, then the others.

    Attributes:
        names: The labels.
        paths: (T, levels) the places of the labels from the root down to each, -1 behind it.
        leaves: Number K of leaves.
    """

    names: tuple[str, ...]
    paths: Ints
    leaves: int

    @classmethod
    def of(cls, labels: Sequence[str], parents: Parents) -> LabelTree:
        """Returns the tree of some leaves."""
        names = (*labels, *inner_labels(parents))
        places = {name: place for place, name in enumerate(names)}
        above = np.array([places.get(parents.get(name, ""), -1) for name in names], np.int64)
        steps = [np.arange(len(names))]
        while (reached := np.where(steps[-1] < 0, -1, above[steps[-1]])).max() >= 0:
            steps.append(reached)
        # Upwards from each label, to be turned round.
        upwards = np.stack(steps, axis=1)
        turned = (upwards >= 0).sum(1)[:, None] - 1 - np.arange(len(steps))
        paths = np.take_along_axis(upwards, np.maximum(turned, 0), axis=1)
        return cls(names, np.where(turned < 0, -1, paths), len(labels))

    @property
    def levels(self) -> Ints:
        """Returns the number of labels from the root down to each, itself included: (T,)."""
        levels: Ints = (self.paths >= 0).sum(1)
        return levels

    @property
    def shared_levels(self) -> int:
        """Returns the number of levels, from the root on, at which all leaves are under one."""
        same = (self.paths[: self.leaves] == self.paths[0]).all(0)
        return int(same.cumprod().sum())

    def on_path(self, places: Ints) -> Flags:
        """Returns which labels stand on the path to some (N,), themselves included: (N, T)."""
        flags: Flags = self.paths[places][:, self.levels - 1] == np.arange(len(self.names))
        return flags

    def probabilities(self, scores: Array) -> Array:
        """Returns the probabilities (N, T) of all labels, given those of the leaves (N, K)."""
        levels = self.levels
        found = np.empty((len(scores), len(self.names)), np.float32)
        found[:, : self.leaves] = scores
        for place in range(self.leaves, len(self.names)):
            level = int(levels[place]) - 1
            found[:, place] = scores[:, self.paths[: self.leaves, level] == place].sum(1)
        # A sum may be over one by rounding.
        return np.minimum(found, 1, dtype=np.float32)

    def deepest_sure(self, scores: Array, threshold: float) -> tuple[Ints, Array]:
        """Returns the deepest label of each row that is probable enough, and its probability.

        It is the first one from the most probable leaf upwards, and where all of these are too
        improbable, the deepest one elsewhere. With threshold 0 it is the most probable leaf.

        Args:
            scores: Probabilities of the leaves, (N, K).
            threshold: The least probability.

        Returns:
            (N,) places in `names` and (N,) probabilities; where no label is probable enough, -1 and
            that of the most probable root.
        """
        best, rows = scores.argmax(1), np.arange(len(scores))
        if threshold <= 0:
            return best, scores[rows, best]
        probabilities, levels = self.probabilities(scores), self.levels
        # Whole numbers for the place in the tree; of equal ones the more probable label.
        rank = levels + self.on_path(best) * levels.max() + probabilities / 2
        # In float32 a probability could be rounded to a minimum that is larger.
        sure = probabilities.astype(np.float64) >= threshold
        places = np.where(sure, rank, probabilities - 1).argmax(1)
        return np.where(sure.any(1), places, -1), probabilities[rows, places]

    def label(self, place: int, score: float) -> TreeLabel:
        """Returns the prediction of a label, of none where its place is -1."""
        path = [self.names[one] for one in self.paths[place] if one >= 0] if place >= 0 else []
        return TreeLabel(label=path[-1] if path else None, score=score, path=path)


class LabelTreeDecoder(Decoder):
    """Decodes to the most probable leaf per row, or a list of the `top_k` most probable ones.

    Where its probability is under the minimum, a label above it is predicted, or none.
    """

    def decode(self, logits: RowLogits, spec: TaskSpec, options: AnswerOptions) -> list[Answer]:
        """Returns one prediction per row."""
        scores = label_scores(logits.matrix, spec)
        tree = LabelTree.of(spec.labels, spec.parents)
        if options.top_k != 1:
            order = np.argsort(-scores, axis=1, kind="stable")[:, : options.top_k]
            return [
                [tree.label(place, float(row[place])) for place in best]
                for row, best in zip(scores, order.tolist(), strict=True)
            ]
        places, sure = tree.deepest_sure(scores, least_confidence(spec, options))
        return [
            tree.label(place, float(score))
            for place, score in zip(places.tolist(), sure.tolist(), strict=True)
        ]
