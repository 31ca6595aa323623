"""Which heads are fitted in which order: wide and shallow first, then what looks good.

1. Linear heads on every tap.
2. Hidden layers on the best pooling of each depth that is not far behind.
3. Learned mixes of depths and attentive pooling, with the shape that was better so far; these
   read more than one tap, so they are fitted where something is to be won.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from adapterhub.errors import UsageError
from adapterhub.specs import HeadSpec
from adapterhub.training.features.encoding import FeatureSource, Layout, read_features
from adapterhub.training.features.pairs import ComparedMix
from adapterhub.training.features.standardized_features import MixedTaps, SingleTaps
from adapterhub.training.heads.attentive import AttentiveTokens, TokenStates
from adapterhub.training.heads.candidates import (
    Fitted,
    depths_of,
    mixed_heads,
    settings_of,
    single_heads,
)
from adapterhub.training.heads.fit_inputs import Material
from adapterhub.training.heads.successive_halving import fit
from adapterhub.training.heads.table import SearchTable, by_cost, make_table
from adapterhub.training.options import TrainingOptions

_ATTENTIVE_DEPTHS = 2
_MOST_MIXES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The outcome of a search.

    Attributes:
        chosen: The cheapest head within the tolerance of the best.
        table: All heads.
    """

    chosen: Fitted
    table: SearchTable


def search(material: Material, *, options: TrainingOptions, source: FeatureSource) -> Found:
    """Returns the head to keep.

    Raises:
        UsageError: The options leave nothing to try, or all candidates failed.
    """
    return search_ways((material,), options=options, source=source)


def search_ways(
    materials: Sequence[Material], *, options: TrainingOptions, source: FeatureSource
) -> Found:
    """Returns the head to keep, among those on all `materials`: the same rows, read differently.

    Raises:
        UsageError: The options leave nothing to try, or all candidates failed.
    """
    notes = [note for material in materials for note in material.notes]
    fitted: list[Fitted] = []
    for material in materials:
        found = _fit_all(material, options, source, notes)
        fitted += (replace(one, apart=material.reading.apart) for one in found)
    # A candidate whose steps were too large has no value at all.
    ordered = by_cost(one for one in fitted if one.value > float("-inf"))
    if not ordered:
        raise UsageError("No candidate could be fitted; try lower learning rates.")
    told = tuple(dict.fromkeys(notes))
    metric = materials[0].metric
    table = make_table(ordered, metric=metric, tolerance=options.tolerance, notes=told)
    return Found(ordered[table.chosen], table)


def _fit_all(
    material: Material, options: TrainingOptions, source: FeatureSource, notes: list[str]
) -> list[Fitted]:
    """Returns the best candidate of each head, whatever its shape."""
    kind, is_apart = material.splits.train.kind, material.reading.apart
    singles = single_heads(options, kind, source.encoder.depth)
    fitted: list[Fitted] = []
    if singles:
        fitted += _fit_singles(singles, None, material, options)
        leading = _leading_heads(fitted, material)
        for width in options.hidden_widths:
            fitted += _fit_singles(leading, width, material, options)
        fitted += _fit_mixes(fitted, material, options, notes)
    if "attentive" in options.poolings and kind != "tagging" and not is_apart:
        fitted += _fit_attentive(fitted, material, options, source, notes)
    return fitted


def _fit_singles(
    heads: Sequence[HeadSpec], width: int | None, material: Material, options: TrainingOptions
) -> Iterator[Fitted]:
    """Yields the best candidate of each head, as many taps at once as fit in memory."""
    at_once = max(1, options.memory_bytes // material.tap_bytes)
    settings = settings_of(options)
    for start in range(0, len(heads), at_once):
        part = heads[start : start + at_once]
        reader = SingleTaps.load(part, material.tap, material.problem.device)
        yield from fit(reader, settings, hidden_width=width, problem=material.problem)


def _leading_heads(fitted: Sequence[Fitted], material: Material) -> list[HeadSpec]:
    """Returns the best head of each depth, without those that are far behind."""
    best: dict[int, Fitted] = {}
    for one in fitted:
        depth = one.head.depths[0]
        if depth not in best or one.value > best[depth].value:
            best[depth] = one
    highest = max(one.value for one in best.values())
    least = highest - material.problem.slack
    return [one.head for _, one in sorted(best.items()) if one.value >= least]


def _fit_mixes(
    fitted: Sequence[Fitted], material: Material, options: TrainingOptions, notes: list[str]
) -> Iterator[Fitted]:
    """Yields some learned mixes up to leading depths, with the pooling that was best so far."""
    best = max(fitted, key=lambda one: one.value)
    depth = max(one.head.depths[-1] for one in fitted)
    leading = {head.depths[0] for head in _leading_heads(fitted, material)}
    heads = mixed_heads(options, best.head.pooling, depth)
    heads = [head for head in heads if head.depths[-1] in leading]
    heads = [heads[place] for place in spread(len(heads), _MOST_MIXES)]
    if not heads:
        return
    if material.tap_bytes * len(heads[-1].depths) > options.memory_bytes:
        notes.append("Mixes of depths are left out: their features exceed memory_bytes.")
        return
    mixed: type[ComparedMix | MixedTaps] = ComparedMix if material.reading.apart else MixedTaps
    reader = mixed.load(heads, material.tap, material.problem.device)
    width = best.head.hidden_width
    yield from fit(reader, settings_of(options), hidden_width=width, problem=material.problem)


def _fit_attentive(
    fitted: Sequence[Fitted],
    material: Material,
    options: TrainingOptions,
    source: FeatureSource,
    notes: list[str],
) -> Iterator[Fitted]:
    """Yields attentive heads at the depths that were best so far."""
    ranked = sorted(fitted, key=lambda one: -one.value)
    tried = [one.head.depths[0] for one in ranked if len(one.head.depths) == 1]
    depths = tuple(sorted(list(dict.fromkeys(tried))[:_ATTENTIVE_DEPTHS]))
    depths = depths or depths_of(options, source.encoder.depth)[-_ATTENTIVE_DEPTHS:]
    widths = [ranked[0].head.hidden_width] if ranked else [None, *options.hidden_widths]
    layout = Layout("tokens", material.reading, 1, depths)
    splits = material.splits
    tokens = sum(
        _count_tokens(part.inputs, material, source) for part in (splits.train, splits.validation)
    )
    size = tokens * len(depths) * source.encoder.hidden_size * 2
    if size > options.memory_bytes:
        notes.append(
            f"Attentive pooling is left out: its token states would take {size} bytes, over "
            f"memory_bytes ({options.memory_bytes})."
        )
        return
    parts = [
        TokenStates.load(
            read_features(part.inputs, layout=layout, source=source), material.problem.device
        )
        for part in (splits.train, splits.validation)
    ]
    heads = [HeadSpec(depths=(depth,), pooling="attentive") for depth in depths]
    reader = AttentiveTokens.load(heads, *parts)
    for width in widths:
        yield from fit(reader, settings_of(options), hidden_width=width, problem=material.problem)


def _count_tokens(
    inputs: Sequence[tuple[str, ...]], material: Material, source: FeatureSource
) -> int:
    rows = source.tokenizer.rows(inputs, reading=material.reading, max_windows=1)
    limit = material.reading.max_length
    return sum(min(limit, len(row.ids) + len(row.pair_ids or ()) + 3) for row in rows)


def spread(count: int, most: int) -> list[int]:
    """Returns at most `most` of `count` places, evenly from the first to the last."""
    kept = min(count, most)
    return [round(index * (count - 1) / max(kept - 1, 1)) for index in range(kept)]
