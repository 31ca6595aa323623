"""What all candidate heads of one task share, and what becomes of each head."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from adapterhub.specs import HeadSpec
from adapterhub.training.candidates import Setting
from adapterhub.training.copies import Copies
from adapterhub.training.objectives import Objective
from adapterhub.training.readers import Parameters
from adapterhub.training.selection import Judge


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A part of the training rows that stands for all of them.

    Attributes:
        rows: (n,) int64, ascending.
        weights: (n,) fp32, how many rows each stands for.
    """

    rows: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """What candidates are fitted and judged on in a part of the schedule.

    Attributes:
        sample: The training rows.
        answers: Per copy the validation rows that it answers.
        judge: Gives the value of candidates on these, in ascending order of rows.
    """

    sample: Sample
    answers: tuple[torch.Tensor, ...]
    judge: Judge

    def to(self, device: torch.device) -> Stage:
        """Returns it on a device; the judge is where it was made."""
        sample = Sample(self.sample.rows.to(device), self.sample.weights.to(device))
        return Stage(sample, tuple(rows.to(device) for rows in self.answers), self.judge)


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What all candidates of one task share.

    Attributes:
        objective: Targets and loss.
        judge: Gives the validation value of candidates.
        copies: Which rows each copy of a candidate is fitted on, and which it answers.
        ranking: What candidates are ranked on while there are many; None for all rows.
        hidden_size: Width H of the features; four times the backbone's where pairs are apart.
        epochs: Passes over the training rows.
        batch_size: Rows per step.
        slack: How far the value of a head may be behind the best before it is given up.
        seed: Of initial weights and order.
        device: Where features and heads are.
        dropout: Part of the features that a step leaves out.
    """

    objective: Objective
    judge: Judge
    copies: Copies
    ranking: Stage | None
    hidden_size: int
    epochs: int
    batch_size: int
    slack: float
    seed: int
    device: torch.device
    dropout: float = 0.0

    @property
    def everything(self) -> Stage:
        """Returns all rows."""
        count = len(self.objective.targets)
        whole = Sample(torch.arange(count), torch.ones(count))
        return Stage(whole, self.copies.answers, self.judge).to(self.device)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The best candidate of one head.

    Attributes:
        head: What it reads and its shape.
        setting: How it was fitted.
        value: Its validation value.
        epoch: The epoch that gave it, from 1.
        tensors: Its tensors, by the names of a head file.
        candidates: How many candidates of this head were tried.
        folds: In cross-validation the tensors by which the rows of each fold were answered.
        apart: Whether it compares two texts that are read alone.
    """

    head: HeadSpec
    setting: Setting
    value: float
    epoch: int
    tensors: Parameters
    candidates: int
    folds: tuple[Parameters, ...] = ()
    apart: bool = False
