"""Splits -> inputs of fitting: features of every tap, targets of rows or words, a metric."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from adapterhub.errors import UsageError
from adapterhub.model.heads.spans import TaggedText, Word
from adapterhub.plan import Reading
from adapterhub.specs import MAX_WINDOW, TOKEN_KINDS, Kind, Pooling
from adapterhub.tags import OUTSIDE
from adapterhub.training.data.dataset import Dataset, Splits
from adapterhub.training.data.tagging import unit_tags
from adapterhub.training.evaluation.split_notes import split_notes, two_standard_errors
from adapterhub.training.features.check_tokens import check_tokens
from adapterhub.training.features.encoding import Features, FeatureSource, Layout, read_features
from adapterhub.training.features.pairs import PairFeatures, read_pairs
from adapterhub.training.features.standardized_features import Part, TapReader
from adapterhub.training.heads.candidates import (
    CVFolds,
    Problem,
    Sample,
    Stage,
    depths_of,
    fold_priors,
    make_objective,
)
from adapterhub.training.heads.parsers.sentences import SplitTrees, judge_trees, split_trees
from adapterhub.training.heads.selection import (
    Judge,
    judge_label_sets,
    judge_labels,
    judge_numbers,
    judge_spans,
    unit_rows,
)
from adapterhub.training.options import (
    MetricName,
    TrainingOptions,
    measure_name,
    selection_metric,
)

# Most words are outside of all entities and much alike: a fifth of them, weighted by 5, will do.
_OUTSIDE_RANKED = 0.2
# Validation words that suffice to rank candidates.
_RANKED_WORDS = 30_000


def units_of(
    dataset: Dataset, reading: Reading, options: TrainingOptions, source: FeatureSource
) -> list[list[Word]]:
    """Returns the words of each row, or the units of parsing, as in scoring."""
    windows = options.max_windows
    rows = source.tokenizer.rows(dataset.inputs, reading=reading, max_windows=windows)
    texts = [
        TaggedText(texts[0], row.offsets) for texts, row in zip(dataset.inputs, rows, strict=True)
    ]
    return [text.units if dataset.kind == "parsing" else text.words for text in texts]


def tag_indices(units: Sequence[Sequence[Word]], dataset: Dataset) -> torch.Tensor:
    """Returns the label of every word of all rows: (words,) int64."""
    index = {label: place for place, label in enumerate(dataset.labels)}
    tags = [
        index[tag]
        for row, spans in zip(units, dataset.spans(), strict=True)
        for tag in unit_tags(row, spans, dataset.labels)
    ]
    return torch.from_numpy(np.array(tags, np.int64))


def word_ranking(
    problem: Problem, splits: Splits, truth: torch.Tensor, held_out: Sequence[Sequence[Word]]
) -> Stage:
    """Returns the words on which candidates are ranked before the last stage.

    Args:
        problem: All of the task.
        splits: Its rows.
        truth: (words,) int64, labels of the training words.
        held_out: Validation words of each row.
    """
    validation = splits.validation
    labels = validation.labels
    sample = _ranked_words(truth != labels.index(OUTSIDE), problem.seed)
    sizes = [len(row) for row in held_out]
    rows = rows_within(sizes, _RANKED_WORDS, problem.seed)
    if splits.folds or len(rows) == len(sizes):
        return Stage(sample, problem.cv_folds.validation_rows, problem.judge)
    spans = validation.spans()
    units = unit_rows([held_out[row] for row in rows], [spans[row] for row in rows], labels)
    places = torch.zeros(len(sizes), dtype=torch.bool)
    places[rows] = True
    words = torch.nonzero(places.repeat_interleave(torch.tensor(sizes))).flatten()
    return Stage(sample, (words,), judge_spans(units, labels))


def _ranked_words(inside: torch.Tensor, seed: int) -> Sample:
    """Returns the words of entities, their neighbours, and a weighted sample of the others."""
    near = inside.clone()
    near[1:] |= inside[:-1]
    near[:-1] |= inside[1:]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(len(near), generator=generator) < _OUTSIDE_RANKED
    rows = torch.nonzero(near | drawn).flatten()
    return Sample(rows, torch.where(near[rows], 1.0, 1 / _OUTSIDE_RANKED))


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
# A note says so where fewer words than this are words of scoring.
_FEW_ALIGNED = 0.95
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
    return Reading(dataset.fields, options.max_length or min(positions, MAX_WINDOW), 0)


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
    _metric(splits, options)  # Refuses a wrong one before anything is encoded.
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
    if splits.train.kind in TOKEN_KINDS:
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
    truth = torch.from_numpy(splits.train.truth())
    held_out = torch.from_numpy(splits.validation.truth())
    judge = _judge_texts(splits, held_out.to(source.encoder.device), options)
    return _fit_inputs(splits, features, (truth, held_out), judge, options, source)


def _make_word_inputs(splits: Splits, options: TrainingOptions, source: FeatureSource) -> FitInputs:
    """Returns the inputs for tagging and parsing, whose rows are words."""
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
        units = [units[row] for row in kept]
        held_out = units if splits.folds else held_out
    layout = Layout("words", reading, options.max_windows, depths)
    features = _read_parts(splits, layout, source)
    _check_words(features["train"], units, source)
    _check_words(features["validation"], held_out, source)
    if splits.train.kind == "parsing":
        made = _make_tree_inputs(splits, features, (units, held_out), options, source)
        return replace(made, notes=(*notes, *made.notes))
    labels = splits.train.labels
    truth = tag_indices(units, splits.train)
    held_out_truth = tag_indices(held_out, splits.validation)
    judge = judge_spans(unit_rows(held_out, splits.validation.spans(), labels), labels)
    fit_inputs = _fit_inputs(splits, features, (truth, held_out_truth), judge, options, source)
    ranking = word_ranking(fit_inputs.problem, splits, truth, held_out)
    problem = replace(fit_inputs.problem, ranking=ranking.to(source.encoder.device))
    return replace(fit_inputs, problem=problem, notes=notes)


def _make_tree_inputs(
    splits: Splits,
    features: _SplitFeatures,
    units: tuple[Sequence[Sequence[Word]], Sequence[Sequence[Word]]],
    options: TrainingOptions,
    source: FeatureSource,
) -> FitInputs:
    """Returns the inputs for parsing: trees of training and validation units.

    The objective is that of relations; it has their frequencies.
    """
    labels = splits.train.labels
    train, validation = splits.train, splits.validation
    trees: dict[Part, SplitTrees] = {
        "train": split_trees(units[0], train),
        "validation": split_trees(units[1], validation),
    }
    own = [torch.from_numpy(one.relations).clamp(min=0) for one in trees.values()]
    judge = judge_trees(_metric(splits, options), trees["validation"], labels)
    fit_inputs = _fit_inputs(splits, features, (own[0], own[1]), judge, options, source)
    return replace(fit_inputs, trees=trees, notes=tuple(_alignment_notes(trees["validation"])))


def _alignment_notes(trees: SplitTrees) -> Iterator[str]:
    if trees.aligned < _FEW_ALIGNED:
        yield (
            f"{100 * (1 - trees.aligned):.1f} % of the validation words are not words of scoring "
            f"and cannot be right: parts of words, such as do and n't of don't."
        )


def _check_words(
    features: Features, units: Sequence[Sequence[Word]], source: FeatureSource
) -> None:
    if features.counts.tolist() != list(map(len, units)):
        raise UsageError(
            f"The feature cache {source.folder} holds other words for these texts, from another "
            f"version of adapterhub. Remove that folder."
        )


def _read_parts(splits: Splits, layout: Layout, source: FeatureSource) -> dict[Part, Features]:
    """Returns the features of both splits; encodes all missing texts in one run."""
    read_features((*splits.train.inputs, *splits.validation.inputs), layout=layout, source=source)
    return {
        "train": read_features(splits.train.inputs, layout=layout, source=source),
        "validation": read_features(splits.validation.inputs, layout=layout, source=source),
    }


def _fit_inputs(
    splits: Splits,
    features: _SplitFeatures,
    truths: tuple[torch.Tensor, torch.Tensor],
    judge: Judge,
    options: TrainingOptions,
    source: FeatureSource,
) -> FitInputs:
    def tap(part: Part, depth: int, pooling: Pooling) -> torch.Tensor:
        return features[part].tap(depth, pooling)

    truth, held_out = truths
    dataset = splits.train
    device, margin = source.encoder.device, two_standard_errors(len(splits.validation))
    objective = make_objective(dataset.kind, truth, len(dataset.labels)).to(device)
    cv_folds = _cv_folds(splits, features["train"], held_out=len(held_out)).to(device)
    if (mask := cv_folds.train_mask) is not None:
        objective = replace(objective, prior=fold_priors(dataset.kind, objective, mask))
    problem = Problem(
        objective=objective,
        judge=judge,
        cv_folds=cv_folds,
        ranking=None,
        hidden_size=features["train"].hidden_size,
        epochs=options.epochs or _default_epochs(len(truth), dataset.kind),
        batch_size=options.batch_size or _default_batch(len(truth)),
        slack=(options.tolerance + max(_SLACK_POINTS, margin)) / 100,
        seed=options.seed,
        device=device,
        dropout=options.head_dropout,
    )
    tap_bytes = (len(truth) + len(held_out)) * features["train"].hidden_size * _HALF_BYTES
    reading = features["train"].reading
    return FitInputs(splits, reading, tap, tap_bytes, problem, _metric(splits, options), held_out)


def _cv_folds(splits: Splits, features: Features | PairFeatures, *, held_out: int) -> CVFolds:
    """Returns the copies of each candidate; the words of a row are all in its fold."""
    if not splits.folds:
        return CVFolds.held_out(held_out)
    counts = torch.from_numpy(features.counts)
    return CVFolds.cross_validated(torch.tensor(splits.folds).repeat_interleave(counts))


def _default_epochs(rows: int, kind: Kind) -> int:
    # Large sets need fewer epochs; words are many, so a head sees more of them.
    most, visits = _EPOCHS.get(kind, (24, 400_000))
    return min(most, max(6, visits // rows))


_EPOCHS: Mapping[Kind, tuple[int, int]] = {"tagging": (20, 1_000_000), "parsing": (30, 2_000_000)}
"""At most so many epochs, that see about so many words."""


def _default_batch(rows: int) -> int:
    return next(
        size
        for size, most in ((64, 4_000), (256, 20_000), (512, 100_000), (1024, rows))
        if rows <= most
    )


def _metric(splits: Splits, options: TrainingOptions) -> MetricName:
    return selection_metric(options, splits.train.kind, crossed=bool(splits.folds))


def _judge_texts(splits: Splits, truth: torch.Tensor, options: TrainingOptions) -> Judge:
    metric, dataset = _metric(splits, options), splits.train
    if dataset.kind == "regression":
        return judge_numbers(metric, truth)
    if dataset.kind == "multi_label":
        return judge_label_sets(metric, truth)
    return judge_labels(metric, truth, len(dataset.labels))
