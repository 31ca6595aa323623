"""One training, one for each depth and rank, or the adapter of another task: the one to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from adapterhub.errors import UsageError
from adapterhub.model.adapters.compile import compile_adapter
from adapterhub.specs import BLOCK_METHOD, AdapterSpec
from adapterhub.training.adapter_options import AdapterOptions, from_depth_of
from adapterhub.training.adapters.result import (
    AdapterRow,
    FittedAdapter,
    FoundAdapter,
    cost,
    make_adapter_table,
)
from adapterhub.training.adapters.trial import Fork, Workbench
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.heads.search_heads import Found
from adapterhub.training.options import TrainingOptions, selection_metric
from adapterhub.training.warm_start import existing_of, read_existing

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


@dataclass(frozen=True, slots=True, eq=False)
class Reused:
    """The adapter of another task.

    Attributes:
        spec: What it changes; with the same digest, so that both tasks share one branch.
        tensors: By the names of a head file.
        source: Gives the features of its branch.
    """

    spec: AdapterSpec
    tensors: Mapping[str, torch.Tensor]
    source: FeatureSource

    def reads(self, options: TrainingOptions) -> TrainingOptions:
        """Returns options by which heads read the branch, and no depth below it.

        Raises:
            UsageError: The options leave no such depth.
        """
        start, depth = self.spec.from_depth, self.source.encoder.depth
        depths = tuple(d for d in options.depths or range(depth + 1) if d > start)
        if not depths:
            raise UsageError(
                f"Option depths: the head reads no depth over {start}, where the adapter starts."
            )
        # The folds of cross-validation would need a file of their own for each.
        return options.model_copy(update={"depths": depths, "folds": 0})

    def join(self, found: Found) -> FoundAdapter:
        """Returns the head that was found together with the adapter."""
        chosen = found.chosen
        fitted = FittedAdapter(
            head=chosen.head,
            adapter=self.spec,
            tensors={**chosen.tensors, **self.tensors},
            apart=chosen.apart,
            setting=chosen.setting,
            value=chosen.value,
            epoch=chosen.epoch,
            seconds=0.0,
            checkpoints=None,
        )
        return FoundAdapter(fitted, found.table, ())


def reuse_adapter(reference: str, *, registry: Path, source: FeatureSource) -> Reused:
    """Returns the adapter of the task that `reference` names.

    Args:
        reference: A task of the registry, a head file, or a task on the Hub.
        registry: The registry.yaml for names without a place.
        source: The encoder that it shall run on.

    Raises:
        UsageError: The task has no adapter, or the name follows none of the forms.
        BackboneMismatchError: It was made for another backbone.
        HeadFileError: The file is damaged, or its adapter does not fit.
    """
    encoder = source.encoder
    head = read_existing(reference, registry=registry, backbone=encoder.spec)
    found = existing_of(head)
    compiled = compile_adapter(found.spec, head.tensors, encoder=encoder, source=head.source)
    return Reused(found.spec, found.tensors, replace(source, adapter=compiled))
