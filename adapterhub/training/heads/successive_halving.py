"""All candidates fitted together on cached features; at each stage the worse part is dropped."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import torch
from tqdm import tqdm

from adapterhub.specs import HeadSpec
from adapterhub.training.features.standardized_features import Parameters, Reader
from adapterhub.training.heads.batched_heads import (
    BatchShape,
    Kept,
    StackedAdamW,
    fold_head,
    head_logits,
    start_heads,
)
from adapterhub.training.heads.candidates import Fitted, Problem, Sample, Setting, Stage

_VALIDATION_ROWS = 4096
_VALIDATION_VALUES = _VALIDATION_ROWS * 1024
"""Mixes of depths have features of their own for every candidate, so wide ones take fewer rows."""


class Field:
    """G heads with C settings each, every candidate in R copies.

    Parameters are (G, C R, …); the copies of a setting lie side by side.
    """

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
        self._optimiser = StackedAdamW(self._of_copies(), problem.device)
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
    ) -> Field:
        """Returns all candidates at their start."""
        generator = torch.Generator().manual_seed(problem.seed)
        count = len(settings) * len(problem.copies)
        shape = BatchShape(len(reader.heads), count, problem.hidden_size, hidden_width)
        heads = start_heads(shape, problem.objective, generator)
        parameters = {**heads, **reader.parameters(count)}
        on_device = {name: value.to(problem.device) for name, value in parameters.items()}
        return cls(reader, [settings] * len(reader.heads), on_device, problem)

    def train(self, epoch: int, sample: Sample, generator: torch.Generator) -> None:
        """Takes the steps of one epoch over a sample of the training rows."""
        problem = self._problem
        targets, seen = problem.objective.targets, problem.copies.seen
        order = torch.randperm(len(sample.rows), generator=generator).to(problem.device)
        batches = torch.split(order, problem.batch_size)
        for number, places in enumerate(batches):
            rows, weights = sample.rows[places], sample.weights[places]
            features = self.reader.read("train", rows, self._parameters)
            logits = head_logits(self._parameters, _dropped(features, problem.dropout, generator))
            if seen is not None:
                weights = (weights * seen[:, rows]).repeat(len(self._settings[0]), 1)
            loss = problem.objective.loss(logits, targets[rows], weights).sum()
            torch.autograd.backward([loss])
            progress = (epoch - 1 + number / len(batches)) / problem.epochs
            self._optimiser.step(self._parameters, 0.5 + 0.5 * math.cos(math.pi * progress))

    @torch.no_grad()
    def remember(self, epoch: int, stage: Stage) -> None:
        """Keeps the parameters of those that are better on validation rows than before."""
        copies = len(self._problem.copies)
        answers = [self._answers(copy, rows) for copy, rows in enumerate(stage.answers)]
        logits = torch.cat(answers, dim=2)
        if copies > 1:
            logits = logits[:, :, torch.cat(stage.answers).argsort()]
        values = stage.judge(logits.flatten(0, 1)).view(self._best.shape).float()
        better = values > self._best
        self._best = torch.where(better, values, self._best)
        self._epochs = torch.where(better, epoch, self._epochs)
        every = better.repeat_interleave(copies, dim=1)
        for name, parameter in self._parameters.items():
            where = every.view(*every.shape, *(1,) * (parameter.dim() - 2))
            best = self._best_parameters[name]
            self._best_parameters[name] = torch.where(where, parameter.detach(), best)

    def forget(self) -> None:
        """Forgets how good candidates were; the next look keeps their parameters."""
        self._best.fill_(-torch.inf)

    def _answers(self, copy: int, rows: torch.Tensor) -> torch.Tensor:
        """Returns the logits of one copy of all candidates: (G, C, M, K)."""
        copies, outputs = len(self._problem.copies), self._problem.objective.outputs
        own = {name: p.detach()[:, copy::copies] for name, p in self._parameters.items()}
        parts = [own["first"].new_empty(*self._best.shape, 0, outputs)]
        at_once = min(_VALIDATION_ROWS, max(1, _VALIDATION_VALUES // self._problem.hidden_size))
        for chunk in torch.split(rows, at_once):
            if len(chunk):
                parts.append(head_logits(own, self.reader.read("validation", chunk, own)))
        return torch.cat(parts, dim=2)

    def halve(self, slack: float) -> tuple[Field, list[Fitted]]:
        """Returns the better half of the candidates, and the results of heads that are out.

        Args:
            slack: How far the value of a head may be behind the best.
        """
        groups = self._leading(slack)
        out = [group for group in range(len(self.reader.heads)) if group not in groups]
        index = torch.tensor(groups, device=self._best.device)
        count = -(-self._best.shape[1] // 2)
        chosen = self._best[index].argsort(dim=1, descending=True, stable=True)[:, :count]
        steps = torch.arange(len(self._problem.copies), device=chosen.device)
        places = (chosen[..., None] * len(steps) + steps).flatten(1)
        kept, every = Kept(index[:, None], chosen), Kept(index[:, None], places)
        settings = [
            [self._settings[group][setting] for setting in row]
            for group, row in zip(groups, chosen.tolist(), strict=True)
        ]
        detached = {name: p.detach() for name, p in self._parameters.items()}
        other = Field(self.reader.keep(groups), settings, every.of(detached), self._problem)
        other._optimiser = self._optimiser.select(other._of_copies(), every)
        other._best = self._best[kept.groups, kept.settings]
        other._epochs = self._epochs[kept.groups, kept.settings]
        other._best_parameters = every.of(self._best_parameters)
        other._tried = self._tried
        return other, self.finish(out)

    def _leading(self, slack: float) -> list[int]:
        """Returns the better half of the heads of each depth that are not far behind the best."""
        values = self._best.amax(1)
        least = float(values.max()) - slack
        ranking: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for group in values.argsort(descending=True, stable=True).tolist():
            ranking[self.reader.heads[group].depths].append(group)
        halves = (rivals[: -(-len(rivals) // 2)] for rivals in ranking.values())
        return sorted(group for half in halves for group in half if float(values[group]) >= least)

    def finish(self, groups: Sequence[int]) -> list[Fitted]:
        """Returns the best candidate of each of some heads."""
        results = []
        for group in groups:
            setting = int(self._best[group].argmax())
            first = setting * len(self._problem.copies)
            tensors = [
                self._tensors(group, place)
                for place in range(first, first + len(self._problem.copies))
            ]
            hidden = tensors[-1].get("head.hidden.bias")
            width = None if hidden is None else len(hidden)
            results.append(
                Fitted(
                    head=self.reader.heads[group].model_copy(update={"hidden_width": width}),
                    setting=self._settings[group][setting],
                    value=float(self._best[group, setting]),
                    epoch=int(self._epochs[group, setting]),
                    tensors=tensors[-1],
                    candidates=self._tried,
                    folds=tuple(tensors[:-1]),
                )
            )
        return results

    def _tensors(self, group: int, place: int) -> Parameters:
        """Returns the tensors of one copy, as a head file has them."""
        one = {name: p[group, place] for name, p in self._best_parameters.items()}
        scale, extra = self.reader.fold(group, one)
        tensors = {**fold_head(one, scale, self._problem.objective.unit), **extra}
        return {name: value.cpu().contiguous() for name, value in tensors.items()}

    def _of_copies(self) -> list[list[Setting]]:
        copies = range(len(self._problem.copies))
        return [[setting for setting in row for _ in copies] for row in self._settings]


def _dropped(features: torch.Tensor, part: float, generator: torch.Generator) -> torch.Tensor:
    """Returns features of which a part is zero and the rest is larger, alike on average."""
    if not part:
        return features
    kept = torch.rand(features.shape, generator=generator).ge_(part).to(features.device)
    return features * kept / (1 - part)


# Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
# Optimization", 2016. Parts of the schedule after which half is dropped.
_HALVINGS = (0.1, 0.25, 0.5)
# Looking at the validation rows more often than this costs more than it finds.
_MOST_LOOKS = 24


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
    field = Field.start(reader, settings, hidden_width, problem)
    epochs = problem.epochs
    halvings = {max(1, round(part * epochs)) for part in _HALVINGS} - {epochs}
    looks = {round(epochs * look / _MOST_LOOKS) for look in range(_MOST_LOOKS)} | {epochs}
    generator = torch.Generator().manual_seed(problem.seed)
    everything = problem.everything
    ranking = problem.ranking or everything
    done: list[Fitted] = []
    shape = "linear" if hidden_width is None else f"hidden-{hidden_width}"
    name = f"fitting {len(reader.heads) * len(settings)} {shape} heads"
    for epoch in tqdm(range(1, epochs + 1), desc=name, unit="epoch", disable=None):
        stage = ranking if epoch <= max(halvings, default=0) else everything
        field.train(epoch, stage.sample, generator)
        if epoch in looks | halvings:
            field.remember(epoch, stage)
        if epoch in halvings:
            # What is behind late will not catch up.
            field, dropped = field.halve(problem.slack * (1 - epoch / epochs))
            done.extend(dropped)
            if epoch == max(halvings) and ranking is not everything:
                # Values on some rows and values on all do not compare.
                field.forget()
    done.extend(field.finish(range(len(field.reader.heads))))
    order = {head: place for place, head in enumerate(reader.heads)}
    return sorted(done, key=lambda fitted: order[_linear(fitted.head)])


def _linear(head: HeadSpec) -> HeadSpec:
    return head.model_copy(update={"hidden_width": None})
