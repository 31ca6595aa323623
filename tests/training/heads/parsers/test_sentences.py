"""The judge of trees is the evaluation of CoNLL; batches hold every sentence once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from adapterhub.model.heads.parses import parsed_words
from adapterhub.model.heads.spans import TaggedText
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.data.words.units import NONE
from adapterhub.training.evaluation.attachment import attached_words, attachment_figures
from adapterhub.training.heads.parsers.sentences import sentence_batches
from adapterhub.training.kinds.trees import judge_trees, split_trees
from adapterhub.training.options import TrainingOptions
from tests.training.rows import tree_rows

DRAW = np.random.default_rng(0)
# As in a treebank: do and n't are parts of one unit, 中国 has two.
SHARED: dict[str, Any] = {
    "tokens": ["she", "do", "n't", "中国"],
    "head": [3, 3, 0, 3],
    "deprel": ["nsubj", "dep", "root", "obl:loc"],
}


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.6])
def test_the_judge_of_units_is_that_of_conll(rate: float) -> None:
    dataset = read_splits([*tree_rows(40), *[SHARED] * 4], TrainingOptions()).train
    texts = [TaggedText(row[0], [(n, n + 1) for n in range(len(row[0]))]) for row in dataset.inputs]
    trees = split_trees([text.words for text in texts], dataset)
    predicted = trees.targets().numpy().copy()
    wrong = DRAW.random(len(predicted)) < rate
    predicted[wrong, 1] = DRAW.integers(len(dataset.labels), size=wrong.sum())
    sizes = np.repeat(trees.sizes, trees.sizes)
    other = DRAW.integers(sizes[wrong] + 1)
    predicted[wrong, 0] = other
    # A unit that goes on from none before it has another relation in scoring.
    inside = predicted[:, 1] == dataset.labels.index("_")
    places = np.arange(len(predicted)) - np.repeat(trees.starts, trees.sizes)
    predicted[inside & (predicted[:, 0] != places), 1] = 0
    predicted[inside & (places == 0), 1] = 0
    answers = []
    for text, start, size in zip(texts, trees.starts, trees.sizes, strict=True):
        own = predicted[start : start + size]
        logits = np.full((size, len(dataset.labels)), -9, np.float32)
        logits[np.arange(size), own[:, 1]] = 0
        labels = [label if label != "root" else "top" for label in dataset.labels]
        answers.append(parsed_words(logits, own[:, 0], text, labels))
    names = {"top": "root"}
    found = [
        [word._replace(relation=names.get(word.relation, word.relation)) for word in row]
        for row in attached_words(answers)
    ]
    figures = attachment_figures(found, dataset.trees())
    for metric in ("las", "uas"):
        judge = judge_trees(metric, trees, dataset.labels)
        value = float(judge(torch.from_numpy(predicted)[None])[0])
        assert value == pytest.approx(figures[metric], abs=1e-6)
    assert trees.total == sum(map(len, dataset.trees()))
    assert (trees.heads != NONE).all()


def test_batches_hold_every_sentence_with_units_once() -> None:
    sizes = DRAW.integers(0, 9, size=50)
    for draw in (None, np.random.default_rng(3)):
        batches = list(sentence_batches(sizes, range(50), units=24, draw=draw))
        rows = [row for batch in batches for row in batch]
        assert sorted(rows) == np.flatnonzero(sizes).tolist()
        assert all(len(batch) * max(sizes[batch]) <= 24 for batch in batches)
