"""The search for a head, from cheap to expensive candidates.

1. Linear heads on every tap.
2. Hidden layers on the best pooling of each competitive depth.
3. Learned mixes of depths and attentive pooling, with the best shape so far, at the best depths
   only: they read more than one tap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from adapterhub.errors import UsageError
from adapterhub.kinds import KINDS, Kind
from adapterhub.specs import HeadSpec
from adapterhub.training.features.attentive_features import AttentiveTokens, TokenStates
from adapterhub.training.features.choice_items import SIDES
from adapterhub.training.features.encoding import FeatureSource, Layout, read_features
from adapterhub.training.features.pairs import ComparedMix
from adapterhub.training.features.standardized_features import MixedTaps, SingleTaps
from adapterhub.training.heads.batched_heads import BatchShape, batch_bytes
from adapterhub.training.heads.candidates import (
    FittedHead,
    Hyperparameters,
    depths_of,
    hyperparameter_grid,
    mixed_heads,
    single_heads,
)
from adapterhub.training.heads.fit_inputs import FitInputs
from adapterhub.training.heads.successive_halving import fit
from adapterhub.training.heads.table import SearchTable, by_cost, make_table
from adapterhub.training.options import TrainingOptions

_ATTENTIVE_DEPTHS = 2
_MOST_MIXES = 3
_SHARE_OF_HEADS = 0.5
"""Of `memory_bytes`, which is for features, what the heads that are fitted at once may take."""


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """The outcome of a search.

    Attributes:
        chosen: The cheapest head within the tolerance of the best.
        table: All heads.
    """

    chosen: FittedHead
    table: SearchTable


def search_heads(
    all_inputs: Sequence[FitInputs], *, options: TrainingOptions, source: FeatureSource
) -> SearchResult:
    """Returns the selected head, of candidates on the same rows encoded in one or two ways.

    Raises:
        UsageError: The options leave no candidate, or all of them diverged.
    """
    notes = [note for fit_inputs in all_inputs for note in fit_inputs.notes]
    fitted: list[FittedHead] = []
    for fit_inputs in all_inputs:
        found = _fit_all(fit_inputs, options, source, notes)
        fitted += (replace(one, apart=fit_inputs.reading.apart) for one in found)
    # A diverged candidate has no metric.
    ordered = by_cost(one for one in fitted if one.value > float("-inf"))
    if not ordered:
        raise UsageError("No candidate could be fitted; try lower learning rates.")
    table = make_table(
        ordered,
        metric=all_inputs[0].metric,
        measure=all_inputs[0].measure,
        tolerance=options.tolerance,
        notes=tuple(dict.fromkeys(notes)),
    )
    return SearchResult(ordered[table.chosen], table)


def _fit_all(
    fit_inputs: FitInputs, options: TrainingOptions, source: FeatureSource, notes: list[str]
) -> list[FittedHead]:
    """Returns the best candidate of each head of any shape."""
    kind, is_apart = fit_inputs.splits.train.kind, fit_inputs.reading.apart
    singles = single_heads(options, kind, source.encoder.depth)
    fitted: list[FittedHead] = []
    if singles:
        fitted += _fit_singles(singles, None, fit_inputs, options)
        leading = _leading_heads(fitted, fit_inputs)
        for width in _hidden_widths(options, kind):
            fitted += _fit_singles(leading, width, fit_inputs, options)
        fitted += _fit_mixes(fitted, fit_inputs, options, notes)
    if "attentive" in options.poolings and not KINDS[kind].per_token and not is_apart:
        fitted += _fit_attentive(fitted, fit_inputs, options, source, notes)
    return fitted


def _fit_singles(
    heads: Sequence[HeadSpec], width: int | None, fit_inputs: FitInputs, options: TrainingOptions
) -> Iterator[FittedHead]:
    """Yields the best candidate of each head; fits as many taps at once as memory holds."""
    settings = hyperparameter_grid(options)
    taps = options.memory_bytes // fit_inputs.tap_bytes
    batch = int(options.memory_bytes * _SHARE_OF_HEADS) // _head_bytes(fit_inputs, settings, width)
    at_once = max(1, min(taps, batch))
    for start in range(0, len(heads), at_once):
        part = heads[start : start + at_once]
        mask = fit_inputs.problem.item_mask
        reader = SingleTaps.load(part, fit_inputs.tap, fit_inputs.problem.device, mask)
        yield from fit(reader, settings, hidden_width=width, problem=fit_inputs.problem)


def _head_bytes(
    fit_inputs: FitInputs, settings: Sequence[Hyperparameters], width: int | None
) -> int:
    """Returns the memory of fitting one head with all settings: with many labels, gigabytes."""
    problem = fit_inputs.problem
    copies = len(settings) * len(problem.cv_folds)
    shape = BatchShape(1, copies, problem.hidden_size, width)
    rows, outputs = problem.batch_size, problem.objective.outputs
    if problem.objective.projects:
        rows = SIDES * rows + rows**2 // outputs  # each text is compared with each partner
    return batch_bytes(shape, outputs, rows=rows)


def _hidden_widths(options: TrainingOptions, kind: Kind) -> tuple[int, ...]:
    """Returns the widths of hidden layers; a vector is a projection of features, without one."""
    return () if KINDS[kind].of_vectors else options.hidden_widths


def _leading_heads(fitted: Sequence[FittedHead], fit_inputs: FitInputs) -> list[HeadSpec]:
    """Returns the best head of each depth, without those below the best by more than the slack."""
    best: dict[int, FittedHead] = {}
    for one in fitted:
        depth = one.head.depths[0]
        if depth not in best or one.value > best[depth].value:
            best[depth] = one
    highest = max(one.value for one in best.values())
    least = highest - fit_inputs.problem.slack
    return [one.head for _, one in sorted(best.items()) if one.value >= least]


def _fit_mixes(
    fitted: Sequence[FittedHead], fit_inputs: FitInputs, options: TrainingOptions, notes: list[str]
) -> Iterator[FittedHead]:
    """Yields some learned mixes up to competitive depths, with the best pooling so far."""
    best = max(fitted, key=lambda one: one.value)
    depth = max(one.head.depths[-1] for one in fitted)
    leading = {head.depths[0] for head in _leading_heads(fitted, fit_inputs)}
    heads = mixed_heads(options, best.head.pooling, depth)
    heads = [head for head in heads if head.depths[-1] in leading]
    heads = [heads[place] for place in spread(len(heads), _MOST_MIXES)]
    if not heads:
        return
    if fit_inputs.tap_bytes * len(heads[-1].depths) > options.memory_bytes:
        notes.append("Mixes of depths are left out: their features would exceed memory_bytes.")
        return
    mixed: type[ComparedMix | MixedTaps] = ComparedMix if fit_inputs.reading.apart else MixedTaps
    mask = fit_inputs.problem.item_mask
    reader = mixed.load(heads, fit_inputs.tap, fit_inputs.problem.device, mask)
    width = best.head.hidden_width
    yield from fit(
        reader, hyperparameter_grid(options), hidden_width=width, problem=fit_inputs.problem
    )


def _fit_attentive(
    fitted: Sequence[FittedHead],
    fit_inputs: FitInputs,
    options: TrainingOptions,
    source: FeatureSource,
    notes: list[str],
) -> Iterator[FittedHead]:
    """Yields attentive heads at the best depths so far."""
    ranked = sorted(fitted, key=lambda one: -one.value)
    tried = [one.head.depths[0] for one in ranked if len(one.head.depths) == 1]
    depths = tuple(sorted(list(dict.fromkeys(tried))[:_ATTENTIVE_DEPTHS]))
    depths = depths or depths_of(options, source.encoder.depth)[-_ATTENTIVE_DEPTHS:]
    splits = fit_inputs.splits
    hidden = _hidden_widths(options, splits.train.kind)
    widths = [ranked[0].head.hidden_width] if ranked else [None, *hidden]
    tokens = sum(
        _count_tokens(part.items, fit_inputs, source) for part in (splits.train, splits.validation)
    )
    size = tokens * len(depths) * source.encoder.hidden_size * 2
    if size > options.memory_bytes:
        notes.append(
            f"Attentive pooling is left out: its token states would take {size} bytes, more than "
            f"memory_bytes ({options.memory_bytes})."
        )
        return
    heads = [HeadSpec(depths=(depth,), pooling="attentive") for depth in depths]
    reader = attentive_reader(heads, fit_inputs, source)
    for width in widths:
        yield from fit(
            reader, hyperparameter_grid(options), hidden_width=width, problem=fit_inputs.problem
        )


def attentive_reader(
    heads: Sequence[HeadSpec], fit_inputs: FitInputs, source: FeatureSource
) -> AttentiveTokens:
    """Returns what attentive heads read, one depth each."""
    depths = tuple(head.depths[0] for head in heads)
    layout = Layout("tokens", fit_inputs.reading, 1, depths)
    train, validation = (
        TokenStates.load(
            read_features(part.items, layout=layout, source=source), fit_inputs.problem.device
        )
        for part in (fit_inputs.splits.train, fit_inputs.splits.validation)
    )
    return AttentiveTokens.load(heads, train, validation, fit_inputs.problem.item_mask)


def _count_tokens(
    inputs: Sequence[tuple[str, ...]], fit_inputs: FitInputs, source: FeatureSource
) -> int:
    rows = source.tokenizer.rows(inputs, reading=fit_inputs.reading, max_windows=1)
    limit = fit_inputs.reading.max_length
    return sum(min(limit, len(row.ids) + len(row.pair_ids or ()) + 3) for row in rows)


def spread(count: int, most: int) -> list[int]:
    """Returns at most `most` of `count` indices, evenly from the first to the last."""
    kept = min(count, most)
    return [round(index * (count - 1) / max(kept - 1, 1)) for index in range(kept)]
