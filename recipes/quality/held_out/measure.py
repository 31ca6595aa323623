"""Heads and baselines on every data set of a folder; a stopped run resumes."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from adapterhub.kinds import KINDS
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.specs import Kind
from adapterhub.training.data.dataset import Splits
from adapterhub.training.data.labels import Target
from recipes.backbone.tuning_sets import RESTRICTED
from recipes.quality.datasets import chosen_sets, compared_metric, language_of
from recipes.quality.held_out.halves import TunedTexts, head_options, split_options
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
from recipes.quality.held_out.retrieval import (
    EMBEDDING,
    PARTNERS,
    is_trained,
    measure_retrieval,
)
from recipes.quality.held_out.setting import Setting, train_head
from recipes.quality.held_out.word_overlap import predict_answers
from recipes.quality.linear import predict_choices, predict_tags, predict_texts, vector_features
from recipes.quality.parsing import predict_trees
from recipes.quality.predictions import head_predictions, what_it_reads
from recipes.quality.resampling import compare
from recipes.quality.untouched import listed_sets

Predicted = tuple[tuple[Target, ...], str]
"""Predictions, and what the head reads."""
Predict = Callable[[Splits], tuple[Target, ...]]

_PARTNERS = " (partners)"
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
    wanted = _missing(found, names, with_other=second is not None)
    if wanted:
        found = _measured(found, wanted, _setting(data, opened, second, listed, limits), record)
    return found


def _setting(
    data: Path, opened: Backbone, second: Backbone | None, listed: tuple[str, ...], limits: Limits
) -> Setting:
    encoder, *others = (
        (one, Encoder(one, dtype=limits.precision)) for one in (opened, second) if one is not None
    )
    return Setting(
        data=data,
        backbone=opened,
        encoder=encoder[1],
        listed=listed,
        tuned=TunedTexts(data, listed),
        other=others[0] if others else None,
        limits=limits,
    )


def _measured(found: HeldOut, wanted: Mapping[str, str], setting: Setting, record: Path) -> HeldOut:
    """Returns figures with those of more data sets, each of which is recorded at once."""
    for place, (label, name) in enumerate(wanted.items(), start=1):
        started = time.perf_counter()
        print(f"{place} of {len(wanted)}: {label} …", file=sys.stderr)
        found = _with_figures(found, label, name, setting)
        found.write(record)
        print(f"{label}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return found


def _missing(found: HeldOut, names: Sequence[str], *, with_other: bool) -> dict[str, str]:
    """Returns the data sets that are not measured yet, by what the log calls them."""
    done = {
        one.name
        for one in found.sets
        if OTHER_HEAD in one.figures.of or not with_other or one.language != "en"
    }
    searched = {
        one.name for one in found.retrieved if EMBEDDING in one.figures.of or not is_trained()
    }
    wanted = {name: name for name in names if name not in done}
    return wanted | {
        f"{name}{_PARTNERS}": name for name in names if name in PARTNERS and name not in searched
    }


def _with_figures(found: HeldOut, label: str, name: str, setting: Setting) -> HeldOut:
    measure = measure_retrieval if label.endswith(_PARTNERS) else measure_set
    try:
        one = measure(name, setting)
    except Exception as error:  # Whatever it is, hours of other sets must not be lost.
        traceback.print_exc()
        return found.with_failure(label, f"{type(error).__name__}: {error}")
    values = ", ".join(f"{system} {figure.value:.3f}" for system, figure in one.figures.of.items())
    print(f"{label}: {values}", file=sys.stderr)
    return found.added(label, one)


def measure_set(name: str, setting: Setting) -> HeldOutSet:
    """Returns the figures of all systems on one data set.

    Raises:
        AdapterHubError: Its rows cannot be used, or a head cannot be trained.
    """
    folder, limits = setting.data / name, setting.limits
    halves = setting.halves(name)
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
        HEAD: lambda: head(setting.backbone, setting.encoder),
    }
    if setting.other is not None and language == "en":
        other, features = setting.other, vector_features(*setting.other)
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
        tuned=name in setting.listed,
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
