"""Heads for answers: the loss of windows by hand, and the judge beside decoding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterhub.model.heads.answers.best_spans import AnswerRules, decode_answers
from adapterhub.model.heads.answers.context import Context
from adapterhub.model.heads.spans import TaggedText
from adapterhub.training.data.answers.answer_rows import AnswerSpan
from adapterhub.training.data.answers.token_targets import answer_tokens
from adapterhub.training.evaluation.answers.threshold import best_threshold
from adapterhub.training.heads.candidates import CVFolds, Problem
from adapterhub.training.kinds.answers.items import NO_TOKEN, AnswerItems, answer_items
from adapterhub.training.kinds.answers.objective import item_targets, judge_answers, window_loss
from adapterhub.training.kinds.objective import Objective, Sample

TEXT = "a b c d e f g h"


def context(*windows: tuple[int, int]) -> Context:
    return Context(TaggedText(TEXT, [(2 * i, 2 * i + 1) for i in range(8)]), windows)


def span(first: int, last: int) -> AnswerSpan:
    return AnswerSpan(2 * first, 2 * last + 1)


def some_items() -> AnswerItems:
    contexts = [context((0, 8)), context((0, 5), (3, 8)), context((0, 8))]
    return answer_items(contexts, [[span(1, 2)], [span(4, 4), span(2, 3)], []])


def test_items_are_the_first_token_and_those_of_the_context() -> None:
    items = some_items()
    assert items.sizes.tolist() == [9, 12, 9]
    assert items.starts.tolist() == [0, 9, 21]
    assert items.windows.tolist() == [0] * 9 + [1] * 6 + [2] * 6 + [3] * 9
    assert items.tokens[9:21].tolist() == [NO_TOKEN, 0, 1, 2, 3, 4, NO_TOKEN, 3, 4, 5, 6, 7]
    assert items.answers == (((1, 2),), ((4, 4), (2, 3)), ())
    assert items.answerable.tolist() == [True, True, False]
    assert np.flatnonzero(items.true[:, 0]).tolist() == [2, 9 + 3, 9 + 5, 15 + 2, 21]
    assert np.flatnonzero(items.true[:, 1]).tolist() == [3, 9 + 4, 9 + 5, 15 + 2, 21]
    assert items.allowed.all(), "every token is a word"
    assert items.longest == 2


def test_a_word_of_several_tokens_starts_at_one_and_ends_at_another() -> None:
    word = Context(TaggedText("abc d", [(0, 1), (1, 3), (4, 5)]), ((0, 3),))
    items = answer_items([word], [[AnswerSpan(1, 2)]])
    assert items.allowed.tolist() == [[True] * 2, [True, False], [False, True], [True] * 2]
    assert items.true.tolist() == [[False] * 2, [True, False], [False, True], [False] * 2]


def test_the_loss_is_that_of_start_and_end_in_each_window() -> None:
    items = some_items()
    logits = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    losses = []
    for window in range(4):
        own = items.windows == window
        for side in range(2):
            chances = np.exp(logits[own, side])
            losses.append(-math.log(chances[items.true[own, side]].sum() / chances.sum()))
    both = torch.from_numpy(np.stack([logits, np.zeros_like(logits)]))[None]
    found = window_loss(both, item_targets(items))
    assert found[0, 0] == pytest.approx(np.mean(losses))
    # Of several windows alone, and beside others.
    part = torch.from_numpy(np.flatnonzero(np.isin(items.windows, [1, 3])))
    alone = window_loss(both[:, :, part], item_targets(items)[part])
    assert alone[0, 0] == pytest.approx(np.mean(losses[2:4] + losses[6:8]))


def test_the_loss_has_a_gradient_where_answers_may_not_stand() -> None:
    word = Context(TaggedText("abc d", [(0, 1), (1, 3), (4, 5)]), ((0, 3),))
    items = answer_items([word], [[AnswerSpan(0, 3)]])
    logits = torch.zeros(1, 1, 4, 2, requires_grad=True)
    window_loss(logits, item_targets(items)).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 0, 2].tolist() == [0.0, pytest.approx(0.5 * (1 / 3 - 1))]


@given(
    seed=st.integers(0, 2**32),
    max_tokens=st.integers(1, 9),
    rows=st.sampled_from([2, 3]),
    metric=st.sampled_from(["f1", "exact_match"]),
)
@settings(deadline=None, max_examples=40)
def test_the_judge_compares_what_decoding_finds(
    seed: int, max_tokens: int, rows: int, metric: str
) -> None:
    every = some_items()
    answers = [[span(1, 2)], [span(4, 4), span(2, 3)], []][:rows]
    items = answer_items(every.contexts[:rows], answers)
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(2, len(items.windows), 2)).astype(np.float32)
    expected = []
    for one in logits:
        by_row = np.split(one, items.starts[1:])
        decoded = decode_answers(by_row, items.contexts, AnswerRules(max_tokens), 1)
        found = [AnswerSpan(row[0]["start"], row[0]["end"]) for row in decoded]
        pairs = zip(items.contexts, found, items.answers, strict=True)
        overlaps = np.array([overlap(answer_tokens(c, [f])[0], own) for c, f, own in pairs])
        overlaps = overlaps if metric == "f1" else np.floor(overlaps)
        nulls = [
            own[[0, 6][: len(c.windows)]].sum(1).min()
            for own, c in zip(by_row, items.contexts, strict=True)
        ]
        best = [
            best_score(own, c, max_tokens) for own, c in zip(by_row, items.contexts, strict=True)
        ]
        gaps = np.array(nulls) - np.array(best)
        has = items.answerable
        expected.append(overlaps.mean() if has.all() else best_threshold(gaps, overlaps, has)[1])
    found_values = judge_answers(items, metric, max_tokens=max_tokens)(torch.from_numpy(logits))
    assert found_values.tolist() == pytest.approx(expected)


def overlap(found: tuple[int, int], truth: tuple[tuple[int, int], ...]) -> float:
    tokens = set(range(found[0], found[1] + 1))
    rights = [set(range(start, end + 1)) for start, end in truth]
    return max((2 * len(tokens & own) / (len(tokens) + len(own)) for own in rights), default=0.0)


def best_score(logits: np.ndarray, where: Context, max_tokens: int) -> float:
    scores, row = [], 0
    for first, stop in where.windows:
        own = logits[row + 1 : row + 1 + stop - first]
        row += 1 + len(own)
        scores += [
            own[start, 0] + own[end, 1]
            for start in range(len(own))
            for end in range(start, min(len(own), start + max_tokens))
        ]
    return float(max(scores))


def test_windows_stay_whole_in_the_steps_of_training() -> None:
    targets = item_targets(some_items())
    objective = Objective(2, window_loss, targets, torch.zeros(2), groups=targets[:, 0])
    problem = Problem(
        objective=objective,
        judge=lambda logits: logits.flatten(1).sum(1),
        cv_folds=CVFolds.held_out(0),
        ranking=None,
        hidden_size=1,
        epochs=1,
        batch_size=10,
        slack=0.0,
        seed=0,
        device=torch.device("cpu"),
    )
    rows = torch.arange(9, 30)  # without the first window
    seen = set()
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        steps = list(problem.batches(Sample(rows, torch.ones(21)), generator))
        assert sorted(torch.cat(steps).tolist()) == list(range(21))
        for step in steps:
            windows = targets[rows[step], 0]
            own, counts = torch.unique_consecutive(windows, return_counts=True)
            assert len(own.unique()) == len(own)
            assert counts.tolist() == [{1: 6, 2: 6, 3: 9}[window] for window in own.tolist()]
            assert len(step) - int(counts[-1]) < 10
        seen.add(tuple(map(len, steps)))
    assert len(seen) > 1
