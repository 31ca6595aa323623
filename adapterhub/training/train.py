"""`train`: labelled rows in, a task in the registry out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from adapterhub.errors import AdapterHubError, SaveError, UsageError, check_type
from adapterhub.model.backbone.caller_state import own_state
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.backbone.sources import absolute_source
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.examples import read_examples
from adapterhub.option_models import read_options
from adapterhub.saving import check_place, open_for
from adapterhub.store.references import check_name
from adapterhub.store.registry import NEAREST, Resolved, registry_to_write
from adapterhub.store.room import check_room
from adapterhub.training.adapter_options import AdapterOptions
from adapterhub.training.adapters.result import AdapterSearchResult
from adapterhub.training.data.dataset import Splits, read_splits, summary_of
from adapterhub.training.evaluation.metrics import require_extra
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.features.pairs import pair_readings
from adapterhub.training.features.usable_cache import usable_cache
from adapterhub.training.finalize import TrainedTask, finalize
from adapterhub.training.heads.fit_inputs import FitInputs, make_fit_inputs, matching_inputs
from adapterhub.training.heads.search_heads import SearchResult, search_heads
from adapterhub.training.options import TrainingOptions
from adapterhub.training.warm_start import WarmStart, read_warm_start

_log = logging.getLogger("adapterhub")


@own_state
def train(
    data: object,
    *,
    task: str,
    options: TrainingOptions | Mapping[str, object] | None = None,
    registry: str | Path | None = NEAREST,
    backbone: str | Path | Backbone | None = None,
    encoder: Encoder | None = None,
) -> TrainedTask:
    """Trains a task on a frozen backbone and adds it to a registry.

    Args:
        data: A .jsonl, .csv, .tsv (each also with .gz or .zst), .parquet or .arrow file; a data
            frame, an Arrow table, a `datasets.Dataset` or `DatasetDict`, or a mapping of columns;
            or a list of mappings or of tuples (text, label).
        task: Name of the task; an existing one gets its next version.
        options: Columns, split, candidates and budget, also as a dictionary; None takes the
            defaults.
        registry: The registry.yaml, made if missing; "nearest" takes the nearest one from the
            working folder upwards, or makes one there; None writes nothing.
        backbone: A key of the registry's backbones, a source as `open_backbone` takes it, or an
            open one; None takes the registry's only one, or the one that ships.
        encoder: An encoder of `backbone` to use; None puts it on the best device.

    Raises:
        DataError: The data cannot be read or used.
        UsageError: The options or the name are not valid, or do not fit the data.
        MissingExtraError: scikit-learn or seqeval is not installed.
        BackboneError: The backbone cannot be opened.
        RegistryError: The registry cannot be read or written.
        SaveError: It cannot be written at the end; holds what was trained.
    """
    options = read_options(TrainingOptions, options)
    check_name(task, "task")
    backbone = absolute_source(backbone)
    if registry is not None:
        registry = registry_to_write(registry)
        check_room(registry)
    if options.adapter is not None:
        options = _with_adapter(options, options.adapter)
    require_extra()
    splits = _read_rows(data, options)
    opened = open_for(registry, backbone)
    if registry is not None:
        check_place(registry, task, splits.train.kind, opened)
    source = _open_source(opened, encoder, options)
    warm_start = shared = None
    if options.adapter_of is not None:
        # PEFT takes seconds to import, and heads alone do not need it.
        from adapterhub.training.adapters.search_adapters import share_adapter

        shared = share_adapter(options.adapter_of, registry=_named(registry), source=source)
        source, options = shared.source, shared.restrict_depths(options)
    if options.adapter is not None and options.adapter.continue_from is not None:
        warm_start = read_warm_start(
            options.adapter.continue_from, registry=_named(registry), backbone=opened.spec
        )
        options = _with_shape_of(warm_start, options, options.adapter)
    all_inputs = [
        make_fit_inputs(splits, options=options, source=source, apart=apart)
        for apart in pair_readings(options, splits.train.fields)
    ]
    found = _search(all_inputs, options, source, opened, warm_start)
    if shared is not None and isinstance(found, SearchResult):
        found = shared.with_head(found)
    fit_inputs = matching_inputs(found.chosen.apart, all_inputs)
    trained = finalize(task, found, fit_inputs, options=options, source=source, backbone=opened)
    if registry is not None:
        trained = replace(trained, saved=_save(trained, registry))
    if isinstance(found, AdapterSearchResult):
        found.remove_checkpoints()
    return trained


def _read_rows(data: object, options: TrainingOptions) -> Splits:
    """Returns the rows, and logs what was read."""
    splits = read_splits(data, options)
    summary = summary_of(splits)
    for line in summary.lines():
        _log.info(line)
    for warning in summary.warnings:
        _log.warning(warning)
    read_examples(options.examples, splits.train.fields)  # refused now, not after the training
    return splits


def _save(trained: TrainedTask, registry: str | Path) -> Resolved:
    try:
        return trained.save(registry)
    except (AdapterHubError, OSError) as error:
        problem = f"task '{trained.spec.task}' was trained, but cannot be saved: {error}"
        raise SaveError(registry, problem, trained) from error


def _open_source(
    backbone: Backbone, encoder: Encoder | None, options: TrainingOptions
) -> FeatureSource:
    encoder = Encoder(backbone) if encoder is None else encoder
    check_type(encoder, Encoder, "The encoder", "an Encoder of the backbone")
    if encoder.spec.fingerprint != backbone.spec.fingerprint:
        raise UsageError("The encoder given belongs to another backbone than the one given.")
    tokenizer = TextTokenizer(backbone.tokenizer)
    return FeatureSource(encoder, tokenizer, usable_cache(options), options.cache_max_bytes)


def _with_adapter(options: TrainingOptions, adapter: AdapterOptions) -> TrainingOptions:
    """Returns the options of training with an adapter, whose method is checked."""
    from adapterhub.training.adapters.peft_methods import check_method

    check_method(adapter.method)
    # Cross-validation would train the adapter once per fold.
    return options.model_copy(update={"folds": 0})


def _named(registry: str | Path | None) -> Path:
    """Returns the registry in which names of other tasks are looked up."""
    return registry_to_write(NEAREST if registry is None else registry)


def _with_shape_of(
    warm_start: WarmStart, options: TrainingOptions, adapter: AdapterOptions
) -> TrainingOptions:
    """Returns options by which the new adapter has the shape of an existing one."""
    from adapterhub.training.adapters.peft_methods import inherit_shape

    return options.model_copy(update={"adapter": inherit_shape(adapter, warm_start.spec)})


def _search(
    all_inputs: Sequence[FitInputs],
    options: TrainingOptions,
    source: FeatureSource,
    backbone: Backbone,
    warm_start: WarmStart | None,
) -> SearchResult | AdapterSearchResult:
    if options.adapter is None:
        return search_heads(all_inputs, options=options, source=source)
    from adapterhub.training.adapters.search_adapters import search_adapters
    from adapterhub.training.adapters.trial import AdapterTrials

    return search_adapters(AdapterTrials(all_inputs, options, source, backbone, warm_start))
