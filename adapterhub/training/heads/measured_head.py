"""The search for a head, with time and memory of fitting the chosen one by itself, if asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from adapterhub.kinds import KINDS
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.features.pairs import ComparedMix
from adapterhub.training.features.standardized_features import MixedTaps, Reader, SingleTaps
from adapterhub.training.heads.candidates import CVFolds, FittedHead
from adapterhub.training.heads.fit_inputs import FitInputs, matching_inputs
from adapterhub.training.heads.parsers.search import measure_parser, search_parsers
from adapterhub.training.heads.prototypes.search import search_prototypes
from adapterhub.training.heads.search_heads import (
    SearchResult,
    attentive_reader,
    search_heads,
)
from adapterhub.training.heads.successive_halving import CandidateBatch
from adapterhub.training.options import TrainingOptions


@dataclass(frozen=True, slots=True)
class HeadCost:
    """What fitting a head costs.

    Attributes:
        seconds: Of an epoch on features that are there.
        memory_bytes: Of gradients, moments, and what a step keeps for the gradients.
    """

    seconds: float
    memory_bytes: int


def search_measured(
    all_inputs: Sequence[FitInputs], *, options: TrainingOptions, source: FeatureSource
) -> SearchResult:
    """Returns the selected head, for a recipe of tuning with what it costs.

    Args:
        all_inputs: The same rows encoded in one or two ways.
        options: Which heads are candidates.
        source: Encoder and cache.

    Raises:
        UsageError: The options leave no candidate, or all of them diverged.
    """
    if all_inputs[0].trees:
        found = search_parsers(all_inputs[0], options=options, depth=source.encoder.depth)
    elif KINDS[all_inputs[0].splits.train.kind].prototypes:
        return search_prototypes(all_inputs[0], options=options, depth=source.encoder.depth)
    else:
        found = search_heads(all_inputs, options=options, source=source)
    if options.tune is None:
        return found
    own = matching_inputs(found.chosen.apart, all_inputs)
    if own.trees:
        return with_cost(found, HeadCost(*measure_parser(found.chosen, own, options)))
    return with_cost(found, measure_head(found.chosen, own, source))


def measure_head(chosen: FittedHead, fit_inputs: FitInputs, source: FeatureSource) -> HeadCost:
    """Returns what fitting a head on all training rows costs.

    Args:
        chosen: The head; it stays as it is.
        fit_inputs: Its rows.
        source: Gives the states of tokens, which attentive heads read.
    """
    problem = fit_inputs.problem
    prior = problem.objective.prior
    problem = replace(
        problem,
        objective=replace(problem.objective, prior=prior[-1] if prior.dim() > 1 else prior),
        cv_folds=CVFolds.held_out(0),
    )
    plain = replace(fit_inputs, problem=problem)
    width = chosen.head.hidden_width
    reader = _reader(chosen, plain, source)
    batch = CandidateBatch.start(reader, [chosen.hyperparameters], width, problem)
    generator = torch.Generator().manual_seed(problem.seed)
    sample = problem.all_rows.sample
    memory = batch.memory_bytes(sample, generator)
    started = time.perf_counter()
    batch.train(1, sample, generator)
    return HeadCost(time.perf_counter() - started, memory)


def with_cost(found: SearchResult, cost: HeadCost) -> SearchResult:
    """Returns a search's result whose table says what the chosen head costs."""
    table = found.table
    rows = list(table.rows)
    row = replace(rows[table.chosen], seconds=cost.seconds, memory_bytes=cost.memory_bytes)
    rows[table.chosen] = row
    note = (
        f"The chosen head: {row.parameters:,} trained numbers, no passes of its own, "
        f"{cost.seconds:.2f} s per epoch, {cost.memory_bytes / 1e6:,.1f} MB of memory for training."
    )
    return replace(found, table=replace(table, rows=tuple(rows), notes=(*table.notes, note)))


def _reader(chosen: FittedHead, fit_inputs: FitInputs, source: FeatureSource) -> Reader:
    heads = [chosen.head.model_copy(update={"hidden_width": None})]
    if chosen.head.pooling == "attentive":
        return attentive_reader(heads, fit_inputs, source)
    if len(chosen.head.depths) == 1:
        return SingleTaps.load(heads, fit_inputs.tap, fit_inputs.problem.device, None)
    mixed: type[ComparedMix | MixedTaps] = ComparedMix if chosen.apart else MixedTaps
    return mixed.load(heads, fit_inputs.tap, fit_inputs.problem.device, None)
