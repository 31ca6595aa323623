"""What all candidate heads of one task share, and what becomes of each head."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from adapterhub.specs import HeadSpec
from adapterhub.training.candidates import Setting
from adapterhub.training.copies import Copies, Sample
from adapterhub.training.objectives import Objective
from adapterhub.training.readers import Parameters
from adapterhub.training.selection import Judge


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What all candidates of one task share.

    Attributes:
        objective: Targets and loss.
        judge: Gives the validation value of candidates.
        copies: Which rows each copy of a candidate is fitted on, and which it answers.
        sample: The training rows that candidates are ranked on while there are many of them.
        hidden_size: Width H of the features.
        epochs: Passes over the training rows.
        batch_size: Rows per step.
        slack: How far the value of a head may be behind the best before it is given up.
        seed: Of initial weights and order.
        device: Where features and heads are.
    """

    objective: Objective
    judge: Judge
    copies: Copies
    sample: Sample
    hidden_size: int
    epochs: int
    batch_size: int
    slack: float
    seed: int
    device: torch.device


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
    """

    head: HeadSpec
    setting: Setting
    value: float
    epoch: int
    tensors: Parameters
    candidates: int
    folds: tuple[Parameters, ...] = ()
