"""Heads and baselines on every data set of a folder; a stopped run resumes."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterhub.kinds import KINDS
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.specs import Kind
from adapterhub.training.data.dataset import Splits
from adapterhub.training.data.labels import Target
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.options import TrainingOptions
from adapterhub.training.prepare import TrainingJob
from adapterhub.training.train import run
from recipes.backbone.tuning_sets import RESTRICTED
from recipes.quality.datasets import chosen_sets, compared_metric, language_of
from recipes.quality.held_out.halves import TunedTexts, head_options, read_halves, split_options
from recipes.quality.held_out.record import (
    BASELINE,
    HEAD,
    OTHER_HEAD,
    OTHER_VECTORS,
    HeldOut,
    HeldOutSet,
    Limits,
    resumed,
)
from recipes.quality.held_out.word_overlap import predict_answers
from recipes.quality.linear import predict_choices, predict_tags, predict_texts, vector_features
from recipes.quality.parsing import predict_trees
from recipes.quality.predictions import head_predictions, what_it_reads
from recipes.quality.resampling import compare
from recipes.quality.untouched import listed_sets

Predicted = tuple[tuple[Target, ...], str]
"""Predictions, and what the head reads."""
Predict = Callable[[Splits], tuple[Target, ...]]

_TASK = "quality"
_LINEAR: tuple[str, Predict] = ("TF-IDF + LR", predict_texts)
_BASELINES: Mapping[Kind, tuple[str, Predict]] = {
    "single_label": _LINEAR,
    "multi_label": _LINEAR,
    "regression": ("TF-IDF + ridge", predict_texts),
    "tagging": ("linear tagger", predict_tags),
    "parsing": ("most frequent attachment", predict_trees),
    "multiple_choice": ("TF-IDF cosine or LR", predict_choices),
    "question_answering": ("word overlap", predict_answers),
}


@dataclass(frozen=True, eq=False)
class Measured:
    """What is measured.

    Attributes:
        data: Holds a folder per data set.
        backbone: The backbone.
        encoder: Its encoder.
        listed: The sets that its model card lists.
        tuned: Their texts.
        other: Another encoder for English sets, or None.
        limits: Of all systems.
    """

    data: Path
    backbone: Backbone
    encoder: Encoder
    listed: tuple[str, ...]
    tuned: TunedTexts
    other: tuple[Backbone, Encoder] | None
    limits: Limits


def measure_held_out(
    data: Path,
    *,
    backbone: str | Path,
    other: tuple[str, str | Path] | None,
    only: Sequence[str] | None,
    limits: Limits,
    record: Path,
) -> HeldOut:
    """Returns the figures of every data set, and records each as soon as it is measured.

    A set that fails is named with its error, and the others are measured.

    Args:
        data: Holds a folder per data set.
        backbone: As `open_backbone` takes it.
        other: Name of another encoder, for English sets, and where it is; None for none.
        only: Names of data sets; None for all.
        limits: Of all systems.
        record: File of the figures; those in it are not computed again.

    Raises:
        UsageError: `only` names a set that cannot be used, or the record is of other limits.
    """
    names = chosen_sets(data, only, of_any_kind=True)
    record.parent.mkdir(parents=True, exist_ok=True)
    opened = open_backbone(backbone)
    second = None if other is None else open_backbone(other[1])
    listed = listed_sets(opened.folder)
    found = resumed(
        HeldOut(
            backbone=opened.spec,
            listed=len(listed),
            other=None if second is None else second.spec,
            other_name="" if other is None else other[0],
            limits=limits,
            names=tuple(chosen_sets(data, None, of_any_kind=True)),
        ),
        record,
    )
    missing = [name for name in names if not _is_done(found, name, with_other=second is not None)]
    if not missing:
        return found
    dtype = limits.precision
    measured = Measured(
        data=data,
        backbone=opened,
        encoder=Encoder(opened, dtype=dtype),
        listed=listed,
        tuned=TunedTexts(data, listed),
        other=None if second is None else (second, Encoder(second, dtype=dtype)),
        limits=limits,
    )
    for place, name in enumerate(missing, start=1):
        started = time.perf_counter()
        found = _with_figures(found, name, measured)
        found.write(record)
        seconds = time.perf_counter() - started
        print(f"{place} of {len(missing)}: {_line(found, name)}, {seconds:.0f} s", file=sys.stderr)
    return found


def _is_done(found: HeldOut, name: str, *, with_other: bool) -> bool:
    one = next((one for one in found.sets if one.name == name), None)
    wants_other = with_other and one is not None and one.language == "en"
    return one is not None and (not wants_other or OTHER_HEAD in one.figures.of)


def _with_figures(found: HeldOut, name: str, measured: Measured) -> HeldOut:
    try:
        return found.with_set(measure_set(name, measured))
    except Exception as error:  # Whatever it is, hours of other sets must not be lost.
        traceback.print_exc()
        return found.with_failure(name, f"{type(error).__name__}: {error}")


def _line(found: HeldOut, name: str) -> str:
    if name in found.failed:
        return f"{name} failed: {found.failed[name]}"
    one = next(one for one in found.sets if one.name == name)
    figures = ", ".join(f"{system} {figure.value:.3f}" for system, figure in one.figures.of.items())
    rows = f"{one.train:,} + {one.choosing:,}; {one.measured:,}"
    return f"{name} ({rows}): {one.metric} {figures}"


def measure_set(name: str, measured: Measured) -> HeldOutSet:
    """Returns the figures of all systems on one data set.

    Raises:
        AdapterHubError: Its rows cannot be used, or a head cannot be trained.
    """
    folder, limits = measured.data / name, measured.limits
    halves = read_halves(folder, limits, backbone=measured.backbone, tuned=measured.tuned)
    train, options = halves.splits.train, split_options(folder, limits)
    language, metric = language_of(train), compared_metric(train.kind)
    baseline, predict = _BASELINES[train.kind]

    def head(backbone: Backbone, encoder: Encoder) -> Predicted:
        tried = head_options(options, train, limits, encoder.depth)
        trained = train_head(halves.seen, tried, backbone, encoder)
        found = head_predictions(trained, halves.measured, dtype=limits.precision)
        return found, what_it_reads(trained)

    systems: dict[str, Callable[[], Predicted]] = {
        BASELINE: lambda: (predict(halves.splits), ""),
        HEAD: lambda: head(measured.backbone, measured.encoder),
    }
    if measured.other is not None and language == "en":
        other, features = measured.other, vector_features(*measured.other)
        if predict is predict_texts:
            systems[OTHER_VECTORS] = lambda: (predict_texts(halves.splits, features), "")
        systems[OTHER_HEAD] = lambda: head(*other)
    predicted, reads, seconds = {}, {}, {}
    for system, compute in systems.items():
        started = time.perf_counter()
        predicted[system], reads[system] = compute()
        seconds[system] = round(time.perf_counter() - started, 1)
    return HeldOutSet(
        name=name,
        kind=train.kind,
        pair=len(train.fields) == 2 and KINDS[train.kind].input_fields == (),
        language=language,
        tuned=name in measured.listed,
        restricted=name in RESTRICTED,
        train=len(train),
        choosing=len(halves.splits.validation),
        measured=len(halves.measured),
        shared=halves.shared,
        metric=metric,
        baseline=baseline,
        figures=compare(predicted, halves.measured),
        reads={system: text for system, text in reads.items() if text},
        seconds=seconds,
    )


def train_head(
    splits: Splits, options: TrainingOptions, backbone: Backbone, encoder: Encoder
) -> TrainedTask:
    """Returns a head that `train` makes of these very rows."""
    return run(TrainingJob(_TASK, splits, options, None, backbone), encoder=encoder)
