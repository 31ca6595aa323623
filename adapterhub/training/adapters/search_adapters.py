"""The search for an adapter: one trial per depth and rank, or the adapter of another task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapterhub.errors import UsageError
from adapterhub.model.adapters.compile import compile_adapter
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.specs import BLOCK_METHOD
from adapterhub.training.adapter_options import AdapterOptions, asked_depths, from_depth_of
from adapterhub.training.adapters.result import (
    ADAPTER,
    AdapterRow,
    AdapterSearchResult,
    FittedAdapter,
    cost,
    make_adapter_table,
)
from adapterhub.training.adapters.trial import (
    AdapterTrials,
    Fork,
    head_depths,
    make_adapter,
    shape_of,
)
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.heads.search_heads import SearchResult
from adapterhub.training.options import TrainingOptions
from adapterhub.training.tune import Tune
from adapterhub.training.warm_start import WarmStart, read_warm_start

_SEARCHED_RANKS = (4, 16)
_LIKELY_STEPS = 1_000


def search_adapters(trials: AdapterTrials) -> AdapterSearchResult:
    """Returns the selected adapter.

    Raises:
        UsageError: PEFT does not know the method or cannot use it here, or the options leave no
            candidate.
        TrainingError: A loss became NaN or infinite.
    """
    notes = list(trials.fit_inputs.notes)
    if trials.warm_start is not None:
        notes.append(f"Training started from the adapter of '{trials.warm_start.record.task}'.")
    heads = 0
    fits: list[tuple[AdapterRow, FittedAdapter]] = []
    for from_depth in _from_depths(trials.adapter, trials.source.encoder.depth):
        fork = trials.fork(from_depth)
        heads += fork.candidates
        if fork.trunk.note is not None:
            notes.append(fork.trunk.note)
        for rank in _ranks(trials.adapter):
            fitted = trials.fit(fork, rank)
            fits.append((_row(fitted, fork, rank, trials.adapter), fitted))
    fits.sort(key=lambda fit: cost(fit[0]))
    table = make_adapter_table(
        [_head_row(trials.alone), *(row for row, _ in fits)],
        metric=trials.fit_inputs.metric,
        measure=trials.fit_inputs.measure,
        tolerance=trials.options.tolerance,
        candidates=trials.alone.table.candidates + heads + len(fits),
        notes=[*notes, *_sharing_notes(trials.options.tune, [row for row, _ in fits])],
    )
    table = replace(table, subject=_subject(trials.options.tune))
    kept = tuple(one.checkpoints for _, one in fits if one.checkpoints is not None)
    return AdapterSearchResult(fits[table.chosen - 1][1], table, kept)


def check_adapters(
    options: TrainingOptions,
    *,
    backbone: Backbone,
    source: FeatureSource,
    warm_start: WarmStart | None,
) -> None:
    """Checks, before anything is encoded, that the adapters of a search can be made and read.

    The first of them is made, and starts as it would in training.

    Raises:
        UsageError: PEFT cannot use the method here, the options leave the head no depth, or it
            cannot start from the given adapter.
    """
    adapter, depth = options.adapter or AdapterOptions(), source.encoder.depth
    starts = _from_depths(adapter, depth)
    tops = [head_depths((asked_depths(adapter) or (one,))[-1], options, depth) for one in starts]
    if options.tune is not None and options.tune.makes_backbone:
        return
    passes, rank = range(starts[0], tops[0][-1]), _ranks(adapter)[0]
    shape = shape_of(adapter, backbone, passes=passes, rank=rank, steps=_LIKELY_STEPS)
    made = make_adapter(shape, backbone, seed=options.seed)
    if warm_start is not None:
        made.load_weights(warm_start)


def _subject(tune: Tune | None) -> str:
    if tune is None or not tune.trains_weights:
        return ADAPTER
    return "The trained encoder" if tune.makes_backbone else "The trained block"


def _sharing_notes(tune: Tune | None, rows: Sequence[AdapterRow]) -> Iterator[str]:
    """Yields what the recipe keeps the task from sharing with others."""
    if tune is None:
        return
    if tune.makes_backbone:
        what = "the embeddings" if tune.recipe == "embeddings" else "the embeddings and the block"
        yield (
            f"The task has a backbone of its own and shares no trunk: with {what} changed, the "
            f"states differ from depth 0 on. Beside tasks on another backbone it costs a second "
            f"model."
        )
    elif rows and rows[0].from_depth == 0:
        yield (
            f"The block changes from depth 0 on, so the task shares no pass: {rows[0].own_passes} "
            f"of its own per text. Its backbone stays that of the other tasks."
        )


def _from_depths(options: AdapterOptions, depth: int) -> Sequence[int]:
    tried: Sequence[int | None] = options.from_depths or (options.from_depth,)
    if options.search and tried == (None,) and asked_depths(options) is None:
        tried = (0, depth // 3, depth * 2 // 3, depth - 1)
    starts = {from_depth_of(options.model_copy(update={"from_depth": one}), depth) for one in tried}
    return sorted(starts)


def _ranks(options: AdapterOptions) -> Sequence[int]:
    if options.ranks is not None:
        return sorted(set(options.ranks))
    is_open = options.search and "rank" not in options.model_fields_set
    return _SEARCHED_RANKS if is_open and options.method != BLOCK_METHOD else (options.rank,)


def _row(fitted: FittedAdapter, fork: Fork, rank: int, options: AdapterOptions) -> AdapterRow:
    own = None if fitted.adapter is None else fitted.adapter.config.get("r")
    # A PEFT config has its own rank; some initialisations store twice the rank of the options.
    known = rank if isinstance(options.method, str) else own
    return AdapterRow(
        head=fitted.head,
        from_depth=fork.from_depth,
        rank=known if isinstance(own, int) and isinstance(known, int) else None,
        value=fitted.value,
        learning_rate=fitted.hyperparameters.learning_rate,
        weight_decay=options.weight_decay,
        epoch=fitted.epoch,
        parameters=fitted.parameters,
        seconds=fitted.seconds,
        memory_bytes=fitted.memory_bytes,
    )


def _head_row(alone: SearchResult) -> AdapterRow:
    """Returns the table row of the best head on the frozen trunk."""
    chosen, row = alone.chosen, alone.table.rows[alone.table.chosen]
    return AdapterRow(
        head=chosen.head,
        from_depth=None,
        rank=None,
        value=chosen.value,
        learning_rate=chosen.hyperparameters.learning_rate,
        weight_decay=chosen.hyperparameters.weight_decay,
        epoch=chosen.epoch,
        parameters=row.parameters,
        seconds=row.seconds,
        memory_bytes=row.memory_bytes,
    )


@dataclass(frozen=True, slots=True, eq=False)
class SharedAdapter:
    """The adapter of another task, unchanged, so that both tasks share one branch.

    Attributes:
        adapter: Its spec and tensors.
        source: Of the features of its branch.
    """

    adapter: WarmStart
    source: FeatureSource

    def restrict_depths(self, options: TrainingOptions) -> TrainingOptions:
        """Returns options by which heads read the branch only.

        Raises:
            UsageError: The options leave no such depth.
        """
        start, depth = self.adapter.spec.from_depth, self.source.encoder.depth
        depths = tuple(d for d in options.depths or range(depth + 1) if d > start)
        if not depths:
            raise UsageError(
                f"Option depths: the head reads no depth over {start}, where the adapter starts."
            )
        # Cross-validation would need a file of the branch for each fold.
        return options.model_copy(update={"depths": depths, "folds": 0})

    def with_head(self, found: SearchResult) -> AdapterSearchResult:
        """Returns the selected head together with the adapter."""
        chosen = found.chosen
        fitted = FittedAdapter(
            head=chosen.head,
            adapter=self.adapter.spec,
            tensors={**chosen.tensors, **self.adapter.tensors},
            apart=chosen.apart,
            hyperparameters=chosen.hyperparameters,
            value=chosen.value,
            epoch=chosen.epoch,
            seconds=0.0,
            parameters=sum(tensor.numel() for tensor in chosen.tensors.values()),
            memory_bytes=0,
            checkpoints=None,
            logits=chosen.logits,
        )
        return AdapterSearchResult(fitted, found.table, ())


def share_adapter(reference: str, *, registry: Path, source: FeatureSource) -> SharedAdapter:
    """Returns the adapter of the task that `reference` names.

    Args:
        reference: A task of the registry, a head file, or a task on the Hub.
        registry: The registry.yaml for names without a place.
        source: The encoder that it will run on.

    Raises:
        UsageError: The task has no adapter, or the name follows none of the forms.
        BackboneMismatchError: It was made for another backbone.
        HeadFileError: The file is damaged, or its adapter does not fit.
    """
    encoder = source.encoder
    found = read_warm_start(reference, registry=registry, backbone=encoder.spec)
    compiled = compile_adapter(found.spec, found.tensors, encoder=encoder, source=found.source)
    return SharedAdapter(found, replace(source, adapter=compiled))
