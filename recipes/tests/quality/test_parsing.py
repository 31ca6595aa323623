"""The baseline of parsers."""

from __future__ import annotations

from adapterhub.training.data.dataset import read_splits
from adapterhub.training.evaluation.attachment import attachment_figures
from adapterhub.training.options import TrainingOptions
from recipes.quality.parsing import attach_by_word
from tests.training.rows import tree_rows


def test_words_take_their_most_frequent_head_and_relation() -> None:
    rows = [
        {"tokens": ["she", "was", "good"], "head": [2, 0, 2], "deprel": ["nsubj", "root", "xcomp"]}
    ]
    other = [{**rows[0], "tokens": ["She", "was", "unseen"]}] * 2
    splits = read_splits(rows * 12, TrainingOptions(test=other, test_fraction=0, validation=other))
    assert splits.test is not None
    found = attach_by_word(splits.train, splits.test)
    # The new word has what is most frequent among all: the first of what is seen as often.
    assert [(arc.head, arc.relation) for arc in found[0]] == [
        (2, "nsubj"),
        (0, "root"),
        (0, "nsubj"),
    ]


def test_the_baseline_learns_a_language_of_fixed_distances() -> None:
    splits = read_splits(tree_rows(200), TrainingOptions(validation_fraction=0.2))
    found = attach_by_word(splits.train, splits.validation)
    figures = attachment_figures(found, splits.validation.trees())
    assert 0.6 < figures["las"] < 1
    assert figures["word_f1"] == 1
