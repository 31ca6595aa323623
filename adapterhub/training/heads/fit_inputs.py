"""Splits -> inputs of fitting: features of every tap, targets of rows or words, a metric."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from adapterhub.choices.rows import choice_counts
from adapterhub.errors import UsageError
from adapterhub.kinds import KINDS
from adapterhub.model.heads.answers.context import contexts_of
from adapterhub.model.heads.spans import TaggedText
from adapterhub.plan import Reading
from adapterhub.specs import MAX_WINDOW, Extraction, Pooling
from adapterhub.training.data.dataset import Dataset, Splits
from adapterhub.training.data.kinds.table import READERS
from adapterhub.training.evaluation.split_notes import split_notes, two_standard_errors
from adapterhub.training.features.check_tokens import check_tokens
from adapterhub.training.features.choice_items import ChoiceItems, PairItems, RowItems
from adapterhub.training.features.encoding import (
    Content,
    Features,
    FeatureSource,
    Layout,
    read_features,
)
from adapterhub.training.features.pairs import PairFeatures, read_pairs
from adapterhub.training.features.standardized_features import Part, TapReader
from adapterhub.training.heads.candidates import (
    CVFolds,
    Problem,
    Stage,
    depths_of,
)
from adapterhub.training.kinds.kind import Units
from adapterhub.training.kinds.table import TRAINED
from adapterhub.training.kinds.trees import SplitTrees
from adapterhub.training.options import (
    MetricName,
    TrainingOptions,
    measure_name,
    selection_metric,
)


def units_of(
    dataset: Dataset, reading: Reading, options: TrainingOptions, source: FeatureSource
) -> Units:
    """Returns the words of each row, the units of parsing, or contexts, as in scoring."""
    kind, windows = TRAINED[dataset.kind], options.max_windows
    rows = source.tokenizer.rows(dataset.inputs, reading=reading, max_windows=windows)
    if reading.slides_second:
        cut = source.tokenizer.windows(rows, reading=reading)
        return contexts_of(dataset.inputs, rows, cut)
    texts = [
        TaggedText(texts[0], row.offsets) for texts, row in zip(dataset.inputs, rows, strict=True)
    ]
    return [kind.units(text) for text in texts]


def word_ranking(
    problem: Problem,
    splits: Splits,
    *,
    metric: MetricName,
    truth: torch.Tensor,
    held_out: Units,
) -> Stage | None:
    """Returns on what candidates are ranked before the last stage, words or rows; None for all.

    Args:
        problem: All of the task.
        splits: Its rows.
        metric: The one to rank by.
        truth: Values of the training targets.
        held_out: Validation words of each row; empty for kinds of whole texts.
    """
    kind, validation = TRAINED[splits.train.kind], splits.validation
    sample = kind.ranking_sample(truth, validation.labels, problem.seed)
    if sample is None:
        return None
    sizes = [len(row) for row in held_out] or [1] * len(validation)
    rows = rows_within(sizes, kind.ranked_units, problem.seed)
    if splits.folds or len(rows) == len(sizes):
        return Stage(sample, problem.cv_folds.validation_rows, problem.judge)
    part = validation.take(rows)
    judge = kind.judge(metric, part, kind.targets(part, _taken(held_out, rows)))
    places = torch.zeros(len(sizes), dtype=torch.bool)
    places[rows] = True
    words = torch.nonzero(places.repeat_interleave(torch.tensor(sizes))).flatten()
    return Stage(sample, (words,), judge)


def rows_within(sizes: Sequence[int], budget: int, seed: int) -> list[int]:
    """Returns random rows, in order, whose total size fits a budget."""
    if sum(sizes) <= budget:
        return list(range(len(sizes)))
    order = list(range(len(sizes)))
    random.Random(seed).shuffle(order)
    kept = []
    for row in order:
        budget -= sizes[row]
        if budget < 0:
            break
        kept.append(row)
    return sorted(kept)


_SplitFeatures = Mapping[Part, Features] | Mapping[Part, PairFeatures]

_HALF_BYTES = 2
_DIMENSIONS = 128
_PARTS: tuple[Part, ...] = ("train", "validation")
_SHARED_TOKENS = 128
"""Overlap of windows over a context, as in the script of BERT for SQuAD."""
# Points on top of the tolerance within which a head survives a halving.
_SLACK_POINTS = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class FitInputs:
    """What the candidates of one task are fitted on.

    Attributes:
        splits: The rows that are used.
        reading: Fields and window.
        tap: Reads the features of one tap.
        tap_bytes: Size of the features of one tap.
        problem: Targets, judge and budget.
        metric: That of `problem.judge`.
        truth: Validation targets: as `Dataset.truth`, for tagging and parsing one label per word.
        notes: What was left out, and why.
        trees: Parsing only: the trees of both splits.
        extraction: Question answering only: which spans of a context are answers.
    """

    splits: Splits
    reading: Reading
    tap: TapReader
    tap_bytes: int
    problem: Problem
    metric: MetricName
    truth: torch.Tensor
    notes: tuple[str, ...] = ()
    trees: Mapping[Part, SplitTrees] = field(default_factory=dict)
    extraction: Extraction | None = None

    @property
    def measure(self) -> str:
        """Returns the name of the metric as `problem.judge` computes it."""
        return measure_name(self.metric, self.splits.train.kind)


def reading_for(options: TrainingOptions, dataset: Dataset, source: FeatureSource) -> Reading:
    """Returns the window of a new task: that of the options, or all positions of the backbone.

    Raises:
        UsageError: The backbone has fewer positions than the options want.
    """
    positions = source.encoder.max_positions
    if options.max_length is not None and options.max_length > positions:
        raise UsageError(
            f"max_length is {options.max_length}; the backbone {source.encoder.spec.name} reads "
            f"{positions} tokens at most."
        )
    length = options.max_length or min(positions, MAX_WINDOW)
    slides = KINDS[dataset.kind].slides_second
    # Answers that one window cuts are whole in the next.
    overlap = min(_SHARED_TOKENS, length // 4) if slides else 0
    choices = dataset.has_choices
    return Reading(dataset.fields, length, overlap, choices=choices, slides_second=slides)


def vector_size(options: TrainingOptions, source: FeatureSource) -> int:
    """Returns the size of the vectors of a new task.

    Raises:
        UsageError: It is over the backbone's width, of which a vector is a projection.
    """
    width = source.encoder.hidden_size
    if options.dimensions is not None and options.dimensions > width:
        raise UsageError(
            f"dimensions is {options.dimensions}; the hidden states of the backbone "
            f"{source.encoder.spec.name} have {width} numbers."
        )
    return options.dimensions or min(_DIMENSIONS, width)


def token_layout(reading: Reading, depths: tuple[int, ...], options: TrainingOptions) -> Layout:
    """Returns what is cached for a kind that reads every token: its words, or its context."""
    content: Content = "context" if reading.slides_second else "words"
    return Layout(content, reading, options.max_windows, depths)


def make_fit_inputs(
    splits: Splits, *, options: TrainingOptions, source: FeatureSource, apart: bool = False
) -> FitInputs:
    """Returns the inputs of fitting a task on `splits`; texts that are not cached are encoded.

    Args:
        splits: The rows.
        options: Window, memory and budget.
        source: Where features come from.
        apart: Whether the two texts of each row are encoded separately and compared.

    Raises:
        UsageError: The cache cannot be written, or the metric does not fit the kind.
        DataError: A text leaves no token.
    """
    # Refuse what is wrong before anything is encoded.
    _metric(splits, options)
    if KINDS[splits.train.kind].of_vectors:
        vector_size(options, source)
    for dataset in (splits.train, splits.validation):
        check_tokens(dataset, source)
    fit_inputs = _make_fit_inputs(splits, options, source, apart)
    return replace(fit_inputs, notes=(*fit_inputs.notes, *split_notes(fit_inputs.splits)))


def matching_inputs(apart: bool, all_inputs: Sequence[FitInputs]) -> FitInputs:
    """Returns the one of `all_inputs` whose texts are encoded together or apart."""
    return next(one for one in all_inputs if one.reading.apart == apart)


def _make_fit_inputs(
    splits: Splits, options: TrainingOptions, source: FeatureSource, apart: bool
) -> FitInputs:
    if KINDS[splits.train.kind].per_token:
        return _make_word_inputs(splits, options, source)
    reading = reading_for(options, splits.train, source)
    depths = tuple(range(source.encoder.depth + 1))
    features: _SplitFeatures
    if apart:
        alone = Layout("pooled", reading.alone, options.max_windows, depths)
        features = read_pairs(splits, replace(reading, apart=True), layout=alone, source=source)
    else:
        layout = Layout("pooled", reading, options.max_windows, depths)
        features = _read_parts(splits, layout, source)
    return _fit_inputs(splits, features, ((), ()), options, source)


def _make_word_inputs(splits: Splits, options: TrainingOptions, source: FeatureSource) -> FitInputs:
    """Returns the inputs for kinds that read every token."""
    reading = reading_for(options, splits.train, source)
    depths = depths_of(options, source.encoder.depth)
    held_out = units_of(splits.validation, reading, options, source)
    units = held_out if splits.folds else units_of(splits.train, reading, options, source)
    word_bytes = len(depths) * source.encoder.hidden_size * _HALF_BYTES
    budget = options.memory_bytes // word_bytes
    budget = budget // 2 if splits.folds else budget - sum(map(len, held_out))
    kept = rows_within([len(row) for row in units], max(budget, 1), options.seed)
    notes: tuple[str, ...] = ()
    if len(kept) < len(units):
        notes = (
            f"{len(kept)} of {len(units)} training rows are used: the words of all would exceed "
            f"memory_bytes ({options.memory_bytes}).",
        )
        splits = splits.keep(kept)
        units = _taken(units, kept)
        held_out = units if splits.folds else held_out
    layout = token_layout(reading, depths, options)
    features = _read_parts(splits, layout, source)
    _check_words(features["train"], units, source)
    _check_words(features["validation"], held_out, source)
    made = _fit_inputs(splits, features, (units, held_out), options, source)
    return replace(made, notes=(*notes, *made.notes))


def _taken(units: Units, rows: Sequence[int]) -> Units:
    """Returns the words, or contexts, of some rows."""
    return [units[row] for row in rows] if units else ()


def _check_words(features: Features, units: Units, source: FeatureSource) -> None:
    if features.counts.tolist() != list(map(len, units)):
        raise UsageError(
            f"The feature cache {source.folder} holds other words for these texts, from another "
            f"version of adapterhub. Remove that folder."
        )


def _read_parts(splits: Splits, layout: Layout, source: FeatureSource) -> dict[Part, Features]:
    """Returns the features of both splits; encodes all missing texts in one run."""
    train, validation = splits.train.items, splits.validation.items
    read_features((*train, *validation), layout=layout, source=source)
    return {
        "train": read_features(train, layout=layout, source=source),
        "validation": read_features(validation, layout=layout, source=source),
    }


def _fit_inputs(
    splits: Splits,
    features: _SplitFeatures,
    units: tuple[Units, Units],
    options: TrainingOptions,
    source: FeatureSource,
) -> FitInputs:
    def tap(part: Part, depth: int, pooling: Pooling) -> torch.Tensor:
        return features[part].tap(depth, pooling)

    kind, dataset, metric = TRAINED[splits.train.kind], splits.train, _metric(splits, options)
    train, validation = kind.targets(dataset, units[0]), kind.targets(splits.validation, units[1])
    truth, held_out = train.values, validation.values
    device, margin = source.encoder.device, two_standard_errors(max(1, len(splits.validation)))
    objective = kind.objective(truth, _outputs(dataset, options, source)).to(device)
    cv_folds = _cv_folds(splits, features["train"], held_out=len(held_out)).to(device)
    if (mask := cv_folds.train_mask) is not None:
        objective = replace(objective, prior=kind.fold_priors(objective, mask))
    problem = Problem(
        objective=objective,
        judge=kind.judge(metric, splits.validation, validation.to(device)),
        cv_folds=cv_folds,
        ranking=None,
        hidden_size=features["train"].hidden_size,
        epochs=options.epochs or _default_epochs(len(truth), kind.epochs),
        batch_size=options.batch_size or min(_default_batch(len(truth)), kind.batch_rows),
        slack=(options.tolerance + max(_SLACK_POINTS, margin)) / 100,
        seed=options.seed,
        device=device,
        dropout=options.head_dropout,
        row_items={part: own.to(device) for part, own in _row_items(splits).items()},
    )
    ranking = word_ranking(problem, splits, metric=metric, truth=truth, held_out=units[1])
    trees: dict[Part, SplitTrees | None]
    trees = {"train": train.trees, "validation": validation.trees}
    return FitInputs(
        splits,
        reading=features["train"].reading,
        tap=tap,
        tap_bytes=_tap_bytes(features),
        problem=problem if ranking is None else replace(problem, ranking=ranking.to(device)),
        metric=metric,
        truth=held_out,
        notes=tuple(kind.notes(validation)),
        trees={part: one for part, one in trees.items() if one is not None},
        extraction=kind.extraction(train),
    )


def _outputs(dataset: Dataset, options: TrainingOptions, source: FeatureSource) -> int:
    """Returns the number of labels, or of the numbers of a vector."""
    is_sized = KINDS[dataset.kind].of_vectors
    return vector_size(options, source) if is_sized else len(dataset.labels)


def _tap_bytes(features: _SplitFeatures) -> int:
    items = sum(int(features[part].counts.sum()) for part in _PARTS)
    return items * features["train"].hidden_size * _HALF_BYTES


def _cv_folds(splits: Splits, features: Features | PairFeatures, *, held_out: int) -> CVFolds:
    """Returns the copies of each candidate; the words of a row are all in its fold."""
    if not splits.folds:
        return CVFolds.held_out(held_out)
    folds = torch.tensor(splits.folds)
    if not splits.train.has_choices:
        folds = folds.repeat_interleave(torch.from_numpy(features.counts))
    return CVFolds.cross_validated(folds)


def _row_items(splits: Splits) -> Mapping[Part, RowItems]:
    """Returns the items of the rows of both parts; empty where each row is one."""
    if KINDS[splits.train.kind].of_vectors:
        return dict.fromkeys(_PARTS, PairItems())
    if not splits.train.has_choices:
        return {}
    numbers = [choice_counts(part.inputs) for part in (splits.train, splits.validation)]
    most = max(map(max, numbers))
    train, validation = (ChoiceItems.of(own, most=most) for own in numbers)
    return {"train": train, "validation": validation}


def _default_epochs(rows: int, bounds: tuple[int, int]) -> int:
    # Large sets need fewer epochs; words are many, so a head sees more of them.
    most, visits = bounds
    return min(most, max(6, visits // rows))


def _default_batch(rows: int) -> int:
    return next(
        size
        for size, most in ((64, 4_000), (256, 20_000), (512, 100_000), (1024, rows))
        if rows <= most
    )


def _metric(splits: Splits, options: TrainingOptions) -> MetricName:
    kind = splits.train.kind
    known = READERS[kind].metrics(splits.train.targets)
    return selection_metric(options, kind, known, crossed=bool(splits.folds))
