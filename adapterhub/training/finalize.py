"""A chosen head's last steps: n-grams, tag biases or recalibration, calibration, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.execution.known_answers import make_known_answers, probes_for
from adapterhub.model.heads.heads import RowLogits
from adapterhub.saving import save_tasks
from adapterhub.specs import Metric, TaskSpec, TrainingRecord
from adapterhub.store.registry import NEAREST, Resolved
from adapterhub.training.adapters.result import AdapterTable, FittedAdapter, FoundAdapter
from adapterhub.training.data.dataset import Splits
from adapterhub.training.evaluation.calibration import Straightened, straighten
from adapterhub.training.evaluation.measure import (
    calibrated,
    diagnose,
    fold_logits,
    measured,
    run_head,
)
from adapterhub.training.evaluation.tag_bias import Balanced, balance
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.heads.candidates import Fitted
from adapterhub.training.heads.fit_inputs import Material
from adapterhub.training.heads.search_heads import Found
from adapterhub.training.heads.table import SearchTable
from adapterhub.training.options import TrainingOptions

if TYPE_CHECKING:
    from adapterhub.training.heads.fit_ngrams import Wide


@dataclass(frozen=True, slots=True, eq=False)
class TrainedTask:
    """A task that was just trained.

    Attributes:
        spec: The whole task, as its head file says it.
        tensors: Its tensors by name.
        table: All heads, or adapters, that were tried.
        backbone: What it was trained on.
        aliases: Aliases that shall point to it.
        saved: Where it stands in a registry, or None.
    """

    spec: TaskSpec
    tensors: Mapping[str, torch.Tensor]
    table: SearchTable | AdapterTable
    backbone: Backbone
    aliases: tuple[str, ...] = ()
    saved: Resolved | None = None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Returns what the task reached on the validation rows."""
        return self.spec.metrics

    def save(self, registry: str | Path = NEAREST) -> Resolved:
        """Writes the head file and the registry's entry, as the next version of the task.

        Args:
            registry: As `train` takes it.

        Raises:
            RegistryError: The registry cannot be written, or has another task of this name.
            HeadFileError: The head file cannot be written.
        """
        return save_tasks((self,), registry)[0]


def finish(
    task: str,
    found: Found | FoundAdapter,
    material: Material,
    *,
    options: TrainingOptions,
    source: FeatureSource,
    backbone: Backbone,
) -> TrainedTask:
    """Returns what was chosen with n-grams, calibration, metrics, record and known answers."""
    splits = material.splits
    spec = _bare_spec(task, found, material, options, backbone)
    logits = _validation_logits(spec, found, splits, options=options, source=source)
    head = _improved(
        _Outcome(spec, found.chosen.tensors, logits), material, source=source, options=options
    )
    table = replace(found.table, notes=(*found.table.notes, *head.notes))
    tensors, logits = head.tensors, head.logits
    spec = calibrated(head.spec, logits, splits.validation)
    known = make_known_answers(
        spec, tensors, probes_for(spec), encoder=source.encoder, tokenizer=source.tokenizer
    )
    metrics = measured(spec, logits, splits.validation, split=splits.measured_on)
    # model_copy skips the checks, so the whole is checked once more.
    diagnostics = diagnose(spec, logits, splits.validation, split=splits.measured_on)
    changes = {"metrics": metrics, "diagnostics": diagnostics, "known_answers": known}
    whole = spec.model_copy(update=changes)
    checked = TaskSpec.model_validate_json(whole.model_dump_json())
    return TrainedTask(checked, tensors, table, backbone, options.aliases)


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    """A head and what it says of the validation rows."""

    spec: TaskSpec
    tensors: Mapping[str, torch.Tensor]
    logits: RowLogits
    notes: tuple[str, ...] = ()

    def with_step(self, step: Wide | Balanced | Straightened | None) -> _Outcome:
        """Returns what a step made of it; None is a step that won nothing."""
        if step is None:
            return self
        return replace(
            self, tensors=step.tensors, logits=step.logits, notes=(*self.notes, step.note)
        )


def _improved(
    head: _Outcome, material: Material, *, source: FeatureSource, options: TrainingOptions
) -> _Outcome:
    """Returns a head after the steps that its kind has, each kept only where it wins."""
    spec, held_out = head.spec, material.splits.validation
    if options.ngrams:
        # scikit-learn is in the extra `train`; that it is missing has been said before this.
        from adapterhub.training.heads.fit_ngrams import widen

        wide = widen(
            spec, head.tensors, head.logits, material=material, source=source, options=options
        )
        head = head if wide is None else replace(head.with_step(wide), spec=wide.spec)
    if spec.kind == "tagging":
        even = balance(head.spec, head.tensors, head.logits, held_out, tolerance=options.tolerance)
        return head.with_step(even)
    if spec.kind == "regression":
        truth = material.truth.numpy()
        return head.with_step(straighten(head.spec, head.tensors, head.logits, truth))
    return head


def _validation_logits(
    spec: TaskSpec,
    found: Found | FoundAdapter,
    splits: Splits,
    *,
    options: TrainingOptions,
    source: FeatureSource,
) -> RowLogits:
    """Returns the raw outputs for the validation rows, none by a head that was fitted on it."""
    chosen, windows = found.chosen, options.max_windows
    if isinstance(chosen, Fitted) and chosen.folds:
        return fold_logits(spec, chosen.folds, splits, source=source, max_windows=windows)
    inputs = splits.validation.inputs
    return run_head(spec, chosen.tensors, inputs, source=source, max_windows=windows)


def _bare_spec(
    task: str,
    found: Found | FoundAdapter,
    material: Material,
    options: TrainingOptions,
    backbone: Backbone,
) -> TaskSpec:
    train_rows, chosen = material.splits.train, found.chosen
    is_adapter = isinstance(chosen, FittedAdapter)
    value_range = options.value_range
    if train_rows.kind == "regression" and value_range is None:
        values = train_rows.truth()
        value_range = (float(values.min()), float(values.max()))
    record = TrainingRecord(
        dataset=train_rows.name,
        dataset_license=options.dataset_license,
        data_digest=train_rows.digest(),
        rows=len(train_rows),
        seed=options.seed,
        candidates=found.table.candidates,
        epochs=chosen.epoch if is_adapter else material.problem.epochs,
        learning_rate=chosen.setting.learning_rate,
        weight_decay=chosen.setting.weight_decay,
        continued_from=chosen.earlier if isinstance(chosen, FittedAdapter) else None,
    )
    return TaskSpec(
        task=task,
        kind=train_rows.kind,
        description=options.description,
        languages=options.languages,
        license=options.license,
        labels=train_rows.labels,
        fields=train_rows.fields,
        apart=material.reading.apart,
        max_length=material.reading.max_length,
        overlap=material.reading.overlap,
        backbone=backbone.spec,
        adapter=chosen.adapter if isinstance(chosen, FittedAdapter) else None,
        head=chosen.head,
        value_range=value_range if train_rows.kind == "regression" else None,
        training=record,
    )
