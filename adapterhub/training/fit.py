"""All candidate heads fitted together, as one batched problem on cached features.

A step is a few matrix products over (heads, settings); standardised features, AdamW, a cosine
schedule. After some epochs the worse half of the settings of each head and of the poolings of
each depth is dropped (successive halving); of each head the epoch that was best on the
validation rows is kept.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from adapterhub.specs import HeadSpec
from adapterhub.training.candidates import Setting
from adapterhub.training.objectives import Objective
from adapterhub.training.readers import Parameters, Reader
from adapterhub.training.selection import Judge
from adapterhub.training.stack import (
    Kept,
    Shape,
    StackedAdamW,
    fold_head,
    head_logits,
    start_heads,
)

# Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
# Optimization", 2016. Parts of the schedule after which half is dropped.
_HALVINGS = (0.1, 0.25, 0.5)
_VALIDATION_ROWS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What all candidates of one task share.

    Attributes:
        objective: Targets and loss.
        judge: Gives the validation value of candidates.
        validation_rows: Number M of validation rows (tagging: words).
        hidden_size: Width H of the features.
        epochs: Passes over the training rows.
        batch_size: Rows per step.
        seed: Of initial weights and order.
        device: Where features and heads are.
    """

    objective: Objective
    judge: Judge
    validation_rows: int
    hidden_size: int
    epochs: int
    batch_size: int
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
    """

    head: HeadSpec
    setting: Setting
    value: float
    epoch: int
    tensors: Parameters
    candidates: int


def fit(
    reader: Reader, settings: Sequence[Setting], *, hidden_width: int | None, problem: Problem
) -> list[Fitted]:
    """Returns the best candidate for each head of `reader`.

    Args:
        reader: Gives the features of G heads.
        settings: The C settings that are tried for each of them.
        hidden_width: Width of a hidden layer, or None for linear heads.
        problem: Targets, validation and budget.
    """
    field = _Field.start(reader, settings, hidden_width, problem)
    halvings = {max(1, round(part * problem.epochs)) for part in _HALVINGS}
    generator = torch.Generator().manual_seed(problem.seed)
    done: list[Fitted] = []
    shape = "linear" if hidden_width is None else f"hidden-{hidden_width}"
    name = f"fitting {len(reader.heads) * len(settings)} {shape} heads"
    for epoch in tqdm(range(1, problem.epochs + 1), desc=name, unit="epoch", disable=None):
        field.train(epoch, generator)
        field.remember(epoch)
        if epoch in halvings and epoch < problem.epochs:
            field, dropped = field.halve()
            done.extend(dropped)
    done.extend(field.finish(range(len(field.reader.heads))))
    order = {head: place for place, head in enumerate(reader.heads)}
    return sorted(done, key=lambda fitted: order[_linear(fitted.head)])


class _Field:
    """The candidates that are still in the running, with the best state of each."""

    def __init__(
        self,
        reader: Reader,
        settings: Sequence[Sequence[Setting]],
        parameters: Parameters,
        problem: Problem,
    ) -> None:
        self.reader = reader
        self._settings = [tuple(row) for row in settings]
        self._parameters = {name: p.requires_grad_() for name, p in parameters.items()}
        self._problem = problem
        self._optimiser = StackedAdamW(settings, problem.device)
        shape = (len(settings), len(settings[0]))
        self._tried = shape[1]
        self._best = torch.full(shape, -torch.inf, device=problem.device)
        self._epochs = torch.zeros(shape, dtype=torch.int64, device=problem.device)
        self._best_parameters = {name: p.detach().clone() for name, p in parameters.items()}

    @classmethod
    def start(
        cls,
        reader: Reader,
        settings: Sequence[Setting],
        hidden_width: int | None,
        problem: Problem,
    ) -> _Field:
        generator = torch.Generator().manual_seed(problem.seed)
        shape = Shape(len(reader.heads), len(settings), problem.hidden_size, hidden_width)
        heads = start_heads(shape, problem.objective, generator)
        parameters = {**heads, **reader.parameters(len(settings))}
        on_device = {name: value.to(problem.device) for name, value in parameters.items()}
        return cls(reader, [settings] * len(reader.heads), on_device, problem)

    def train(self, epoch: int, generator: torch.Generator) -> None:
        """Takes the steps of one epoch."""
        problem = self._problem
        targets = problem.objective.targets
        order = torch.randperm(len(targets), generator=generator).to(problem.device)
        batches = torch.split(order, problem.batch_size)
        total = problem.epochs * len(batches)
        for number, rows in enumerate(batches, start=(epoch - 1) * len(batches)):
            features = self.reader.read("train", rows, self._parameters)
            logits = head_logits(self._parameters, features)
            loss = problem.objective.loss(logits, targets[rows]).sum()
            torch.autograd.backward([loss])
            self._optimiser.step(self._parameters, 0.5 + 0.5 * math.cos(math.pi * number / total))

    @torch.no_grad()
    def remember(self, epoch: int) -> None:
        """Keeps the parameters of those that are better on the validation rows than before."""
        rows = torch.arange(self._problem.validation_rows, device=self._problem.device)
        parts = []
        for chunk in torch.split(rows, _VALIDATION_ROWS):
            features = self.reader.read("validation", chunk, self._parameters)
            parts.append(head_logits(self._parameters, features))
        logits = torch.cat(parts, dim=2)
        values = self._problem.judge(logits.flatten(0, 1)).view(self._best.shape).float()
        better = values > self._best
        self._best = torch.where(better, values, self._best)
        self._epochs = torch.where(better, epoch, self._epochs)
        for name, parameter in self._parameters.items():
            where = better.view(*better.shape, *(1,) * (parameter.dim() - 2))
            best = self._best_parameters[name]
            self._best_parameters[name] = torch.where(where, parameter.detach(), best)

    def halve(self) -> tuple[_Field, list[Fitted]]:
        """Returns the better half of the candidates, and the results of heads that are out."""
        ranking: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for group in self._best.amax(1).argsort(descending=True, stable=True).tolist():
            ranking[self.reader.heads[group].depths].append(group)
        groups = sorted(g for rivals in ranking.values() for g in rivals[: -(-len(rivals) // 2)])
        out = [group for group in range(len(self.reader.heads)) if group not in groups]
        count = -(-self._best.shape[1] // 2)
        index = torch.tensor(groups, device=self._best.device)
        chosen = self._best[index].argsort(dim=1, descending=True, stable=True)[:, :count]
        kept = Kept(index[:, None], chosen)
        settings = [
            [self._settings[group][setting] for setting in row]
            for group, row in zip(groups, chosen.tolist(), strict=True)
        ]
        detached = {name: p.detach() for name, p in self._parameters.items()}
        other = _Field(self.reader.keep(groups), settings, kept.of(detached), self._problem)
        other._optimiser = self._optimiser.select(settings, kept)
        other._best = self._best[kept.groups, kept.settings]
        other._epochs = self._epochs[kept.groups, kept.settings]
        other._best_parameters = kept.of(self._best_parameters)
        other._tried = self._tried
        return other, self.finish(out)

    def finish(self, groups: Sequence[int]) -> list[Fitted]:
        """Returns the best candidate of each of some heads."""
        results = []
        for group in groups:
            setting = int(self._best[group].argmax())
            one = {name: p[group, setting] for name, p in self._best_parameters.items()}
            scale, extra = self.reader.fold(group, one)
            tensors = {**fold_head(one, scale, self._problem.objective.unit), **extra}
            width = one["first"].shape[1] if "last" in one else None
            results.append(
                Fitted(
                    head=self.reader.heads[group].model_copy(update={"hidden_width": width}),
                    setting=self._settings[group][setting],
                    value=float(self._best[group, setting]),
                    epoch=int(self._epochs[group, setting]),
                    tensors={name: value.cpu().contiguous() for name, value in tensors.items()},
                    candidates=self._tried,
                )
            )
        return results


def _linear(head: HeadSpec) -> HeadSpec:
    return head.model_copy(update={"hidden_width": None})
