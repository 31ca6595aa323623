"""Features of examples -> the tensors of a prototype head, and similarities without an example."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
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
        places = list(rows)
        units = self.units[places]
        found: Doubles = units @ _units(self.sums).T
        for place, (own, label, removed) in enumerate(self._removed(places, groups)):
            found[place, label] = _units(self.sums[label] - removed) @ own.T
        return found

    def _removed(
        self, rows: Sequence[int], groups: Sequence[int]
    ) -> Iterator[tuple[Doubles, Ints, Doubles]]:
        """Yields of each row its direction, the labels of its group, and what these lose."""
        members: dict[int, list[int]] = defaultdict(list)
        for row, group in enumerate(groups):
            members[group].append(row)
        for row in rows:
            same = members[groups[row]]
            labels, places = np.unique(self.labels[same], return_inverse=True)
            removed = np.zeros((len(labels), self.units.shape[1]))
            np.add.at(removed, places, self.units[same])
            yield self.units[row], labels, removed


def _units(vectors: Doubles) -> Doubles:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    # What is left of a label of which all examples are left out is rounding.
    found: Doubles = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-9)
    return found
