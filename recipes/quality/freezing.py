"""Recipes of tuning on three data sets and two encoders; a stopped run resumes.

All recipes have the same rows, number of epochs and default settings: nothing is tuned for one of
them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from adapterhub.errors import UsageError
from adapterhub.model.execution.text_features import encode_rows
from adapterhub.plan import Reading, Tap
from adapterhub.store.atomic import write_atomic
from adapterhub.training.data.dataset import Dataset, Splits, read_splits
from adapterhub.training.options import TrainingOptions, training_options
from adapterhub.training.train import train
from recipes.quality.datasets import chosen_sets, compared_metric, language_of, training_file
from recipes.quality.freezing_encoders import NamedEncoder, open_named
from recipes.quality.freezing_inference import measure_inference
from recipes.quality.freezing_record import ALBERT, BERT, FreezingRecord, MeasuredRows, Run
from recipes.quality.freezing_similarity import (
    SIMILARITY_ROWS,
    SIMILARITY_SETS,
    measure_similarity,
)
from recipes.quality.untouched import listed_sets, listed_texts, measured_options, measured_rows

DEFAULT_SETS = ("ag_news", "waimai_10k", "conll2003_ner")
"""English topics, Chinese sentiment, English entities. The shipped encoder was never trained on the
first and the last; every Chinese set with labels of texts had a part in it."""

_HEADS = {"poolings": ("mean",), "hidden_widths": (), "mixes": False, "ngrams": False}
"""Linear heads on one depth for all recipes: a richer head would hide what the encoder learns."""

BATCH_SIZE = 8
"""Half of the default: few rows then give enough steps, at about the same cost on a processor."""


def recipes_for(depth: int) -> tuple[str, ...]:
    """Returns the recipes for an encoder with so many depths, from the cheapest to all weights."""
    third = depth // 3
    middle = ",".join(map(str, range(third, depth - third)))
    tops = tuple(f"top:{count}" for count in (1, 2) if count <= depth)
    thirds = ("middle-frozen",) if third else ()
    return ("head", *tops, *thirds, f"at:{middle}", "tied", "block", "embeddings", "all")


@dataclass(frozen=True, slots=True)
class Study:
    """What is to be measured.

    Attributes:
        data: Holds a folder per data set.
        names: Data sets of the recipes.
        registry: Tasks whose heads share a trunk.
        max_rows: Training rows, and rows that choose or measure, at most.
        epochs: Of training, at most.
        record: File of the results; those in it are not computed again.
    """

    data: Path
    names: tuple[str, ...]
    registry: Path
    max_rows: int
    epochs: int
    record: Path


def measure_freezing(
    study: Study, *, backbone: str | Path, other: tuple[str, str | Path] | None
) -> FreezingRecord:
    """Returns the results of all recipes, of inference and of similarity, and records each.

    Args:
        study: What is to be measured.
        backbone: The first encoder, as `open_backbone` takes it.
        other: Name of the second on the page, and where it is; None leaves its rows out.

    Raises:
        UsageError: A data set cannot be used, or the record is of other encoders or rows.
    """
    chosen_sets(study.data, study.names)
    first = open_named(ALBERT, backbone)
    second = None if other is None else open_named(BERT, other[1])
    found = _resumed(
        FreezingRecord(
            backbone=first.backbone.spec,
            other=None if second is None else second.backbone.spec,
            other_name="" if other is None else other[0],
            max_rows=study.max_rows,
            epochs=study.epochs,
            batch_size=BATCH_SIZE,
        ),
        study.record,
    )
    study.record.parent.mkdir(parents=True, exist_ok=True)
    last = found
    for last in _steps(found, study, first, second):
        write_atomic(study.record, last.model_dump_json(indent=1).encode(), replace=True)
    return last


def _resumed(new: FreezingRecord, record: Path) -> FreezingRecord:
    """Returns the results of a record to go on with, or the new, empty ones.

    Raises:
        UsageError: It cannot be read, or is of other encoders or rows.
    """
    if not record.is_file():
        return new
    try:
        known = FreezingRecord.model_validate_json(record.read_bytes())
    except ValidationError:
        raise UsageError(f"{record} is of another version; remove it to measure anew.") from None
    if not new.continues(known):
        raise UsageError(
            f"{record} has results of other encoders, rows or epochs ({known.max_rows} rows, "
            f"{known.epochs} epochs); give those, another page by --out, or remove it."
        )
    return known


def _steps(
    found: FreezingRecord, study: Study, first: NamedEncoder, second: NamedEncoder | None
) -> Iterator[FreezingRecord]:
    """Yields the record after each measurement that it lacks."""
    yield found
    encoders = [one for one in (first, second) if one is not None]
    listed = listed_sets(first.backbone.folder)
    texts = listed_texts(study.data, listed)
    for name in study.names:
        folder = study.data / name
        options = measured_options(folder, measured_rows(folder, texts), study.max_rows)
        splits = read_splits(training_file(folder), options)
        rows = _described(splits, is_listed=name in listed)
        found = found.model_copy(update={"sets": {**found.sets, name: rows}})
        for encoder in encoders:
            # The second encoder reads English only.
            if encoder is second and rows.language != "en":
                continue
            for recipe in recipes_for(encoder.encoder.depth):
                if found.run(encoder.name, name, recipe) is None:
                    run = _measure(folder, recipe, options, encoder, found)
                    found = found.model_copy(update={"runs": (*found.runs, run)})
                    yield found
    if found.inference is None:
        inference = measure_inference(study.registry, _texts(study), first.backbone)
        found = found.model_copy(update={"inference": inference})
        yield found
    for name in SIMILARITY_SETS:
        for encoder in encoders:
            known = [(one.name, one.encoder) for one in found.similarity]
            is_wanted = encoder is first or not name.endswith("_zh")
            if (name, encoder.name) not in known and is_wanted and (study.data / name).is_dir():
                folder = study.data / name
                pairs = measured_rows(folder, texts)
                one = measure_similarity(folder, pairs, encoder, SIMILARITY_ROWS * found.max_rows)
                found = found.model_copy(update={"similarity": (*found.similarity, one)})
                yield found


def _described(splits: Splits, *, is_listed: bool) -> MeasuredRows:
    return MeasuredRows(
        kind=splits.train.kind,
        language=language_of(splits.train),
        train=len(splits.train),
        choosing=len(splits.validation),
        measured=len(cast("Dataset", splits.test)),
        metric=compared_metric(splits.train.kind),
        is_listed=is_listed,
    )


def _measure(
    folder: Path, recipe: str, options: TrainingOptions, one: NamedEncoder, found: FreezingRecord
) -> Run:
    """Returns the result of one recipe."""
    metric = found.sets[folder.name].metric
    given = {name: getattr(options, name) for name in options.model_fields_set}
    # Heads have epochs by their number of rows: on features that are there, one takes milliseconds.
    own = {} if recipe == "head" else {"epochs": found.epochs, "batch_size": found.batch_size}
    options = training_options(**{**given, **_HEADS, **own, "tune": recipe, "metric": metric})
    trained = train(
        training_file(folder),
        task="freezing",
        options=options,
        registry=None,
        backbone=one.backbone,
        encoder=one.encoder,
    )
    row = trained.table.rows[trained.table.chosen]
    # A head chooses its depth among all.
    below = one.encoder.depth if recipe == "head" else row.passes - row.own_passes
    run = Run(
        encoder=one.name,
        name=folder.name,
        recipe=recipe,
        parameters=row.parameters,
        passes=row.passes,
        own_passes=row.own_passes,
        seconds=row.seconds,
        memory_bytes=row.memory_bytes,
        encoding_seconds=_encoding(folder, options, one, below),
        value=next(one.value for one in trained.metrics if one.name == metric),
    )
    print(f"{one.name} {folder.name} {recipe}: {metric} {run.value:.3f}", file=sys.stderr)
    return run


def _encoding(folder: Path, options: TrainingOptions, one: NamedEncoder, depth: int) -> float:
    """Returns the seconds of encoding the training rows up to a depth, without gradients.

    Training computes the states below all that it changes once, before the first epoch.
    """
    if depth == 0:
        return 0.0
    inputs = read_splits(training_file(folder), options).train.inputs
    tap = Tap(depth, "mean", ())
    started = time.perf_counter()
    for field in range(len(inputs[0])):
        texts = [(row[field],) for row in inputs]
        reading = Reading(("text",), one.encoder.max_positions, 0)
        encode_rows(texts, tap=tap, reading=reading, context=one.context)
    return time.perf_counter() - started


def _texts(study: Study) -> Sequence[str]:
    """Returns texts of the first data set to time inference by."""
    folder = study.data / study.names[0]
    options = TrainingOptions(max_rows=min(study.max_rows, 256), folds=0, skip_unseen=True)
    return [row[0] for row in read_splits(training_file(folder), options).train.inputs]
