"""What is tried, and what all candidates of one task share: targets, loss, folds and budget.

With held-out rows there is one copy of each candidate. In cross-validation there is one per fold,
which is fitted on the rows of the other folds and predicts its own, and one more that is fitted on
all rows: the one to keep. All copies take their steps together, so the epoch that is best for the
folds is that of the kept one too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Protocol

import torch
from torch.nn import functional

from adapterhub.errors import UsageError
from adapterhub.specs import HeadSpec, Kind, Pooling
from adapterhub.training.features.encoding import POOLED
from adapterhub.training.features.standardized_features import Parameters
from adapterhub.training.heads.selection import Judge
from adapterhub.training.options import TrainingOptions


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


@dataclass(frozen=True, slots=True)
class Setting:
    """How one candidate is fitted.

    Attributes:
        learning_rate: Greatest step size of AdamW, on standardised features.
        weight_decay: Decoupled from the gradient.
    """

    learning_rate: float
    weight_decay: float


def settings_of(options: TrainingOptions) -> tuple[Setting, ...]:
    """Returns every combination of learning rate and weight decay."""
    pairs = product(options.learning_rates, options.weight_decays)
    return tuple(Setting(rate, decay) for rate, decay in pairs)


def depths_of(options: TrainingOptions, depth: int) -> tuple[int, ...]:
    """Returns the depths that heads may read on a backbone with `depth` of them.

    Raises:
        UsageError: The backbone does not have one that the options name.
    """
    if options.depths is None:
        return tuple(range(depth + 1))
    if max(options.depths) > depth:
        raise UsageError(f"Option depths: {max(options.depths)} is over the backbone's {depth}.")
    return tuple(sorted(set(options.depths)))


def single_heads(options: TrainingOptions, kind: Kind, depth: int) -> list[HeadSpec]:
    """Returns a linear head for each depth and each pooling without weights of its own."""
    poolings: tuple[Pooling, ...] = ("tokens",)
    if kind != "tagging":
        poolings = tuple(pooling for pooling in POOLED if pooling in options.poolings)
    depths = depths_of(options, depth)
    return [HeadSpec(depths=(d,), pooling=pooling) for d in depths for pooling in poolings]


def mixed_heads(options: TrainingOptions, pooling: Pooling, depth: int) -> list[HeadSpec]:
    """Returns a linear head on a mix of the lowest depths, for each number of them from two."""
    depths = depths_of(options, depth)
    if not options.mixes or pooling == "attentive":
        return []
    return [HeadSpec(depths=depths[:count], pooling=pooling) for count in range(2, len(depths) + 1)]


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


class Loss(Protocol):
    """The mean loss of each candidate on the rows of a batch."""

    def __call__(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Returns losses (G, C) of logits (G, C, B, K).

        Args:
            logits: Of all candidates.
            targets: Of the B rows.
            weights: (B,) or (C, B), what each row counts; None counts all alike.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """What the heads of one task are fitted to.

    Attributes:
        outputs: Number K of logits.
        loss: Of a batch.
        targets: One per training row (or word): (N,) int64, (N, K) fp32 zeros and ones, or
            (N,) fp32 standardised values.
        prior: (K,) logits that fit the training rows best without looking at the text.
        unit: Mean and deviation that turn outputs into the task's own unit.
    """

    outputs: int
    loss: Loss
    targets: torch.Tensor
    prior: torch.Tensor
    unit: tuple[float, float] = (0.0, 1.0)

    def to(self, device: torch.device) -> Objective:
        """Returns it on a device."""
        return replace(self, targets=self.targets.to(device), prior=self.prior.to(device))


def make_objective(kind: Kind, truth: torch.Tensor, labels: int) -> Objective:
    """Returns the objective for training targets.

    Args:
        kind: Kind of task; tagging is fitted as one label per word.
        truth: (N,) int64 label indices, (N, K) fp32 zeros and ones, or (N,) fp32 values.
        labels: Number of labels; of no use for regression.
    """
    if kind == "regression":
        mean, deviation = float(truth.mean()), float(truth.std())
        targets = (truth - mean) / deviation
        return Objective(1, _squares, targets, torch.zeros(1), (mean, deviation))
    # One imagined row for and against each label keeps the logarithms finite.
    if kind == "multi_label":
        share = (truth.sum(0) + 1) / (len(truth) + 2)
        return Objective(labels, _binary, truth, torch.log(share / (1 - share)))
    counts = torch.bincount(truth, minlength=labels) + 1
    return Objective(labels, _classes, truth, torch.log(counts / counts.sum()))


def _classes(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    wanted = targets.expand(logits.shape[:-1])
    rows = functional.cross_entropy(logits.flatten(0, -2), wanted.flatten(), reduction="none")
    return _mean(rows.view(wanted.shape), weights)


def _binary(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    wanted = targets.expand(logits.shape)
    losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return _mean(losses.sum(-1), weights)


def _squares(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    return _mean((logits[..., 0] - targets).square(), weights)


def _mean(losses: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    if weights is None:
        return losses.mean(-1)
    # In cross-validation a small batch may hold no row that a fold is fitted on.
    return (losses * weights).sum(-1) / weights.sum(-1).clamp(min=1)
