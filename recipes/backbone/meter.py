"""Averages the losses of a run and appends them to its log, one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from recipes.backbone.checkpoints import Progress
from recipes.backbone.objective import Outcome

_EVERY = 20  # steps


class Meter:
    """Writes a line every `_EVERY` steps: step, tokens, seconds, mean losses, rate, tokens/s.

    Args:
        path: The log; lines are appended.
        progress: Of the run; read at each step.
    """

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path = path
        self._progress = progress
        self._losses: list[Tensor] = []
        self._mark = (progress.tokens, progress.elapsed)

    def add(self, outcome: Outcome, rate: float) -> None:
        """Takes in one step; `rate` is its learning rate."""
        self._losses.append(torch.stack([outcome.loss, outcome.mlm_loss, outcome.sop_loss]))
        if self._progress.step % _EVERY:
            return
        loss, mlm_loss, sop_loss = torch.stack(self._losses).mean(0).tolist()
        tokens, elapsed = self._progress.tokens, self._progress.elapsed
        line = {
            "step": self._progress.step,
            "tokens": tokens,
            "elapsed": round(elapsed, 1),
            "loss": round(loss, 4),
            "mlm_loss": round(mlm_loss, 4),
            "sop_loss": round(sop_loss, 4),
            "rate": rate,
            "tokens_per_second": round(
                (tokens - self._mark[0]) / max(elapsed - self._mark[1], 1e-9)
            ),
        }
        with self._path.open("a") as log:
            log.write(json.dumps(line) + "\n")
        self._losses, self._mark = [], (tokens, elapsed)
