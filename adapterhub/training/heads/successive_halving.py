"""Successive halving: fits all candidates together and drops the worse half at each stage."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import torch
from tqdm import tqdm

from adapterhub.specs import HeadSpec
from adapterhub.training.evaluation.memory import saved_bytes, state_bytes
from adapterhub.training.features.standardized_features import Parameters, Reader
from adapterhub.training.heads.batched_heads import (
    BatchedAdamW,
    BatchShape,
    KeptHeads,
    export_head,
    head_logits,
    initial_heads,
)
from adapterhub.training.heads.candidates import FittedHead, Hyperparameters, Problem, Stage
from adapterhub.training.kinds.objective import Sample
from adapterhub.training.kinds.vectors.principal import SAMPLE, principal_axes

_VALIDATION_ROWS = 4096
_VALIDATION_VALUES = _VALIDATION_ROWS * 1024
"""Bounds of rows, and of rows times width, at once: mixes have features per candidate."""


class CandidateBatch:
    """G heads with C settings each, every candidate in R copies.

    Parameters are (G, C R, …); the copies of a setting are adjacent.
    """

    def __init__(
        self,
        reader: Reader,
        settings: Sequence[Sequence[Hyperparameters]],
        parameters: Parameters,
        problem: Problem,
    ) -> None:
        self.reader = reader
        self._settings = [tuple(row) for row in settings]
        self._parameters = {name: p.requires_grad_() for name, p in parameters.items()}
        self._problem = problem
        start = {}
        if problem.objective.projects:
            start = {"first": parameters["first"].detach()[:, :1].clone()}
        self._optimiser = BatchedAdamW(self._copied_settings(), problem.device, start)
        shape = (len(settings), len(settings[0]))
        self._tried = shape[1]
        self._best = torch.full(shape, -torch.inf, device=problem.device)
        self._epochs = torch.zeros(shape, dtype=torch.int64, device=problem.device)
        self._best_parameters = {name: p.detach().clone() for name, p in parameters.items()}

    @classmethod
    def start(
        cls,
        reader: Reader,
        settings: Sequence[Hyperparameters],
        hidden_width: int | None,
        problem: Problem,
    ) -> CandidateBatch:
        """Returns all candidates with initial parameters."""
        generator = torch.Generator().manual_seed(problem.seed)
        count = len(settings) * len(problem.cv_folds)
        shape = BatchShape(len(reader.heads), count, problem.hidden_size, hidden_width)
        heads = initial_heads(shape, problem.objective, generator)
        parameters = {**heads, **reader.parameters(count)}
        on_device = {name: value.to(problem.device) for name, value in parameters.items()}
        if problem.objective.projects:
            axes = _axes(reader, on_device, problem)
            on_device["first"] = axes[:, None].expand_as(on_device["first"]).clone()
        return cls(reader, [settings] * len(reader.heads), on_device, problem)

    def train(self, epoch: int, sample: Sample, generator: torch.Generator) -> None:
        """Trains one epoch on a sample of the training rows."""
        problem = self._problem
        batches = [one.to(problem.device) for one in problem.batches(sample, generator)]
        for number, places in enumerate(batches):
            loss = self._loss(sample.rows[places], sample.weights[places], generator)
            torch.autograd.backward([loss])
            progress = (epoch - 1 + number / len(batches)) / problem.epochs
            self._optimiser.step(self._parameters, 0.5 + 0.5 * math.cos(math.pi * progress))

    def _loss(
        self, rows: torch.Tensor, weights: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Returns the summed loss of all candidates on some training rows."""
        problem = self._problem
        targets, mask = problem.objective.targets, problem.cv_folds.train_mask
        features = self.reader.read("train", problem.items_of("train", rows), self._parameters)
        logits = head_logits(self._parameters, _dropped(features, problem.dropout, generator))
        logits = problem.by_row("train", logits, rows)
        if mask is not None:
            weights = (weights * mask[:, rows]).repeat(len(self._settings[0]), 1)
        return problem.objective.loss(logits, targets[rows], weights).sum()

    def memory_bytes(self, sample: Sample, generator: torch.Generator) -> int:
        """Returns the memory of a step: gradients, moments, and what is kept for the gradients."""
        size, own = self._problem.batch_size, self._parameters.values()
        rows, weights = sample.rows[:size], sample.weights[:size]
        return state_bytes(own) + saved_bytes(lambda: self._loss(rows, weights, generator), own)

    @torch.no_grad()
    def validate(self, epoch: int, stage: Stage) -> None:
        """Keeps the parameters of candidates whose validation metric improved."""
        copies = len(self._problem.cv_folds)
        parts = enumerate(stage.validation_rows)
        logits = torch.cat([self._validation_logits(copy, rows) for copy, rows in parts], dim=2)
        if copies > 1:
            logits = logits[:, :, torch.cat(stage.validation_rows).argsort()]
        values = stage.judge(logits.flatten(0, 1)).view(self._best.shape).float()
        better = values > self._best
        self._best = torch.where(better, values, self._best)
        self._epochs = torch.where(better, epoch, self._epochs)
        every = better.repeat_interleave(copies, dim=1)
        for name, parameter in self._parameters.items():
            # Group by group: all of them at once would be held twice.
            for best, latest, improved in zip(
                self._best_parameters[name], parameter.detach(), every, strict=True
            ):
                best[improved] = latest[improved]

    def reset_best(self) -> None:
        """Resets the best metrics, which those on other rows cannot be compared with."""
        self._best.fill_(-torch.inf)

    def _validation_logits(self, copy: int, rows: torch.Tensor) -> torch.Tensor:
        """Returns the logits of one copy of all candidates: (G, C, M, K)."""
        problem = self._problem
        copies = len(problem.cv_folds)
        own = {name: p.detach()[:, copy::copies] for name, p in self._parameters.items()}
        none = own["first"].new_empty(*self._best.shape, 0, problem.objective.outputs)
        parts = [problem.by_row("validation", none, rows[:0])]
        at_once = min(_VALIDATION_ROWS, max(1, _VALIDATION_VALUES // problem.hidden_size))
        for chunk in torch.split(rows, at_once):
            if len(chunk):
                items = problem.items_of("validation", chunk)
                logits = head_logits(own, self.reader.read("validation", items, own, copy))
                parts.append(problem.by_row("validation", logits, chunk))
        return torch.cat(parts, dim=2)

    def halve(self, slack: float) -> tuple[CandidateBatch, list[FittedHead]]:
        """Returns the better half of the candidates, and the results of dropped heads.

        Args:
            slack: How far below the best metric a head may be.
        """
        groups = self._best_half(slack)
        out = [group for group in range(len(self.reader.heads)) if group not in groups]
        index = torch.tensor(groups, device=self._best.device)
        count = -(-self._best.shape[1] // 2)
        chosen = self._best[index].argsort(dim=1, descending=True, stable=True)[:, :count]
        steps = torch.arange(len(self._problem.cv_folds), device=chosen.device)
        places = (chosen[..., None] * len(steps) + steps).flatten(1)
        kept, every = KeptHeads(index[:, None], chosen), KeptHeads(index[:, None], places)
        settings = [
            [self._settings[group][setting] for setting in row]
            for group, row in zip(groups, chosen.tolist(), strict=True)
        ]
        detached = {name: p.detach() for name, p in self._parameters.items()}
        other = CandidateBatch(
            self.reader.keep(groups), settings, every.of(detached), self._problem
        )
        other._optimiser = self._optimiser.select(other._copied_settings(), every)
        other._best = self._best[kept.groups, kept.settings]
        other._epochs = self._epochs[kept.groups, kept.settings]
        other._best_parameters = every.of(self._best_parameters)
        other._tried = self._tried
        return other, self.results(out)

    def _best_half(self, slack: float) -> list[int]:
        """Returns the better half of the heads of each depth, of those within the slack."""
        values = self._best.amax(1)
        least = float(values.max()) - slack
        ranking: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for group in values.argsort(descending=True, stable=True).tolist():
            ranking[self.reader.heads[group].depths].append(group)
        halves = (rivals[: -(-len(rivals) // 2)] for rivals in ranking.values())
        return sorted(group for half in halves for group in half if float(values[group]) >= least)

    def results(self, groups: Sequence[int]) -> list[FittedHead]:
        """Returns the best candidate of each of some heads."""
        results = []
        for group in groups:
            setting = int(self._best[group].argmax())
            first = setting * len(self._problem.cv_folds)
            tensors = [
                self._tensors(group, place)
                for place in range(first, first + len(self._problem.cv_folds))
            ]
            hidden = tensors[-1].get("head.hidden.bias")
            width = None if hidden is None else len(hidden)
            results.append(
                FittedHead(
                    head=self.reader.heads[group].model_copy(update={"hidden_width": width}),
                    hyperparameters=self._settings[group][setting],
                    value=float(self._best[group, setting]),
                    epoch=int(self._epochs[group, setting]),
                    tensors=tensors[-1],
                    candidates=self._tried,
                    folds=tuple(tensors[:-1]),
                )
            )
        return results

    def _tensors(self, group: int, place: int) -> Parameters:
        """Returns the tensors of one copy, by the names of a head file."""
        one = {name: p[group, place] for name, p in self._best_parameters.items()}
        copy = place % len(self._problem.cv_folds)
        scale, extra = self.reader.export(group, one, copy)
        tensors = {**export_head(one, scale, self._problem.objective.unit), **extra}
        return {name: value.cpu().contiguous() for name, value in tensors.items()}

    def _copied_settings(self) -> list[list[Hyperparameters]]:
        copies = range(len(self._problem.cv_folds))
        return [[setting for setting in row for _ in copies] for row in self._settings]


def _axes(reader: Reader, own: Parameters, problem: Problem) -> torch.Tensor:
    """Returns the principal axes of what each head reads at its start: (G, H, K)."""
    items = problem.items_of("train", problem.all_rows.sample.rows)
    items = items[:: -(-len(items) // SAMPLE)]
    axes = []
    for group in range(len(reader.heads)):
        first = {name: value[group : group + 1, :1] for name, value in own.items()}
        features = reader.keep([group]).read("train", items, first)[0, 0]
        axes.append(principal_axes(features, problem.objective.outputs))
    return torch.stack(axes)


def _untrained(reader: Reader, problem: Problem) -> list[FittedHead]:
    """Returns the heads as they start, for objectives whose start is of use by itself."""
    batch = CandidateBatch.start(reader, [Hyperparameters(0.0, 0.0)], None, problem)
    batch.validate(0, problem.all_rows)
    return batch.results(range(len(reader.heads)))


def _dropped(features: torch.Tensor, part: float, generator: torch.Generator) -> torch.Tensor:
    """Returns features after dropout; the mask is drawn on the CPU, equal on all devices."""
    if not part:
        return features
    kept = torch.rand(features.shape, generator=generator).ge_(part).to(features.device)
    return features * kept / (1 - part)


# Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
# Optimization", 2016. Fractions of the epochs after which half is dropped.
_HALVINGS = (0.1, 0.25, 0.5)
# Validating more often costs more time than better epochs are worth.
_MOST_VALIDATIONS = 24


def fit(
    reader: Reader,
    settings: Sequence[Hyperparameters],
    *,
    hidden_width: int | None,
    problem: Problem,
) -> list[FittedHead]:
    """Returns the best candidate for each head of `reader`, and of projections the untrained one.

    Args:
        reader: Of the features of G heads.
        settings: C hyperparameter settings, each tried for every head.
        hidden_width: Width of a hidden layer, or None for linear heads.
        problem: Targets, validation and budget.
    """
    batch = CandidateBatch.start(reader, settings, hidden_width, problem)
    epochs = problem.epochs
    halvings = {max(1, round(part * epochs)) for part in _HALVINGS} - {epochs}
    validations = {round(epochs * n / _MOST_VALIDATIONS) for n in range(_MOST_VALIDATIONS)} | {
        epochs
    }
    generator = torch.Generator().manual_seed(problem.seed)
    all_rows = problem.all_rows
    ranking = problem.ranking or all_rows
    done = _untrained(reader, problem) if problem.objective.projects else []
    shape = "linear" if hidden_width is None else f"hidden-{hidden_width}"
    name = f"fitting {len(reader.heads) * len(settings)} {shape} heads"
    for epoch in tqdm(range(1, epochs + 1), desc=name, unit="epoch", disable=None):
        stage = ranking if epoch <= max(halvings, default=0) else all_rows
        batch.train(epoch, stage.sample, generator)
        if epoch in validations | halvings:
            batch.validate(epoch, stage)
        if epoch in halvings:
            # The later, the less can a head catch up.
            batch, dropped = batch.halve(problem.slack * (1 - epoch / epochs))
            done.extend(dropped)
            if epoch == max(halvings) and ranking is not all_rows:
                batch.reset_best()
    done.extend(batch.results(range(len(batch.reader.heads))))
    order = {head: place for place, head in enumerate(reader.heads)}
    return sorted(done, key=lambda fitted: order[_linear(fitted.head)])


def _linear(head: HeadSpec) -> HeadSpec:
    return head.model_copy(update={"hidden_width": None})
