"""Features of examples -> the tensors of a prototype head, and similarities without an example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.model.heads.prototypes.cosines import Doubles, directions
from adapterhub.shapes import CENTER, COUNTS, PROTOTYPES

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """The examples of a task on one tap.

    Attributes:
        center: (H,) the mean of their features.
        units: (N, H) directions of the examples from there, of length 1.
        labels: (N,) the label of each.
        sums: (K, H) sums of the directions of each label.
    """

    center: Doubles
    units: Doubles
    labels: Ints
    sums: Doubles

    @classmethod
    def of(cls, features: torch.Tensor, labels: Ints, count: int) -> Means:
        """Returns those of examples.

        Args:
            features: (N, H).
            labels: (N,), of `count` labels.
            count: K.
        """
        # The center as it will be stored: what is measured is then what is scored.
        center = features.float().double().mean(0).float().double().numpy()
        units = directions(features.float().numpy(), center)
        sums = np.zeros((count, units.shape[1]))
        np.add.at(sums, labels, units)
        return cls(center, units, labels, sums)

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """Returns the tensors of the head, fp32."""
        counts = np.bincount(self.labels, minlength=len(self.sums))
        means = self.sums / np.maximum(counts, 1)[:, None]
        found = {PROTOTYPES: means, COUNTS: counts, CENTER: self.center}
        return {name: torch.from_numpy(value).float() for name, value in found.items()}

    def similarities(self, features: torch.Tensor) -> Doubles:
        """Returns the similarity of other texts to each label: (M, H) -> (M, K)."""
        found: Doubles = directions(features.float().numpy(), self.center) @ _units(self.sums).T
        return found

    def without_own(self, rows: Sequence[int], groups: Sequence[int]) -> Doubles:
        """Returns the similarity of examples to each label of which they are no example: (M, K).

        The center is that of all examples.

        Args:
            rows: The examples.
            groups: A number for each of all examples; those of one group are left out together.
        """
        places, of_rows = np.array(rows, np.int64), np.array(groups, np.int64)
        units, labels = self.units[places], self.labels[places]
        found: Doubles = units @ _units(self.sums).T
        without = _units(self.sums[labels] - units)
        found[np.arange(len(places)), labels] = (without * units).sum(1)
        together = np.flatnonzero(np.bincount(of_rows)[of_rows[places]] > 1)
        for place in together.tolist():
            same, removed = self._removed(np.flatnonzero(of_rows == of_rows[places[place]]))
            found[place, same] = _units(self.sums[same] - removed) @ units[place]
        return found

    def _removed(self, rows: Ints) -> tuple[Ints, Doubles]:
        """Returns the labels of some rows, and what their sums lose without these rows."""
        labels, places = np.unique(self.labels[rows], return_inverse=True)
        removed = np.zeros((len(labels), self.units.shape[1]))
        np.add.at(removed, places, self.units[rows])
        return labels, removed


def _units(vectors: Doubles) -> Doubles:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    # What is left of a label of which all examples are left out is rounding.
    found: Doubles = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-9)
    return found
