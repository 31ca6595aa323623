"""A chosen head's last steps: n-grams, balance or line, calibration, metrics, known answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from adapterhub.model.backbone import Backbone
from adapterhub.model.heads import RowLogits
from adapterhub.model.replay import make_known_answers
from adapterhub.specs import TaskSpec, TrainingRecord
from adapterhub.training.adapters.found import FittedAdapter, FoundAdapter
from adapterhub.training.balance import Balanced, balance
from adapterhub.training.data import Splits
from adapterhub.training.diagnosis import diagnose
from adapterhub.training.encoding import Source
from adapterhub.training.line import Straightened, straighten
from adapterhub.training.material import Material
from adapterhub.training.measure import calibrated, fold_logits, measured, run_head
from adapterhub.training.options import TrainingOptions
from adapterhub.training.probes import probes_for
from adapterhub.training.problem import Fitted
from adapterhub.training.search import Found
from adapterhub.training.trained import TrainedTask

if TYPE_CHECKING:
    from adapterhub.training.ngrams import Wide


def finish(
    task: str,
    found: Found | FoundAdapter,
    material: Material,
    *,
    options: TrainingOptions,
    source: Source,
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
    head: _Outcome, material: Material, *, source: Source, options: TrainingOptions
) -> _Outcome:
    """Returns a head after the steps that its kind has, each kept only where it wins."""
    spec, held_out = head.spec, material.splits.validation
    if options.ngrams:
        # scikit-learn is in the extra `train`; that it is missing has been said before this.
        from adapterhub.training.ngrams import widen

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
    source: Source,
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
