"""Which training rows a candidate is fitted on, and which validation rows it answers.

With held-out rows there is one copy of each candidate. In cross-validation there is one per fold,
which is fitted on the rows of the others and answers its own, and one more that is fitted on all
rows: the one to keep. All copies take their steps together, so the epoch that is best for the
folds is that of the kept one too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """The R copies of each candidate.

    Attributes:
        answers: Per copy the validation rows that it answers; together all of them, once.
        seen: (R, N) fp32, one where a copy is fitted on a training row; None where all are.
    """

    answers: tuple[torch.Tensor, ...]
    seen: torch.Tensor | None = None

    def __len__(self) -> int:
        """Returns the number R; the last copy is the one to keep."""
        return len(self.answers)

    @classmethod
    def held_out(cls, rows: int) -> Copies:
        """Returns the one copy that answers all validation rows."""
        return cls((torch.arange(rows),))

    @classmethod
    def crossed(cls, folds: torch.Tensor) -> Copies:
        """Returns the copies of cross-validation, where validation rows are the training rows.

        Args:
            folds: (N,) int64, the fold of each row, from 0.
        """
        numbers = torch.arange(int(folds.max()) + 2)
        apart = folds != numbers[:, None]
        return cls(tuple(torch.nonzero(~row).flatten() for row in apart), apart.float())

    def to(self, device: torch.device) -> Copies:
        """Returns them on a device."""
        seen = None if self.seen is None else self.seen.to(device)
        return replace(self, answers=tuple(rows.to(device) for rows in self.answers), seen=seen)
