"""The words that tagging decides on: as scoring finds them, with their labels."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch

from adapterhub.model.spans import TaggedText, Word, words_of
from adapterhub.plan import Reading
from adapterhub.tags import OUTSIDE
from adapterhub.training.data import Dataset, Splits
from adapterhub.training.encoding import Source
from adapterhub.training.options import TrainingOptions
from adapterhub.training.problem import Problem, Sample, Stage
from adapterhub.training.selection import judge_spans, unit_rows
from adapterhub.training.tagging import unit_tags

# Most words are outside of all entities, and most of those say the same.
_OUTSIDE_RANKED = 0.2
# Validation words that suffice to tell good candidates from bad ones.
_RANKED_WORDS = 30_000


def units_of(
    dataset: Dataset, reading: Reading, options: TrainingOptions, source: Source
) -> list[list[Word]]:
    """Returns the words of each row as scoring finds them."""
    windows = options.max_windows
    rows = source.tokenizer.rows(dataset.inputs, reading=reading, max_windows=windows)
    texts = [texts[0] for texts in dataset.inputs]
    return [words_of(TaggedText(text, row.offsets)) for text, row in zip(texts, rows, strict=True)]


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
    """Returns the words by which many candidates are ranked.

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
        return Stage(sample, problem.copies.answers, problem.judge)
    spans = validation.spans()
    units = unit_rows([held_out[row] for row in rows], [spans[row] for row in rows], labels)
    places = torch.zeros(len(sizes), dtype=torch.bool)
    places[rows] = True
    words = torch.nonzero(places.repeat_interleave(torch.tensor(sizes))).flatten()
    return Stage(sample, (words,), judge_spans(units, labels))


def _ranked_words(inside: torch.Tensor, seed: int) -> Sample:
    """Returns the words of entities and their neighbours, and some that stand for the others."""
    near = inside.clone()
    near[1:] |= inside[:-1]
    near[:-1] |= inside[1:]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(len(near), generator=generator) < _OUTSIDE_RANKED
    rows = torch.nonzero(near | drawn).flatten()
    return Sample(rows, torch.where(near[rows], 1.0, 1 / _OUTSIDE_RANKED))


def rows_within(sizes: Sequence[int], budget: int, seed: int) -> list[int]:
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
