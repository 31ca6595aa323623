"""The search for a parser: all depths and some mixes on a sample, the best of them on all rows.

Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
Optimization", 2016. Each round trains longer, on more rows, and fewer candidates.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from adapterhub.errors import UsageError
from adapterhub.specs import HeadSpec
from adapterhub.training.evaluation.memory import saved_bytes, state_bytes
from adapterhub.training.features.standardized_features import (
    MixedTaps,
    Parameters,
    Part,
    Reader,
    SingleTaps,
)
from adapterhub.training.heads.candidates import (
    FittedHead,
    Hyperparameters,
    depths_of,
    hyperparameter_grid,
)
from adapterhub.training.heads.fit_inputs import FitInputs, rows_within
from adapterhub.training.heads.parsers.layers import BiaffineLayers, ParserShape
from adapterhub.training.heads.parsers.sentences import sentence_batches
from adapterhub.training.heads.search_heads import SearchResult, spread
from adapterhub.training.heads.table import by_cost, make_table
from adapterhub.training.options import TrainingOptions

# A mix with the lowest depths is mostly far better than any one depth (8 points of LAS on the same
# sentences): which word stands where is known best there.
# Units that suffice to rank candidates, and the part of the epochs that this takes.
_RANKED_UNITS = 40_000
_RANKING = 0.4
_MOST_MIXES = 4
# Of those that are ranked, so many are trained on all rows.
_FINALISTS = 3
_VALIDATION_UNITS = 4096
_RATE, _DECAY = 3e-3, 0.01
DROPOUT = 0.1
"""Where the options name none. On 4,000 English sentences 0.1 gave 48 % LAS after ten epochs, 0.33
gave 44: frozen features of few dimensions leave little to drop."""


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """A parser that may be trained.

    Attributes:
        head: What it reads, and its shape.
        setting: With which it is trained.
    """

    head: HeadSpec
    setting: Hyperparameters


def parser_head(depths: tuple[int, ...], options: TrainingOptions) -> HeadSpec:
    """Returns the head of a parser that reads some depths."""
    arc, relation = options.parser_widths
    return HeadSpec(
        depths=depths, pooling="tokens", hidden_width=2 * (arc + relation), arc_width=arc
    )


def search_parsers(fit_inputs: FitInputs, *, options: TrainingOptions, depth: int) -> SearchResult:
    """Returns the selected parser, the cheapest within the tolerance of the best.

    Args:
        fit_inputs: Features and trees.
        options: Depths, shape and budget.
        depth: Depth of the backbone.

    Raises:
        UsageError: No candidate could be trained.
    """
    candidates = list(_candidates(fit_inputs, options, depth))
    notes = list(fit_inputs.notes)
    if options.mixes and fit_inputs.tap_bytes * 2 > options.memory_bytes:
        notes.append("Mixes of depths are left out: their features would exceed memory_bytes.")
    fitted: list[FittedHead] = []
    if len(candidates) > 1:
        ranked = _rank(candidates, fit_inputs, options)
        best = _finalists(ranked, fit_inputs.problem.slack)
        fitted = [one for place, one in enumerate(ranked) if place not in best]
        candidates = [candidates[place] for place in best]
    for number, candidate in enumerate(candidates, start=1):
        name = f"parser {number} of {len(candidates)}"
        fitted.append(_Training(candidate, fit_inputs, options).run(name))
    ordered = by_cost(one for one in fitted if one.value > float("-inf"))
    if not ordered:
        raise UsageError("No candidate could be fitted; try lower learning rates.")
    table = make_table(
        ordered,
        metric=fit_inputs.metric,
        measure=fit_inputs.measure,
        tolerance=options.tolerance,
        notes=tuple(dict.fromkeys(notes)),
    )
    return SearchResult(ordered[table.chosen], table)


def rank_parsers(
    fit_inputs: FitInputs, *, options: TrainingOptions, depth: int
) -> tuple[HeadSpec, int]:
    """Returns the head with the best rank, and how many were tried; a single one needs no trial.

    Args:
        fit_inputs: As in `search_parsers`.
        options: As in `search_parsers`.
        depth: As in `search_parsers`.
    """
    candidates = list(_candidates(fit_inputs, options, depth))
    if len(candidates) == 1:
        return candidates[0].head, 0
    ranked = _rank(candidates, fit_inputs, options)
    return max(ranked, key=lambda one: one.value).head, len(ranked)


def _candidates(
    fit_inputs: FitInputs, options: TrainingOptions, depth: int
) -> Iterator[_Candidate]:
    """Yields a parser per depth, then some learned mixes of the lowest depths."""
    depths = depths_of(options, depth)
    reads: list[tuple[int, ...]] = [(one,) for one in depths]
    if options.mixes:
        mixes = [depths[:count] for count in range(2, len(depths) + 1)]
        mixes = [mixes[-1 - place] for place in spread(len(mixes), _MOST_MIXES)]
        reads += [mix for mix in mixes if fit_inputs.tap_bytes * len(mix) <= options.memory_bytes]
    is_given = {"learning_rates", "weight_decays"} & options.model_fields_set
    settings = hyperparameter_grid(options) if is_given else (Hyperparameters(_RATE, _DECAY),)
    for read in reads:
        for setting in settings:
            yield _Candidate(parser_head(read, options), setting)


def _rank(
    candidates: Sequence[_Candidate], fit_inputs: FitInputs, options: TrainingOptions
) -> list[FittedHead]:
    """Returns all candidates after a short training on a sample of the sentences."""
    problem, sizes = fit_inputs.problem, fit_inputs.trees["train"].sizes
    rows = rows_within(sizes.tolist(), _RANKED_UNITS, problem.seed)
    epochs = max(1, round(problem.epochs * _RANKING))
    return [
        _Training(candidate, fit_inputs, options, rows=rows, epochs=epochs).run(
            f"ranking {number} of {len(candidates)} parsers"
        )
        for number, candidate in enumerate(candidates, start=1)
    ]


def _finalists(ranked: Sequence[FittedHead], slack: float) -> list[int]:
    """Returns the places of the best half of the candidates, of those within the slack."""
    order = sorted(range(len(ranked)), key=lambda place: -ranked[place].value)
    count = min(_FINALISTS, -(-len(ranked) // 2))
    least = ranked[order[0]].value - slack
    return sorted(place for place in order[:count] if ranked[place].value >= least)


def measure_parser(
    chosen: FittedHead, fit_inputs: FitInputs, options: TrainingOptions
) -> tuple[float, int]:
    """Returns the seconds of an epoch of training a parser, and the memory of a step in bytes."""
    candidate = _Candidate(chosen.head, chosen.hyperparameters)
    return _Training(candidate, fit_inputs, options).cost()


class _Training:
    """The training of one parser."""

    def __init__(
        self,
        candidate: _Candidate,
        fit_inputs: FitInputs,
        options: TrainingOptions,
        *,
        rows: Sequence[int] | None = None,
        epochs: int | None = None,
    ) -> None:
        """Loads the features, and makes a parser.

        Args:
            candidate: What to train.
            fit_inputs: Features and trees.
            options: Dropout and patience.
            rows: The training rows; None for all.
            epochs: Passes over them; None for those of the problem.
        """
        problem = fit_inputs.problem
        self._candidate, self._problem = candidate, problem
        self._trees = fit_inputs.trees
        self._rows = range(len(self._trees["train"].sizes)) if rows is None else rows
        self._epochs = epochs or problem.epochs
        self._draw = torch.Generator().manual_seed(problem.seed)
        head = candidate.head
        taps = SingleTaps if len(head.depths) == 1 else MixedTaps
        self._reader: Reader = taps.load([head], fit_inputs.tap, problem.device)
        dropout = options.head_dropout if _has_dropout(options) else DROPOUT
        arc, relation = options.parser_widths
        shape = ParserShape(problem.hidden_size, arc, relation, dropout)
        prior = problem.objective.prior.cpu()
        self._layers = BiaffineLayers(shape, prior, self._draw).to(problem.device)
        self._own = {
            name: value.to(problem.device).requires_grad_()
            for name, value in self._reader.parameters(1).items()
        }
        self._optimiser = self._make_optimiser()
        self._targets = {
            part: trees.targets().to(problem.device) for part, trees in self._trees.items()
        }

    def run(self, name: str) -> FittedHead:
        """Returns the parser at its best epoch."""
        best, best_epoch, kept = float("-inf"), 0, self._snapshot()
        bar = tqdm(range(1, self._epochs + 1), desc=name, unit="epoch", disable=None)
        for epoch in bar:
            self._run_epoch(epoch)
            value = self._validate()
            bar.set_postfix(value=value)
            if value > best:
                best, best_epoch, kept = value, epoch, self._snapshot()
        self._layers, self._own = kept
        self._layers.calibrate(
            (units, sizes, self._targets["validation"][places])
            for places, sizes, units in self._held_out()
        )
        own = {name: value[0, 0] for name, value in self._own.items()}
        scale, extra = self._reader.export(0, own)
        extra = {name: value.cpu().contiguous() for name, value in extra.items()}
        tensors = {**self._layers.export(scale), **extra}
        head, setting = self._candidate.head, self._candidate.setting
        return FittedHead(head, setting, best, best_epoch, tensors, candidates=1)

    def cost(self) -> tuple[float, int]:
        """Returns the seconds of an epoch, and the memory of a step in bytes."""
        every = [*self._layers.parameters(), *self._own.values()]
        trees, size = self._trees["train"], self._problem.batch_size
        rows = next(sentence_batches(trees.sizes, self._rows, units=size))
        memory = state_bytes(every) + saved_bytes(lambda: self._loss(rows), every)
        started = time.perf_counter()
        self._run_epoch(1)
        return time.perf_counter() - started, memory

    def _run_epoch(self, epoch: int) -> None:
        trees, size = self._trees["train"], self._problem.batch_size
        draw = np.random.default_rng((self._problem.seed, epoch))
        steps = list(sentence_batches(trees.sizes, self._rows, units=size, draw=draw))
        for number, rows in enumerate(steps):
            progress = (epoch - 1 + number / len(steps)) / self._epochs
            factor = 0.5 + 0.5 * math.cos(math.pi * progress)
            for group in self._optimiser.param_groups:
                group["lr"] = self._candidate.setting.learning_rate * factor
            self._optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward([self._loss(rows)])
            self._optimiser.step()

    def _loss(self, rows: Sequence[int]) -> torch.Tensor:
        places, sizes = self._places("train", rows)
        units = self._layers.units(self._read("train", places), self._draw)
        return self._layers.loss(units, sizes, self._targets["train"][places])

    @torch.no_grad()
    def _validate(self) -> float:
        predicted = torch.zeros_like(self._targets["validation"])
        for places, sizes, units in self._held_out():
            predicted[places] = self._layers.predictions(units, sizes)
        return float(self._problem.judge(predicted[None])[0])

    def _held_out(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yields places, sizes and hidden layer (n, W) of all validation units, in batches."""
        sizes = self._trees["validation"].sizes
        for rows in sentence_batches(sizes, range(len(sizes)), units=_VALIDATION_UNITS):
            places, own = self._places("validation", rows)
            with torch.no_grad():
                units = self._layers.units(self._read("validation", places))
            yield places, own, units

    def _places(self, part: Part, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the units of rows, one row behind another, and how many each has."""
        trees, device = self._trees[part], self._problem.device
        starts, sizes = trees.starts[rows], trees.sizes[rows]
        units = [np.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        return torch.from_numpy(np.concatenate(units)).to(device), torch.from_numpy(sizes).to(
            device
        )

    def _read(self, part: Part, places: torch.Tensor) -> torch.Tensor:
        """Returns the standardised features of units: (n, H)."""
        return self._reader.read(part, places, self._own)[0, 0]

    def _snapshot(self) -> tuple[BiaffineLayers, Parameters]:
        own = {name: value.detach().clone() for name, value in self._own.items()}
        return copy.deepcopy(self._layers), own

    def _make_optimiser(self) -> torch.optim.AdamW:
        """Returns AdamW; vectors have no weight decay."""
        setting = self._candidate.setting
        parameters = [*self._layers.parameters(), *self._own.values()]
        matrices = [one for one in self._layers.parameters() if one.dim() > 1]
        others = [one for one in parameters if not any(one is other for other in matrices)]
        groups = [
            {"params": matrices, "weight_decay": setting.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=setting.learning_rate, betas=(0.9, 0.99))


def _has_dropout(options: TrainingOptions) -> bool:
    return "head_dropout" in options.model_fields_set
