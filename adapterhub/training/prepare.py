"""A training run, checked before torch is imported: options, names, rows, places."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.errors import DataError, RegistryError, UsageError
from adapterhub.kinds import KINDS, Kind
from adapterhub.label_trees import outline
from adapterhub.model.backbone.sources import absolute_source
from adapterhub.option_models import read_options
from adapterhub.remote.find import find
from adapterhub.saving import check_backbone_for
from adapterhub.store.example_texts import read_examples
from adapterhub.store.references import check_name
from adapterhub.store.registry import NEAREST, registry_to_write
from adapterhub.store.room import check_kind, check_room
from adapterhub.training.adapter_options import from_depth_of
from adapterhub.training.data.dataset import Splits, read_splits
from adapterhub.training.data.kinds.table import READERS
from adapterhub.training.data.summary import DataSummary, summarize
from adapterhub.training.evaluation.extra import require_extra
from adapterhub.training.options import TrainingOptions, selection_metric
from adapterhub.training.tune import check_tune

if TYPE_CHECKING:
    from adapterhub.model.backbone.open_backbone import Backbone

_log = logging.getLogger("adapterhub")


@dataclass(frozen=True, slots=True, eq=False)
class TrainingJob:
    """A training run, checked as far as possible without torch.

    Attributes:
        task: Name of the task.
        splits: Its rows.
        options: As given; an adapter is not cross-validated.
        registry: The registry.yaml that gets the task, or None.
        backbone: What was given, a folder as an absolute path.
    """

    task: str
    splits: Splits
    options: TrainingOptions
    registry: Path | None
    backbone: str | Path | Backbone | None


def prepare(
    data: object,
    *,
    task: str,
    options: TrainingOptions | Mapping[str, object] | None = None,
    registry: str | Path | None = NEAREST,
    backbone: str | Path | Backbone | None = None,
    called: str = "",
) -> TrainingJob:
    """Returns a training run whose options, names and rows fit; needs no torch.

    Args:
        data: As in `train`.
        task: As in `train`.
        options: As in `train`.
        registry: As in `train`.
        backbone: As in `train`.
        called: Begins each line of the log on what was read.

    Raises:
        AdapterHubError: As `train`, but for what only an open backbone tells.
    """
    options = read_options(TrainingOptions, options)
    check_name(task, "task")
    backbone = absolute_source(backbone)
    path = None if registry is None else registry_to_write(registry)
    if path is not None:
        check_room(path)
    require_extra()
    _check_earlier(options, path)
    if options.trains_encoder:
        # Cross-validation would train the adapter once per fold.
        options = options.model_copy(update={"folds": 0})
    splits = _read_rows(data, options, called)
    depth = check_backbone_for(path, backbone)
    if depth is not None:
        _check_depths(options, depth)
    if path is not None:
        _check_task(path, task, splits.train.kind, options)
    return TrainingJob(task, splits, options, path, backbone)


def named_registry(registry: Path | None) -> Path:
    """Returns the registry in which names of other tasks are looked up."""
    return registry_to_write(NEAREST) if registry is None else registry


def _check_task(registry: Path, task: str, kind: Kind, options: TrainingOptions) -> None:
    """Checks that a registry may take a version of a task.

    Raises:
        RegistryError: It has the task with another kind, or on another backbone.
    """
    known, tune = check_kind(registry, task, kind), options.tune
    if known is not None and tune is not None and tune.makes_backbone:
        raise RegistryError(
            registry,
            f"task '{task}' is on the backbone '{known.tasks[task].backbone}', as all its versions "
            f"are, and tune {tune} makes a new backbone. Give the new task another name.",
        )


def _check_depths(options: TrainingOptions, depth: int) -> None:
    """Checks that a backbone has the depths that the options name.

    Raises:
        UsageError: It does not.
    """
    if options.tune is not None:
        check_tune(options.tune, depth)
    if options.adapter is not None:
        from_depth_of(options.adapter, depth)


def _check_earlier(options: TrainingOptions, registry: Path | None) -> None:
    """Checks that the task whose adapter is used is there and has one.

    Raises:
        UsageError: It has none.
        AdapterHubError: As `find`.
    """
    adapter = options.adapter
    name = options.adapter_of if adapter is None else adapter.continue_from
    if name is None:
        return
    if find(name, named_registry(registry)).spec.adapter is None:
        raise UsageError(f"Task '{name}' has no adapter; its head reads the frozen trunk.")


def summary_of(splits: Splits) -> DataSummary:
    """Returns what was read of a data set."""
    train = splits.train
    summary = summarize(
        train.kind,
        train.targets,
        columns=train.columns,
        validation_rows=len(splits.validation),
        validated_by=splits.measured_on,
        test_rows=0 if splits.test is None else len(splits.test),
    )
    measuring = () if splits.test is None else splits.test.outside
    return replace(
        summary,
        outside_rows=(len(splits.validation.outside), len(measuring)),
        tree=outline(train.labels, train.parents) if train.parents else "",
    )


def _read_rows(data: object, options: TrainingOptions, called: str) -> Splits:
    """Returns the rows, and logs what was read."""
    splits = read_splits(data, options)
    summary = summary_of(splits)
    for line in summary.lines():
        _log.info("%s%s", called, line)
    for warning in summary.warnings:
        _log.warning("%s%s", called, warning)
    kind = splits.train.kind
    _check_metric(splits, options)  # now, not after the encoder has run
    if options.examples and KINDS[kind].of_vectors:
        raise UsageError(
            f"Option examples: a card shows predictions, and those of {KINDS[kind].a_task} are "
            f"vectors; leave it out."
        )
    read_examples(options.examples, splits.train.fields, has_choices=KINDS[kind].of_choices)
    return splits


def _check_metric(splits: Splits, options: TrainingOptions) -> None:
    """Checks that the validation rows can choose among candidates, and test rows measure these.

    Raises:
        UsageError: The metric of the options does not fit the kind or its targets.
        DataError: It cannot be computed of them.
    """
    train, validation = splits.train, splits.validation
    metrics = READERS[train.kind].metrics
    metric = selection_metric(options, train.kind, metrics(train.targets))
    for part, rows in (("validation", validation), ("test", splits.test)):
        if rows is not None and metric not in metrics(rows.targets):
            raise DataError(
                rows.name,
                f"its {len(rows):,} {part} rows cannot measure {metric}: of pairs some must mean "
                f"the same, for spearman others not, and scores are for spearman alone",
            )
