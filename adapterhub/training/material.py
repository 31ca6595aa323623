"""Splits -> what fitting works on: features of every tap, targets, and a judge."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from adapterhub.model.spans import TaggedText, Word, words_of
from adapterhub.plan import Reading
from adapterhub.specs import Pooling
from adapterhub.training.candidates import depths_of
from adapterhub.training.data import Dataset, Splits
from adapterhub.training.encoding import Layout, Source
from adapterhub.training.features import Features, read_features
from adapterhub.training.fit import Problem
from adapterhub.training.objectives import make_objective
from adapterhub.training.options import TrainingOptions, selection_metric
from adapterhub.training.readers import Part, TapReader
from adapterhub.training.selection import (
    Judge,
    judge_label_sets,
    judge_labels,
    judge_numbers,
    judge_spans,
    unit_rows,
)
from adapterhub.training.tagging import unit_tags

_HALF_BYTES = 2


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What the candidates of one task are fitted on.

    Attributes:
        splits: The rows, after cuts.
        reading: Fields and window.
        tap: Gives the features of one tap.
        tap_bytes: Size of the features of one tap.
        problem: Targets, judge and budget.
        truth: Validation targets: as `Dataset.truth`, for tagging one label per word.
        notes: What was cut, and why.
    """

    splits: Splits
    reading: Reading
    tap: TapReader
    tap_bytes: int
    problem: Problem
    truth: torch.Tensor
    notes: tuple[str, ...] = ()


def reading_for(options: TrainingOptions, dataset: Dataset, source: Source) -> Reading:
    """Returns the window of a new task: what the options say, at most what the backbone has."""
    positions = min(512, source.encoder.max_positions)
    return Reading(dataset.fields, min(options.max_length or positions, positions), 0)


def gather(splits: Splits, *, options: TrainingOptions, source: Source) -> Material:
    """Returns the material for a task on `splits`; texts that the cache lacks are encoded.

    Raises:
        UsageError: The cache cannot be written, or the metric does not fit the kind.
    """
    selection_metric(options, splits.train.kind)
    if splits.train.kind == "tagging":
        return _gather_words(splits, options, source)
    reading = reading_for(options, splits.train, source)
    depths = tuple(range(source.encoder.depth + 1))
    layout = Layout("pooled", reading, options.max_windows, depths)
    features = _read_parts(splits, layout, source)
    truth = torch.from_numpy(splits.train.truth())
    held_out = torch.from_numpy(splits.validation.truth())
    judge = _judge_texts(splits.validation, held_out.to(source.encoder.device), options)
    return _material(splits, features, (truth, held_out), judge, options, source)


def _gather_words(splits: Splits, options: TrainingOptions, source: Source) -> Material:
    """Returns the material for tagging: rows are words, as scoring will find them."""
    reading = reading_for(options, splits.train, source)
    depths = depths_of(options, source.encoder.depth)
    held_out = _units(splits.validation, reading, options, source)
    units = _units(splits.train, reading, options, source)
    word_bytes = len(depths) * source.encoder.hidden_size * _HALF_BYTES
    budget = options.memory_bytes // word_bytes - sum(map(len, held_out))
    kept = _fitting([len(row) for row in units], max(budget, 1), options.seed)
    notes: tuple[str, ...] = ()
    if len(kept) < len(units):
        notes = (
            f"{len(kept)} of {len(units)} training rows are used: the words of all of them would "
            f"take more than memory_bytes ({options.memory_bytes}).",
        )
        splits = replace(splits, train=splits.train.take(kept))
        units = [units[row] for row in kept]
    layout = Layout("words", reading, options.max_windows, depths)
    features = _read_parts(splits, layout, source)
    labels = splits.train.labels
    truths = (_tag_indices(units, splits.train), _tag_indices(held_out, splits.validation))
    rows = unit_rows(held_out, splits.validation.spans(), labels)
    judge = judge_spans(rows, labels)
    return replace(_material(splits, features, truths, judge, options, source), notes=notes)


def _read_parts(splits: Splits, layout: Layout, source: Source) -> dict[Part, Features]:
    """Returns the features of both parts; one run encodes what both lack."""
    read_features((*splits.train.inputs, *splits.validation.inputs), layout=layout, source=source)
    return {
        "train": read_features(splits.train.inputs, layout=layout, source=source),
        "validation": read_features(splits.validation.inputs, layout=layout, source=source),
    }


def _material(
    splits: Splits,
    features: dict[Part, Features],
    truths: tuple[torch.Tensor, torch.Tensor],
    judge: Judge,
    options: TrainingOptions,
    source: Source,
) -> Material:
    def tap(part: Part, depth: int, pooling: Pooling) -> torch.Tensor:
        return features[part].tap(depth, pooling)

    truth, held_out = truths
    dataset = splits.train
    objective = make_objective(dataset.kind, truth, len(dataset.labels)).to(source.encoder.device)
    problem = Problem(
        objective=objective,
        judge=judge,
        validation_rows=len(held_out),
        hidden_size=source.encoder.hidden_size,
        epochs=options.epochs or _default_epochs(len(truth), dataset.kind == "tagging"),
        batch_size=options.batch_size or _default_batch(len(truth)),
        seed=options.seed,
        device=source.encoder.device,
    )
    tap_bytes = (len(truth) + len(held_out)) * source.encoder.hidden_size * _HALF_BYTES
    reading = features["train"].layout.reading
    return Material(splits, reading, tap, tap_bytes, problem, held_out)


def _default_epochs(rows: int, are_words: bool) -> int:
    most, visits = (20, 2_000_000) if are_words else (24, 400_000)
    return min(most, max(6, visits // rows))


def _default_batch(rows: int) -> int:
    return next(
        size
        for size, most in ((64, 4_000), (256, 20_000), (512, 100_000), (1024, rows))
        if rows <= most
    )


def _judge_texts(dataset: Dataset, truth: torch.Tensor, options: TrainingOptions) -> Judge:
    metric = selection_metric(options, dataset.kind)
    if dataset.kind == "regression":
        return judge_numbers(metric, truth)
    if dataset.kind == "multi_label":
        return judge_label_sets(metric, truth)
    return judge_labels(metric, truth, len(dataset.labels))


def _units(
    dataset: Dataset, reading: Reading, options: TrainingOptions, source: Source
) -> list[list[Word]]:
    """Returns the words of each row as scoring finds them."""
    windows = options.max_windows
    rows = source.tokenizer.rows(dataset.inputs, reading=reading, max_windows=windows)
    texts = [texts[0] for texts in dataset.inputs]
    return [words_of(TaggedText(text, row.offsets)) for text, row in zip(texts, rows, strict=True)]


def _tag_indices(units: Sequence[Sequence[Word]], dataset: Dataset) -> torch.Tensor:
    """Returns the label of every word of all rows: (words,) int64."""
    index = {label: place for place, label in enumerate(dataset.labels)}
    tags = [
        index[tag]
        for row, spans in zip(units, dataset.spans(), strict=True)
        for tag in unit_tags(row, spans)
    ]
    return torch.from_numpy(np.array(tags, np.int64))


def _fitting(sizes: Sequence[int], budget: int, seed: int) -> list[int]:
    """Returns the rows, in order, whose sizes together fit in a budget, drawn by the seed."""
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
