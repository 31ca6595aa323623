"""Control tasks: labels that are random by type, so that only memory can predict them.

Hewitt and Liang, "Designing and Interpreting Probes with Control Tasks" (arXiv:1909.03368). A type
is a word in lower case, or a whole text. Its label is drawn by a hash, from the distribution of the
labels that train; where heads are predicted, each type attaches to itself, to the first or to the
last word of its sentence, as there.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from adapterhub.probing.items import Indices
from adapterhub.probing.rows import ProbeRow


@dataclass(frozen=True, slots=True, eq=False)
class ControlTask:
    """Random labels by type.

    Attributes:
        seed: Of the draws.
        known: The types of the training rows.
        shares: (K,) cumulative shares of the labels among the training items; None for heads.
    """

    seed: int
    known: frozenset[str]
    shares: npt.NDArray[np.float64] | None

    def label_of(self, kind: str, place: int, words: int) -> int:
        """Returns the random label of an item.

        Args:
            kind: Its type.
            place: Its index among the items of its text.
            words: The number of these; where heads are predicted, one of them is the head.
        """
        digest = hashlib.blake2b(f"{self.seed}\n{kind}".encode(), digest_size=8).digest()
        drawn = int.from_bytes(digest, "big") / 2**64
        if self.shares is None:
            return (place, 0, words - 1)[int(3 * drawn)]
        # Rounding may leave the last share a little below 1.
        return min(int(np.searchsorted(self.shares, drawn, side="right")), len(self.shares) - 1)


def make_control(
    rows: Sequence[ProbeRow], labels: Iterable[int], classes: int | None, seed: int
) -> ControlTask:
    """Returns the control task of some training rows.

    Args:
        rows: The training rows.
        labels: Of the training items.
        classes: Number K of labels; None where heads are predicted.
        seed: Of the draws.
    """
    known = frozenset(kind for row in rows for kind in types_of(row))
    if classes is None:
        return ControlTask(seed, known, None)
    counts = Counter(labels)
    totals: Indices = np.cumsum([counts[label] for label in range(classes)], dtype=np.int64)
    return ControlTask(seed, known, totals / totals[-1])


def types_of(row: ProbeRow) -> list[str]:
    """Returns the type of each item of a row."""
    if row.words:
        return [_folded(row.inputs[0][start:end]) for start, end in row.words]
    return ["\n".join(map(_folded, row.inputs))]


def _folded(text: str) -> str:
    return " ".join(normalize("NFKC", text).lower().split())
