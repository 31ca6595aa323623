"""The candidates of one task, and what they share: targets, loss, folds and budget.

With a validation set there is one copy of each candidate. In cross-validation there is one per
fold, fitted on the rows of the other folds, and a last one that is fitted on all rows and kept. All
copies step together, so the best epoch of the folds is that of the last copy too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

import torch

from adapterhub.errors import UsageError
from adapterhub.kinds import KINDS, Kind
from adapterhub.model.heads.heads import Array
from adapterhub.specs import HeadSpec, Pooling
from adapterhub.training.features.choice_items import RowItems
from adapterhub.training.features.encoding import POOLED
from adapterhub.training.features.standardized_features import Parameters, Part
from adapterhub.training.kinds.objective import Objective, Sample
from adapterhub.training.kinds.selection import Judge
from adapterhub.training.options import TrainingOptions


@dataclass(frozen=True, slots=True, eq=False)
class CVFolds:
    """The R copies of each candidate.

    Attributes:
        validation_rows: Per copy the rows that it predicts; together each row once.
        train_mask: (R, N) fp32, one where a copy is fitted on a training row; None for all.
    """

    validation_rows: tuple[torch.Tensor, ...]
    train_mask: torch.Tensor | None = None

    def __len__(self) -> int:
        """Returns the number R of copies; the last one is kept."""
        return len(self.validation_rows)

    @classmethod
    def held_out(cls, rows: int) -> CVFolds:
        """Returns one copy, which predicts all validation rows."""
        return cls((torch.arange(rows),))

    @classmethod
    def cross_validated(cls, folds: torch.Tensor) -> CVFolds:
        """Returns the copies of cross-validation, whose validation rows are the training rows.

        Args:
            folds: (N,) int64, the fold of each row, from 0.
        """
        numbers = torch.arange(int(folds.max()) + 2)
        apart = folds != numbers[:, None]
        return cls(tuple(torch.nonzero(~row).flatten() for row in apart), apart.float())

    def to(self, device: torch.device) -> CVFolds:
        """Returns them on a device."""
        mask = None if self.train_mask is None else self.train_mask.to(device)
        return CVFolds(tuple(rows.to(device) for rows in self.validation_rows), mask)


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Hyperparameters of one candidate.

    Attributes:
        learning_rate: Peak learning rate of AdamW, on standardised features.
        weight_decay: Decoupled from the gradient.
    """

    learning_rate: float
    weight_decay: float


def hyperparameter_grid(options: TrainingOptions) -> tuple[Hyperparameters, ...]:
    """Returns every combination of learning rate and weight decay."""
    pairs = product(options.learning_rates, options.weight_decays)
    return tuple(Hyperparameters(rate, decay) for rate, decay in pairs)


def depths_of(options: TrainingOptions, depth: int) -> tuple[int, ...]:
    """Returns the depths that heads may read on a backbone of `depth` depths.

    Raises:
        UsageError: The options name a depth that the backbone does not have.
    """
    if options.depths is None:
        return tuple(range(depth + 1))
    if max(options.depths) > depth:
        raise UsageError(f"Option depths: {max(options.depths)} is over the backbone's {depth}.")
    return tuple(sorted(set(options.depths)))


def single_heads(options: TrainingOptions, kind: Kind, depth: int) -> list[HeadSpec]:
    """Returns a linear head for each depth and each pooling without parameters."""
    poolings: tuple[Pooling, ...] = ("tokens",)
    if not KINDS[kind].per_token:
        poolings = tuple(pooling for pooling in POOLED if pooling in options.poolings)
    depths = depths_of(options, depth)
    return [HeadSpec(depths=(d,), pooling=pooling) for d in depths for pooling in poolings]


def mixed_heads(options: TrainingOptions, pooling: Pooling, depth: int) -> list[HeadSpec]:
    """Returns a linear head on a mix of the n lowest depths, for each n from two."""
    depths = depths_of(options, depth)
    if not options.mixes or pooling == "attentive":
        return []
    return [HeadSpec(depths=depths[:count], pooling=pooling) for count in range(2, len(depths) + 1)]


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """The rows of one stage of successive halving.

    Attributes:
        sample: The training rows.
        validation_rows: Per copy the rows that it predicts.
        judge: Computes the metric of candidates on these, in ascending order of rows.
    """

    sample: Sample
    validation_rows: tuple[torch.Tensor, ...]
    judge: Judge

    def to(self, device: torch.device) -> Stage:
        """Returns it on a device; the judge stays where it is."""
        sample = Sample(self.sample.rows.to(device), self.sample.weights.to(device))
        return Stage(sample, tuple(rows.to(device) for rows in self.validation_rows), self.judge)


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What all candidates of one task share.

    Attributes:
        objective: Targets and loss.
        judge: Computes the validation metric of candidates.
        cv_folds: Which rows each copy of a candidate is fitted on, and which it predicts.
        ranking: The rows of the stages before the last; None for all rows.
        hidden_size: Width H of the features; four times the backbone's for pairs apart.
        epochs: Passes over the training rows.
        batch_size: Rows per step.
        slack: How far below the best metric a head may be before it is dropped.
        seed: Of initial weights and order.
        device: Where features and heads are.
        dropout: On the features.
        row_items: By part the items of each row: its choices, or its two texts; empty where each
            row (or word) is one item.
    """

    objective: Objective
    judge: Judge
    cv_folds: CVFolds
    ranking: Stage | None
    hidden_size: int
    epochs: int
    batch_size: int
    slack: float
    seed: int
    device: torch.device
    dropout: float = 0.0
    row_items: Mapping[Part, RowItems] = field(default_factory=dict)

    @property
    def all_rows(self) -> Stage:
        """Returns all rows."""
        count = len(self.objective.targets)
        whole = Sample(torch.arange(count), torch.ones(count))
        return Stage(whole, self.cv_folds.validation_rows, self.judge).to(self.device)

    @property
    def item_mask(self) -> torch.Tensor | None:
        """Returns which items each copy is fitted on, as `CVFolds.train_mask` does of rows."""
        mask = self.cv_folds.train_mask
        return mask if mask is None or not self.row_items else self.row_items["train"].repeat(mask)

    def items_of(self, part: Part, rows: torch.Tensor) -> torch.Tensor:
        """Returns the items of some rows, row by row."""
        return self.row_items[part].of_rows(rows) if self.row_items else rows

    def by_row(self, part: Part, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Returns the logits of rows from those of their items: (…, I, K) -> (…, B, K).

        Of choices K becomes their number, of two texts 2 K.
        """
        return self.row_items[part].by_row(logits, rows) if self.row_items else logits

    def batches(self, sample: Sample, generator: torch.Generator) -> Iterator[torch.Tensor]:
        """Yields the places of the rows of each step in a sample, in random order."""
        if self.objective.groups is None:
            order = torch.randperm(len(sample.rows), generator=generator)
            yield from torch.split(order, self.batch_size)
            return
        _, groups = torch.unique(self.objective.groups[sample.rows.cpu()], return_inverse=True)
        drawn = torch.randperm(int(groups.max()) + 1, generator=generator)[groups]
        order, sizes = drawn.argsort(stable=True), torch.bincount(drawn)
        # A group belongs to the step in which it begins.
        steps = (sizes.cumsum(0) - sizes) // self.batch_size
        counts = torch.zeros(int(steps[-1]) + 1, dtype=torch.int64).index_add(0, steps, sizes)
        yield from (part for part in torch.split(order, counts.tolist()) if len(part))


@dataclass(frozen=True, slots=True, eq=False)
class FittedHead:
    """The best candidate of one head.

    Attributes:
        head: What it reads and its shape.
        hyperparameters: With which it was fitted.
        value: Its validation metric.
        epoch: Its best epoch, from 1.
        tensors: Its tensors, by the names of a head file.
        candidates: How many candidates of this head were tried.
        folds: In cross-validation the tensors of the copy that was not fitted on each fold.
        apart: Whether it compares two texts that are encoded separately.
        logits: (M, K) its raw outputs for the validation rows, each without that row among its
            examples; None where its tensors give them.
    """

    head: HeadSpec
    hyperparameters: Hyperparameters
    value: float
    epoch: int
    tensors: Parameters
    candidates: int
    folds: tuple[Parameters, ...] = ()
    apart: bool = False
    logits: Array | None = None
