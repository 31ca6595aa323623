"""The last steps of training: n-grams, tag biases or recalibration, calibration, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from adapterhub.diagnostics import Use, figure_text
from adapterhub.examples import Example
from adapterhub.kinds import KINDS
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.execution.examples import make_examples
from adapterhub.model.execution.known_answers import make_known_answers, probes_for
from adapterhub.model.execution.run_trunk import ExecutionContext
from adapterhub.model.heads.heads import RowLogits
from adapterhub.plots.combine import save_panels
from adapterhub.plots.figure_files import check_plot
from adapterhub.plots.panels import Panel, panels_of
from adapterhub.saving import save_tasks
from adapterhub.specs import Metric, TaskSpec, TrainingRecord
from adapterhub.store.example_texts import read_examples
from adapterhub.store.registry import NEAREST, Resolved
from adapterhub.training.abstention import HeadRun, find_abstention
from adapterhub.training.adapters.result import AdapterSearchResult, AdapterTable, FittedAdapter
from adapterhub.training.data.dataset import Dataset, Splits
from adapterhub.training.data.splits import shared_rows
from adapterhub.training.data.summary import DataSummary
from adapterhub.training.data.trained_columns import recorded_columns
from adapterhub.training.evaluation.calibration import TunedHead
from adapterhub.training.evaluation.comparison import Comparison
from adapterhub.training.evaluation.measure import fold_logits, run_head
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.heads.candidates import FittedHead
from adapterhub.training.heads.fit_inputs import FitInputs
from adapterhub.training.heads.search_heads import SearchResult
from adapterhub.training.heads.table import SearchTable
from adapterhub.training.kinds.table import TRAINED, calibrated, compare, compute_metrics
from adapterhub.training.options import TrainingOptions
from adapterhub.training.prepare import summary_of
from adapterhub.training.tune import Tune


@dataclass(frozen=True, slots=True, eq=False)
class TrainedTask:
    """A task that was just trained.

    Attributes:
        spec: The whole task, as in its head file.
        tensors: Its tensors by name.
        table: All heads, or adapters, that were tried.
        backbone: What it was trained on.
        aliases: Aliases of the new version.
        saved: Its entry in a registry, or None.
        data: What was read of the data set.
        tune: The recipe of tuning, if one was given.
        comparison: Its predictions for the rows of `metrics` beside the true targets.
    """

    spec: TaskSpec
    tensors: Mapping[str, torch.Tensor]
    table: SearchTable | AdapterTable
    backbone: Backbone
    aliases: tuple[str, ...] = ()
    saved: Resolved | None = None
    data: DataSummary | None = None
    tune: Tune | None = None
    comparison: Comparison | None = None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Returns the metrics of the test set where there is one, else of the validation set.

        There are none where no row could be measured on.
        """
        metrics = self.spec.metrics
        return tuple(one for one in metrics if one.split == metrics[0].split)

    def save(self, registry: str | Path = NEAREST) -> Resolved:
        """Writes the head file and the registry's entry, as the next version of the task.

        Args:
            registry: As `train` takes it.

        Raises:
            RegistryError: The registry cannot be written, or has another task of this name.
            HeadFileError: The head file cannot be written.
        """
        return save_tasks((self,), registry)[0]

    def plot(self, path: str | Path) -> Path:
        """Draws the metric over depth, confusion, reliability and the like to a file.

        Args:
            path: Ends in .png, .svg or .pdf; one that exists is replaced.

        Raises:
            UsageError: The file cannot be written, as far as its name and folder say.
            MissingExtraError: matplotlib is not installed.
            DataError: The system cannot write it.
        """
        check_plot(path)
        return save_panels({self.spec.task: self.panels()}, path)

    def panels(self) -> list[Panel]:
        """Returns what `plot` draws."""
        measured = self.comparison
        panels = [] if measured is None else measured.panels(self.spec.labels)
        risk = panels_of(None, self.spec.labels, self.spec.abstention)
        return [self.table.curve(), *panels, *risk]


def finalize(
    task: str,
    found: SearchResult | AdapterSearchResult,
    fit_inputs: FitInputs,
    *,
    options: TrainingOptions,
    source: FeatureSource,
    backbone: Backbone,
) -> TrainedTask:
    """Returns the selected head, tuned and calibrated, with its metrics, record and known answers.

    Args:
        task: Name of the task.
        found: The selected head, or head and adapter.
        fit_inputs: The rows as it reads them.
        options: Of the training.
        source: Encoder, tokenizer and cache.
        backbone: What it was trained on.
    """
    splits = fit_inputs.splits
    spec = _bare_spec(task, found, fit_inputs, options, backbone)
    logits = _validation_logits(spec, found, splits, options=options, source=source)
    head = TunedHead(spec, found.chosen.tensors, logits)
    head = replace(head, notes=_scored_notes(head, fit_inputs))
    head = _tune(head, fit_inputs, source=source, options=options)
    tensors = head.tensors
    spec = calibrated(head.spec, head.logits, splits.validation)
    known = make_known_answers(
        spec, tensors, probes_for(spec), encoder=source.encoder, tokenizer=source.tokenizer
    )
    run = HeadRun(spec, tensors, source, options.max_windows)
    test_logits = None if splits.test is None else run.logits(splits.test.scored)
    metrics, measured = _measure(spec, head.logits, splits, test_logits)
    found_abstention, notes = find_abstention(run, splits, head.logits, test_logits, options)
    spec = spec.model_copy(update={"abstention": found_abstention})
    examples = _examples(spec, tensors, source=source, options=options)
    changes = {
        "metrics": metrics,
        "diagnostics": None if measured is None else measured.diagnostics,
        "known_answers": known,
        "examples": examples,
    }
    # model_copy skips validation, so the whole spec is validated once more.
    checked = TaskSpec.model_validate_json(spec.model_copy(update=changes).model_dump_json())
    table = replace(found.table, notes=(*found.table.notes, *head.notes, *notes))
    return TrainedTask(
        spec=checked,
        tensors=tensors,
        table=table,
        backbone=backbone,
        aliases=options.aliases,
        data=summary_of(splits),
        comparison=measured,
        tune=options.tune,
    )


def _examples(
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    *,
    source: FeatureSource,
    options: TrainingOptions,
) -> tuple[Example, ...]:
    """Returns the examples of the options with the predictions of a calibrated head."""
    inputs = read_examples(options.examples, spec.fields, has_choices=spec.row.of_choices)
    context = ExecutionContext(source.encoder, source.tokenizer, options.max_windows)
    return make_examples(spec, tensors, inputs, context=context)


def _measure(
    spec: TaskSpec, logits: RowLogits, splits: Splits, test_logits: RowLogits | None
) -> tuple[tuple[Metric, ...], Comparison | None]:
    """Returns the metrics of a calibrated head, of the test set first, and what is behind these.

    The validation rows chose the head and set its calibration, so their figures are optimistic.
    """
    uses: tuple[Use, ...] = ("selection", "calibration")
    split, rows = splits.measured_on, splits.validation
    # In cross-validation equal inputs are in one fold.
    seen = 0 if not splits.holds_out else shared_rows(splits.train.inputs, rows.inputs)
    changes: dict[str, object] = {"used_for": uses, "seen": seen}
    figures = compute_metrics(spec, logits, rows, split=split) if len(rows) else ()
    metrics = tuple(one.model_copy(update=changes) for one in figures)
    if splits.test is not None and test_logits is not None:
        split, rows, logits = "test", splits.test, test_logits
        figures = compute_metrics(spec, logits, rows, split=split)
        known = (*splits.train.inputs, *splits.validation.inputs)
        changes = {"used_for": (), "seen": shared_rows(known, rows.inputs)}
        metrics = (*(one.model_copy(update=changes) for one in figures), *metrics)
    return metrics, compare(spec, logits, rows, split=split) if len(rows) else None


def _scored_notes(head: TunedHead, fit_inputs: FitInputs) -> tuple[str, ...]:
    """Returns the metric of the chosen head as scored, where candidates are compared otherwise."""
    rows, metric = fit_inputs.splits.validation, fit_inputs.metric
    forms = head.spec.row.compared_as
    if forms is None or fit_inputs.measure == metric:
        return ()
    figures = compute_metrics(calibrated(head.spec, head.logits, rows), head.logits, rows)
    value = next(figure.value for figure in figures if figure.name == metric)
    return (f"The chosen head, scored with {forms[1]}: {metric} {figure_text(value)}.",)


def _tune(
    head: TunedHead, fit_inputs: FitInputs, *, source: FeatureSource, options: TrainingOptions
) -> TunedHead:
    """Returns a head after the steps of its kind, each kept only if it improves the metric."""
    if options.ngrams and head.spec.row.linear:
        # scikit-learn is in the extra `train`, which `train` has checked before.
        from adapterhub.training.heads.fit_ngrams import fit_ngrams

        head = fit_ngrams(head, fit_inputs=fit_inputs, source=source, options=options) or head
    validation = fit_inputs.splits.validation
    return TRAINED[head.spec.kind].tuned(head, validation, tolerance=options.tolerance)


def _validation_logits(
    spec: TaskSpec,
    found: SearchResult | AdapterSearchResult,
    splits: Splits,
    *,
    options: TrainingOptions,
    source: FeatureSource,
) -> RowLogits:
    """Returns the validation logits, each row's by a head that was not fitted on it."""
    chosen, windows = found.chosen, options.max_windows
    if chosen.logits is not None:
        return RowLogits(chosen.logits)
    if isinstance(chosen, FittedHead) and chosen.folds:
        return fold_logits(spec, chosen.folds, splits, source=source, max_windows=windows)
    inputs = splits.validation.scored
    return run_head(spec, chosen.tensors, inputs, source=source, max_windows=windows)


def _bare_spec(
    task: str,
    found: SearchResult | AdapterSearchResult,
    fit_inputs: FitInputs,
    options: TrainingOptions,
    backbone: Backbone,
) -> TaskSpec:
    splits, chosen = fit_inputs.splits, found.chosen
    train_rows = splits.train
    fitted = chosen if isinstance(chosen, FittedAdapter) else None
    record = TrainingRecord(
        dataset=train_rows.name,
        dataset_license=options.dataset_license,
        data_digest=train_rows.digest(),
        rows=len(train_rows),
        seed=options.seed,
        candidates=found.table.candidates,
        epochs=_epochs(chosen, fit_inputs),
        learning_rate=chosen.hyperparameters.learning_rate,
        weight_decay=chosen.hyperparameters.weight_decay,
        continued_from=None if fitted is None else fitted.earlier,
        columns=recorded_columns(train_rows.roles, options),
        join_tokens=None if options.join_tokens == "auto" else options.join_tokens,
        validation_digest=splits.validation.digest() if splits.holds_out else None,
    )
    return TaskSpec(
        task=task,
        kind=train_rows.kind,
        description=options.description,
        languages=options.languages,
        license=options.license,
        labels=train_rows.labels,
        parents=dict(train_rows.parents),
        fields=train_rows.fields,
        apart=fit_inputs.reading.apart,
        max_length=fit_inputs.reading.max_length,
        overlap=fit_inputs.reading.overlap,
        backbone=backbone.spec,
        adapter=None if fitted is None else fitted.adapter,
        head=chosen.head.model_copy(update=_size(fit_inputs)),
        value_range=_value_range(train_rows, options),
        value_ranges=_value_ranges(train_rows, options),
        extraction=fit_inputs.extraction,
        training=record,
    )


def _epochs(chosen: FittedHead | FittedAdapter, fit_inputs: FitInputs) -> int:
    """Returns for how many epochs a head was trained; an adapter until its best one."""
    is_head = isinstance(chosen, FittedHead) and chosen.epoch
    return fit_inputs.problem.epochs if is_head else chosen.epoch


def _size(fit_inputs: FitInputs) -> dict[str, int]:
    """Returns the field of a head for its number of outputs, of kinds whose head says it."""
    is_sized = KINDS[fit_inputs.splits.train.kind].of_vectors
    return {"outputs": fit_inputs.problem.objective.outputs} if is_sized else {}


def _value_range(rows: Dataset, options: TrainingOptions) -> tuple[float, float] | None:
    """Returns the range to which predictions are clipped, of kinds that have one."""
    if not KINDS[rows.kind].has_range:
        return None
    if options.value_range is not None:
        return options.value_range
    values = rows.truth()
    return float(values.min()), float(values.max())


def _value_ranges(
    rows: Dataset, options: TrainingOptions
) -> tuple[tuple[float, float], ...] | None:
    """Returns the range of each of several numbers, of kinds that have them."""
    if not KINDS[rows.kind].names_numbers:
        return None
    if options.value_range is not None:
        return (options.value_range,) * len(rows.labels)
    return tuple((float(np.nanmin(own)), float(np.nanmax(own))) for own in rows.truth().T)
