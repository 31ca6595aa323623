"""Heads, adapters and full fine-tuning on the same rows, set by set; a stopped run resumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from adapterhub.errors import UsageError
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.specs import BackboneSpec, Kind, Spec
from adapterhub.store.atomic import write_atomic
from adapterhub.training.data.dataset import Splits, read_splits
from adapterhub.training.options import MetricName
from recipes.quality.datasets import (
    chosen_sets,
    compared_metric,
    language_of,
    options_for,
    training_file,
)
from recipes.quality.finetuning import fine_tune
from recipes.quality.systems import (
    FULL,
    SYSTEMS,
    Budget,
    Given,
    Outcome,
    Precision,
    adapter_of,
    train_here,
)


class ComparedSet(Spec):
    """One data set.

    Attributes:
        name: Its folder.
        kind: Kind of its task.
        pair: Whether on text pairs.
        language: `zh` where many signs are Han, else `en`.
        train: Training rows used.
        validation: Validation rows.
        metric: The metric that is compared.
        outcomes: The results of the systems so far.
    """

    name: str
    kind: Kind
    pair: bool
    language: str
    train: int
    validation: int
    metric: MetricName
    outcomes: Mapping[str, Outcome] = Field(default_factory=dict)


class Comparison(Spec):
    """All results of one backbone.

    Attributes:
        backbone: What was trained.
        budget: Of every system.
        sets: The data sets, by name.
    """

    backbone: BackboneSpec
    budget: Budget
    sets: tuple[ComparedSet, ...] = ()

    def with_set(self, changed: ComparedSet) -> Comparison:
        """Returns the same with one data set added or replaced."""
        known = {one.name: one for one in self.sets} | {changed.name: changed}
        return self.model_copy(update={"sets": tuple(known[name] for name in sorted(known))})


def compare_folder(
    folder: Path,
    *,
    backbone: str | Path,
    only: Sequence[str] | None,
    budget: Budget,
    precision: Precision,
    record: Path,
) -> Comparison:
    """Returns the results of every data set in `folder`, and adds each to `record`.

    Args:
        folder: Holds a folder per data set.
        backbone: As `open_backbone` takes it.
        only: Names of data sets; None for all.
        budget: Of every system.
        precision: Of products; a record may hold results of both.
        record: File of the results; those in it are not computed again.

    Raises:
        UsageError: `only` names a set that is not there, or the record is of another budget
            or of another version.
        DataError: The rows of a set cannot be used.
    """
    opened = open_backbone(backbone)
    encoder = Encoder(opened)
    known = _read_record(record, opened.spec, budget)
    for name in chosen_sets(folder, only):
        found = next((one for one in known.sets if one.name == name), None)
        missing = [system for system in SYSTEMS if found is None or system not in found.outcomes]
        if not missing:
            continue
        options = options_for(folder / name, budget.max_rows)
        splits = read_splits(training_file(folder / name), options)
        found = found or _described(name, splits)
        for system in missing:
            metric = compared_metric(splits.train.kind)
            given = Given(metric, budget, precision, opened, encoder)
            outcome = _measure(system, folder / name, splits, given)
            outcomes = {**found.outcomes, system: outcome}
            found = found.model_copy(update={"outcomes": outcomes})
            known = known.with_set(found)
            write_atomic(record, known.model_dump_json(indent=1).encode(), replace=True)
    return known


def _measure(system: str, folder: Path, splits: Splits, given: Given) -> Outcome:
    if system == FULL:
        return fine_tune(splits, given)
    # N-grams would hide what the block learns, and full fine-tuning has none.
    changes = {"adapter": adapter_of(system, given), "seed": given.budget.seed, "ngrams": False}
    options = options_for(folder, given.budget.max_rows).model_copy(update=changes)
    return train_here(training_file(folder), options, given)


def _described(name: str, splits: Splits) -> ComparedSet:
    train = splits.train
    return ComparedSet(
        name=name,
        kind=train.kind,
        pair=len(train.fields) == 2,
        language=language_of(train),
        train=len(train),
        validation=len(splits.validation),
        metric=compared_metric(train.kind),
    )


def _read_record(record: Path, backbone: BackboneSpec, budget: Budget) -> Comparison:
    if not record.is_file():
        return Comparison(backbone=backbone, budget=budget)
    try:
        known = Comparison.model_validate_json(record.read_bytes())
    except ValidationError as error:
        raise UsageError(
            f"{record} is not a record of figures that this version writes. Remove it, or give "
            f"another page."
        ) from error
    if known.backbone.fingerprint != backbone.fingerprint:
        return Comparison(backbone=backbone, budget=budget)
    if known.budget != budget:
        # They took hours of training, so they are never overwritten.
        raise UsageError(
            f"{record} has figures of another budget ({known.budget}); expected ({budget}). "
            f"Give those options, another page, or remove the file."
        )
    return known
