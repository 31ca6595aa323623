"""Which words candidates of tagging are ranked on."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adapterhub.model.heads.spans import Word
from adapterhub.training.data.dataset import Dataset, Splits
from adapterhub.training.data.tagging import Span
from adapterhub.training.heads.candidates import CVFolds, Problem
from adapterhub.training.heads.fit_inputs import rows_within, word_ranking
from adapterhub.training.kinds.selection import judge_spans, unit_rows
from adapterhub.training.kinds.table import TRAINED
from adapterhub.training.kinds.tagging import TaggingKind

LABELS = ("O", "B-a", "I-a")
TEXT = "one two three four five six seven eight"
SPANS = (Span(4, 13, "a"),)
ROWS = 400


def _units() -> list[Word]:
    starts = [0, 4, 8, 14, 19, 24, 28, 34]
    return [
        Word(index, start, start + len(word))
        for index, (start, word) in enumerate(zip(starts, TEXT.split(), strict=True))
    ]


def _splits(folds: tuple[int, ...] = ()) -> Splits:
    dataset = Dataset("d", "tagging", ("text",), ((TEXT,),) * ROWS, (SPANS,) * ROWS, LABELS)
    return Splits(dataset, dataset, folds)


def _problem(truth: torch.Tensor, splits: Splits) -> Problem:
    units = [_units()] * ROWS
    judge = judge_spans(unit_rows(units, splits.validation.spans(), LABELS), LABELS)
    copies = CVFolds.held_out(len(truth))
    objective = TRAINED["tagging"].objective(truth, len(LABELS))
    cpu = torch.device("cpu")
    return Problem(objective, judge, copies, None, 4, 2, 8, 0.1, 0, cpu)


TRUTH = torch.tensor([0, 1, 2, 0, 0, 0, 0, 0]).repeat(ROWS)
WORDS: Any = {"metric": "span_f1", "truth": TRUTH, "held_out": [_units()] * ROWS}


def test_words_of_entities_count_once_and_a_fifth_of_the_others_five_times() -> None:
    splits = _splits()
    sample = word_ranking(_problem(TRUTH, splits), splits, **WORDS).sample
    kept = sample.rows % 8
    for near in (0, 1, 2, 3):
        assert int((kept == near).sum()) == ROWS
    assert set(sample.weights[kept <= 3].tolist()) == {1.0}
    assert set(sample.weights[kept > 3].tolist()) == {5.0}
    assert abs(float(sample.weights.sum()) - len(TRUTH)) < 0.1 * len(TRUTH)
    assert torch.equal(sample.rows, sample.rows.sort().values)


def test_some_validation_rows_are_judged_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TaggingKind, "ranked_units", 800)
    splits = _splits()
    problem = _problem(TRUTH, splits)
    stage = word_ranking(problem, splits, **WORDS)
    (words,) = stage.validation_rows
    assert len(words) == 800
    assert torch.equal(words.view(-1, 8) % 8, torch.arange(8).expand(100, 8))
    right = torch.nn.functional.one_hot(TRUTH, 3).float()
    wrong = right.clone()
    wrong[words[:80], 0] += 2
    logits = torch.stack([right, wrong])[:, words]
    assert stage.judge(logits).tolist() == pytest.approx([1, 2 * 90 / (90 + 100)])
    monkeypatch.undo()
    whole = word_ranking(problem, splits, **WORDS)
    assert whole.judge is problem.judge


def test_rows_fill_a_budget() -> None:
    sizes = [3, 5, 2, 7, 1] * 10
    rows = rows_within(sizes, 60, seed=1)
    assert rows == sorted(set(rows))
    assert 50 < sum(sizes[row] for row in rows) <= 60
    assert rows != rows_within(sizes, 60, seed=2)
    assert rows_within(sizes, 180, seed=1) == list(range(50))
