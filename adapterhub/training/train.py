"""`train`: labelled rows in, a task in the registry out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from adapterhub.errors import AdapterHubError, SaveError, UsageError, check_type
from adapterhub.kinds import KINDS
from adapterhub.model.backbone.caller_state import own_state
from adapterhub.model.backbone.open_backbone import Backbone, with_weights
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.saving import check_place, open_for, own_backbone_name
from adapterhub.store.registry import NEAREST, Resolved
from adapterhub.store.room import check_room
from adapterhub.training.adapter_options import AdapterOptions
from adapterhub.training.adapters.result import AdapterSearchResult
from adapterhub.training.data.dataset import Splits
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.features.pairs import pair_readings
from adapterhub.training.features.usable_cache import usable_cache
from adapterhub.training.finalize import TrainedTask, finalize
from adapterhub.training.heads.fit_inputs import FitInputs, make_fit_inputs, matching_inputs
from adapterhub.training.heads.measured_head import search_measured
from adapterhub.training.heads.search_heads import SearchResult
from adapterhub.training.options import TrainingOptions, with_recipe
from adapterhub.training.prepare import TrainingJob, named_registry, prepare
from adapterhub.training.warm_start import WarmStart, read_warm_start

if TYPE_CHECKING:
    from adapterhub.training.adapters.search_adapters import SharedAdapter


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
        data: A .jsonl, .json, .csv, .tsv, .conllu (each also with .gz or .zst), .parquet or .arrow
            file; a data frame, an Arrow table, a `datasets.Dataset` or `DatasetDict`, or a mapping
            of columns; or a list of mappings or of tuples (text, label).
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
    job = prepare(data, task=task, options=options, registry=registry, backbone=backbone)
    return run(job, encoder=encoder)


@dataclass(frozen=True, slots=True, eq=False)
class OpenedJob:
    """A training run whose backbone is open, checked as far as it can be before texts are encoded.

    Attributes:
        job: What to do.
        options: Those of the job, with its recipe and the shape of earlier adapters spelled out.
        backbone: Which the task is trained on.
        source: Where features come from.
        readings: Whether the texts of a row are encoded apart: the ways that are tried.
        warm_start: The adapter to continue from, or None.
        shared: The adapter of another task that a head is fitted on, or None.
    """

    job: TrainingJob
    options: TrainingOptions
    backbone: Backbone
    source: FeatureSource
    readings: tuple[bool, ...]
    warm_start: WarmStart | None = None
    shared: SharedAdapter | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FittedTask:
    """A trained task that no registry has yet, with what its training has left on disk.

    Attributes:
        trained: The task.
        found: What the search found.
    """

    trained: TrainedTask
    found: SearchResult | AdapterSearchResult

    def remove_checkpoints(self) -> None:
        """Deletes what a stopped run would resume from, if there is any."""
        if isinstance(self.found, AdapterSearchResult):
            self.found.remove_checkpoints()


@own_state
def run(job: TrainingJob, *, encoder: Encoder | None = None) -> TrainedTask:
    """Trains the task of a run that was checked.

    Args:
        job: What to do.
        encoder: As in `train`.

    Raises:
        AdapterHubError: As `train`.
    """
    opened = open_job(job, open_for(job.registry, job.backbone), encoder=encoder)
    fitted = fit_job(opened)
    trained = fitted.trained
    if job.registry is not None:
        trained = replace(trained, saved=_save(trained, job.registry))
    fitted.remove_checkpoints()
    return trained


def open_job(job: TrainingJob, backbone: Backbone, *, encoder: Encoder | None = None) -> OpenedJob:
    """Returns a training run with its encoder, after the checks that need an open backbone.

    Raises:
        AdapterHubError: As `train`.
    """
    options, registry = job.options, job.registry
    if options.adapter is not None:
        _check_method(options.adapter.method)
    options = with_recipe(
        options,
        depth=backbone.spec.num_hidden_layers,
        shares_block=backbone.config.num_hidden_groups == 1,
    )
    if registry is not None:
        _check_registry(registry, job, backbone)
    source = _open_source(backbone, encoder, options)
    warm_start = shared = None
    if options.adapter_of is not None:
        # PEFT takes seconds to import, and heads alone do not need it.
        from adapterhub.training.adapters.search_adapters import share_adapter

        shared = share_adapter(options.adapter_of, registry=named_registry(registry), source=source)
        source, options = shared.source, shared.restrict_depths(options)
    if options.adapter is not None and options.adapter.continue_from is not None:
        warm_start = read_warm_start(
            options.adapter.continue_from, registry=named_registry(registry), backbone=backbone.spec
        )
        options = _with_shape_of(warm_start, options, options.adapter)
    readings = _readings(options, job.splits)
    return OpenedJob(job, options, backbone, source, readings, warm_start, shared)


def fit_job(opened: OpenedJob) -> FittedTask:
    """Returns the trained task of a run, which no registry has yet.

    Raises:
        AdapterHubError: As `train`.
    """
    job, options, source = opened.job, opened.options, opened.source
    backbone = opened.backbone
    all_inputs = [
        make_fit_inputs(job.splits, options=options, source=source, apart=apart)
        for apart in opened.readings
    ]
    found = _search(all_inputs, options, source, backbone, opened.warm_start)
    if opened.shared is not None and isinstance(found, SearchResult):
        found = opened.shared.with_head(found)
    fit_inputs = matching_inputs(found.chosen.apart, all_inputs)
    if isinstance(found, AdapterSearchResult) and found.chosen.weights:
        backbone, source = _own_backbone(job, found.chosen.weights, backbone, source)
    trained = finalize(
        job.task, found, fit_inputs, options=options, source=source, backbone=backbone
    )
    return FittedTask(trained, found)


def _readings(options: TrainingOptions, splits: Splits) -> tuple[bool, ...]:
    """Returns which encodings of the rows are tried; see `pair_readings`."""
    together = KINDS[splits.train.kind].slides_second
    return pair_readings(options, splits.train.fields, together=together)


def _check_registry(registry: Path, job: TrainingJob, backbone: Backbone) -> None:
    """Checks, before hours of training, that the registry will take what is trained.

    Raises:
        RegistryError: It will not.
    """
    check_place(registry, job.task, job.splits.train.kind, backbone)
    tune = job.options.tune
    if tune is not None and tune.makes_backbone:
        check_room(registry, more=sum(tensor.nbytes for tensor in backbone.weights.values()))


def _save(trained: TrainedTask, registry: str | Path) -> Resolved:
    try:
        return trained.save(registry)
    except (AdapterHubError, OSError) as error:
        problem = f"task '{trained.spec.task}' was trained, but cannot be saved: {error}"
        raise SaveError(registry, problem, trained) from error


def _open_source(
    backbone: Backbone, encoder: Encoder | None, options: TrainingOptions
) -> FeatureSource:
    layers = backbone.config.inner_group_num
    if options.trains_encoder and layers > 1:
        raise UsageError(
            f"This ALBERT has inner_group_num {layers}, that is several sets of weights at one "
            f"depth; adapters and training of the encoder need inner_group_num 1. Train a head."
        )
    encoder = Encoder(backbone) if encoder is None else encoder
    check_type(encoder, Encoder, "The encoder", "an Encoder of the backbone")
    if encoder.spec.fingerprint != backbone.spec.fingerprint:
        raise UsageError("The encoder given belongs to another backbone than the one given.")
    tokenizer = TextTokenizer(backbone.tokenizer)
    return FeatureSource(encoder, tokenizer, usable_cache(options), options.cache_max_bytes)


def _own_backbone(
    job: TrainingJob,
    weights: Mapping[str, torch.Tensor],
    backbone: Backbone,
    source: FeatureSource,
) -> tuple[Backbone, FeatureSource]:
    """Returns the backbone that trained weights make, and the source of its features."""
    name = own_backbone_name(job.registry, job.task)
    made, old = with_weights(backbone, weights, name=name), source.encoder
    dtype = str(old.dtype).removeprefix("torch.")
    encoder = Encoder(made, device=str(old.device), dtype=dtype)
    return made, replace(source, encoder=encoder)


def _check_method(method: object) -> None:
    # PEFT takes seconds to import, and heads alone do not need it.
    from adapterhub.training.adapters.trainable.peft_methods import check_method

    check_method(method)


def _with_shape_of(
    warm_start: WarmStart, options: TrainingOptions, adapter: AdapterOptions
) -> TrainingOptions:
    """Returns options by which the new adapter has the shape of an existing one."""
    from adapterhub.training.adapters.trainable.peft_methods import inherit_shape

    return options.model_copy(update={"adapter": inherit_shape(adapter, warm_start.spec)})


def _search(
    all_inputs: Sequence[FitInputs],
    options: TrainingOptions,
    source: FeatureSource,
    backbone: Backbone,
    warm_start: WarmStart | None,
) -> SearchResult | AdapterSearchResult:
    if options.adapter is None:
        return search_measured(all_inputs, options=options, source=source)
    from adapterhub.training.adapters.search_adapters import search_adapters
    from adapterhub.training.adapters.trial import AdapterTrials

    return search_adapters(AdapterTrials(all_inputs, options, source, backbone, warm_start))
