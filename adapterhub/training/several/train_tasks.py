"""`train_tasks`: several tasks in one run, all of them written or none."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from adapterhub.errors import AdapterHubError, SaveError
from adapterhub.model.backbone.caller_state import own_state
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.saving import open_for
from adapterhub.store.registry import NEAREST
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.options import TrainingOptions
from adapterhub.training.prepare import TrainingJob
from adapterhub.training.several.encode_together import check_fit, encode_together
from adapterhub.training.several.prepare_tasks import list_tasks, prepare_tasks
from adapterhub.training.several.trained_tasks import TrainedTasks
from adapterhub.training.train import FittedTask, OpenedJob, fit_job, open_job

_log = logging.getLogger("adapterhub")

Given = TrainingOptions | Mapping[str, object] | None


def train_tasks(
    tasks: str | Path | Mapping[str, Given] | Iterable[Mapping[str, object]],
    *,
    data: object = None,
    options: Given = None,
    registry: str | Path | None = NEAREST,
    backbone: str | Path | Backbone | None = None,
    encoder: Encoder | None = None,
) -> TrainedTasks:
    """Trains several tasks on one frozen backbone and adds all of them to a registry, or none.

    All options, names and rows are checked before anything is encoded. The texts of all tasks are
    encoded together, then one task after the other is trained, as `train` does it.

    Args:
        tasks: A .yaml file that lists them; options by the name of the task; or a list of mappings
            with a `name` and options. Each may have `data` of its own, and a list as `target`: one
            task for each column, called `name-column`.
        data: The rows of tasks that have none of their own, as `train` takes them.
        options: Options of tasks that do not say otherwise; those of a file are overruled.
        registry: As in `train`, for all tasks; "nearest" gives way to the one that a file names.
        backbone: As in `train`, for all tasks; None gives way to the one that a file names.
        encoder: As in `train`.

    Raises:
        DataError: The file or the data of a task cannot be read or used.
        UsageError: The options or the name of a task are not valid, or do not fit its data.
        MissingExtraError: scikit-learn or seqeval is not installed.
        BackboneError: The backbone cannot be opened.
        RegistryError: The registry cannot be read or written.
        SaveError: They cannot be written at the end; holds what was trained.
    """
    listed = list_tasks(tasks, data=data, options=options, registry=registry, backbone=backbone)
    return run_tasks(prepare_tasks(listed), encoder=encoder)


@own_state
def run_tasks(jobs: Sequence[TrainingJob], *, encoder: Encoder | None = None) -> TrainedTasks:
    """Trains the tasks of a run that was checked.

    Args:
        jobs: What to do, at least one; with one registry and one backbone.
        encoder: As in `train`.

    Raises:
        AdapterHubError: As `train_tasks`.
    """
    registry = jobs[0].registry
    fitted = _fit_all(_open_all(jobs, encoder))
    trained = TrainedTasks({one.trained.spec.task: one.trained for one in fitted})
    if registry is not None:
        trained = _saved(trained, registry)
    for one in fitted:
        one.remove_checkpoints()
    return trained


def _open_all(jobs: Sequence[TrainingJob], encoder: Encoder | None) -> list[OpenedJob]:
    """Returns all tasks with one encoder, checked as far as they can be before any is encoded."""
    backbone = open_for(jobs[0].registry, jobs[0].backbone)
    encoder = Encoder(backbone) if encoder is None else encoder
    opened = []
    for job in jobs:
        with _named(job.task):
            opened.append(open_job(job, backbone, encoder=encoder))
            check_fit(opened[-1])
    return opened


def _fit_all(opened: Sequence[OpenedJob]) -> list[FittedTask]:
    encode_together(opened)
    fitted = []
    for number, one in enumerate(opened, start=1):
        task = one.job.task
        _log.info("Training task %d of %d: %s.", number, len(opened), task)
        started = time.monotonic()
        with _named(task):
            fitted.append(_fit(one))
        _log.info("%s: %s; %.0f s.", task, _figures(fitted[-1].trained), time.monotonic() - started)
    return fitted


@own_state
def _fit(opened: OpenedJob) -> FittedTask:
    """Returns a trained task; random numbers are drawn as if it were trained alone."""
    return fit_job(opened)


def _figures(trained: TrainedTask) -> str:
    return ", ".join(f"{metric.name} {metric.value:.4f}" for metric in trained.metrics)


def _saved(trained: TrainedTasks, registry: Path) -> TrainedTasks:
    """Returns the tasks with their entries in the registry."""
    try:
        entries = trained.save(registry)
    except (AdapterHubError, OSError) as error:
        problem = f"{len(trained)} tasks were trained, but cannot be saved: {error}"
        raise SaveError(registry, problem, trained) from error
    saved = zip(trained.items(), entries, strict=True)
    return TrainedTasks({name: replace(one, saved=entry) for (name, one), entry in saved})


@contextlib.contextmanager
def _named(task: str) -> Iterator[None]:
    """Makes errors within the block say which task they are of."""
    try:
        yield
    except AdapterHubError as error:
        if f"'{task}'" not in str(error):
            error.args = (f"Task '{task}': {error}",)
        raise
