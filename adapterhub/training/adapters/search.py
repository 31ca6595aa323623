"""Material -> the adapter and head to keep: one training, or one for each depth and rank."""

from __future__ import annotations

from collections.abc import Sequence

from adapterhub.specs import BLOCK_METHOD
from adapterhub.training.adapters.found import FittedAdapter, FoundAdapter
from adapterhub.training.adapters.options import AdapterOptions, from_depth_of
from adapterhub.training.adapters.table import AdapterRow, cost, make_adapter_table
from adapterhub.training.adapters.trial import Fork, Workbench
from adapterhub.training.options import selection_metric
from adapterhub.training.search import Found

_SEARCHED_RANKS = (4, 16)


def search_adapters(bench: Workbench) -> FoundAdapter:
    """Returns the adapter to keep.

    Raises:
        UsageError: PEFT does not know the method or cannot use it so, or the options leave
            nothing to try.
        TrainingError: A loss became NaN or infinite.
    """
    notes = list(bench.material.notes)
    if bench.existing is not None:
        notes.append(f"It went on from the adapter of '{bench.existing.record.task}'.")
    heads = 0
    trials: list[tuple[AdapterRow, FittedAdapter]] = []
    for from_depth in _from_depths(bench.adapter, bench.source.encoder.depth):
        fork = bench.fork(from_depth)
        heads += fork.candidates
        if fork.trunk.note is not None:
            notes.append(fork.trunk.note)
        for rank in _ranks(bench.adapter):
            fitted = bench.fit(fork, rank)
            trials.append((_row(fitted, fork, rank, bench.adapter), fitted))
    trials.sort(key=lambda trial: cost(trial[0]))
    table = make_adapter_table(
        _head_row(bench.alone),
        [row for row, _ in trials],
        metric=selection_metric(bench.options, bench.material.splits.train.kind),
        tolerance=bench.options.tolerance,
        candidates=bench.alone.table.candidates + heads + len(trials),
        notes=notes,
    )
    kept = tuple(one.checkpoints for _, one in trials if one.checkpoints is not None)
    return FoundAdapter(trials[table.chosen - 1][1], table, kept)


def _from_depths(options: AdapterOptions, depth: int) -> Sequence[int]:
    tried: Sequence[int | None] = options.from_depths or (options.from_depth,)
    if options.search and tried == (None,):
        tried = (0, depth // 3, depth * 2 // 3, depth - 1)
    starts = {from_depth_of(options.model_copy(update={"from_depth": one}), depth) for one in tried}
    return sorted(starts)


def _ranks(options: AdapterOptions) -> Sequence[int]:
    if options.ranks is not None:
        return sorted(set(options.ranks))
    is_open = options.search and "rank" not in options.model_fields_set
    return _SEARCHED_RANKS if is_open and options.method != BLOCK_METHOD else (options.rank,)


def _row(fitted: FittedAdapter, fork: Fork, rank: int, options: AdapterOptions) -> AdapterRow:
    own = fitted.adapter.config.get("r")
    # A user's own config has a rank of its own; some starts double the one that was asked for.
    known = rank if isinstance(options.method, str) else own
    return AdapterRow(
        head=fitted.head,
        from_depth=fork.from_depth,
        rank=known if isinstance(own, int) and isinstance(known, int) else None,
        value=fitted.value,
        learning_rate=fitted.setting.learning_rate,
        weight_decay=options.weight_decay,
        epoch=fitted.epoch,
        parameters=sum(tensor.numel() for tensor in fitted.tensors.values()),
        seconds=fitted.seconds,
    )


def _head_row(alone: Found) -> AdapterRow:
    """Returns the best head on the frozen trunk, which may read any depth."""
    chosen = alone.chosen
    return AdapterRow(
        head=chosen.head,
        from_depth=None,
        rank=None,
        value=chosen.value,
        learning_rate=chosen.setting.learning_rate,
        weight_decay=chosen.setting.weight_decay,
        epoch=chosen.epoch,
        parameters=sum(tensor.numel() for tensor in chosen.tensors.values()),
        seconds=0.0,
    )
