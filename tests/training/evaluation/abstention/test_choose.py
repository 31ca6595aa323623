"""The minimum of confidence: which one is chosen, and whether fresh rows agree with its figures."""

from __future__ import annotations

import numpy as np
import pytest

from adapterhub.specs import RiskPoint
from adapterhub.training.evaluation.abstention.choose import Demands, crossed_point, table_of
from adapterhub.training.evaluation.abstention.judged import Given, Judged, risk_point

SEEDS = range(25)
NAMES = ("coverage", "accuracy", "rejected")


def judged(scores: list[float], right: list[bool], outside: list[float] | None = None) -> Judged:
    rows = [[one] for one in zip(scores, right, strict=True)]
    return Judged.of(rows, outside or [])


def drawn(rows: int, outside: int, draw: np.random.Generator, per_row: int = 1) -> Judged:
    """Returns answers that are right more often where they are surer, but not as often as that."""
    scores = draw.beta(3.0, 1.0, (rows, per_row))
    # Some rows are hard: the answers of one are no independent draws.
    hard = draw.random((rows, 1)) < 0.2
    right = draw.random((rows, per_row)) < np.where(hard, 0.5, 0.3 + 0.68 * scores**1.5)
    places = np.repeat(np.arange(rows), per_row)
    return Judged(scores.ravel(), right.ravel(), places, rows, draw.beta(1.0, 1.5, outside))


def at(answers: Judged, least: float) -> RiskPoint:
    return risk_point(answers, Given.over(answers, least), least)


def test_the_lowest_minimum_that_is_accurate_enough_is_chosen() -> None:
    answers = judged([n / 40 for n in range(40)], [n >= 20 for n in range(40)])
    least = Demands(1.0, rejects_outside=False).choose(answers)
    assert 0.475 < least < 0.5
    assert (at(answers, least).coverage, at(answers, least).accuracy) == (0.5, 1.0)
    assert Demands(0.5, rejects_outside=False).choose(answers) == 0.0
    # 20 of 25 are right from 0.375 on.
    assert 0.35 < Demands(0.8, rejects_outside=False).choose(answers) < 0.375


def test_a_few_answers_that_happen_to_be_right_are_not_enough() -> None:
    answers = judged([0.01 * n for n in range(100)], [n % 2 == 0 or n > 90 for n in range(100)])
    demands = Demands(0.99, rejects_outside=False)
    assert demands.choose(answers) == 0.0
    assert not demands.is_met(answers)


def test_the_minimum_tells_rows_out_of_scope_from_the_others() -> None:
    answers = judged([0.5, 0.6, 0.7, 0.8], [True] * 4, [0.1, 0.2, 0.55])
    least = Demands(None, rejects_outside=True).choose(answers)
    # Over 0.55 it rejects all of them for one row of four, under 0.5 two thirds for none.
    assert 0.55 < least < 0.6
    found = at(answers, least)
    assert (found.coverage, found.rejected) == (0.75, 1.0)
    assert answers.auroc == pytest.approx(11 / 12, abs=1e-5)


def test_both_demands_take_the_higher_minimum() -> None:
    scores = [0.5 + 0.01 * n for n in range(50)]
    answers = judged(scores, [n >= 25 for n in range(50)], [0.1, 0.2])
    assert 0.7 < Demands(1.0, rejects_outside=True).choose(answers) < 0.75
    assert 0.2 < Demands(0.1, rejects_outside=True).choose(answers) < 0.5


def test_equal_confidences_are_given_together_or_not_at_all() -> None:
    answers = judged([0.5] * 30 + [0.9] * 30, [False] * 15 + [True] * 45)
    assert 0.5 < Demands(0.9, rejects_outside=False).choose(answers) < 0.9
    assert [round(one.coverage, 2) for one in table_of(answers, answers)] == [1.0, 0.5]


@pytest.mark.slow
@pytest.mark.parametrize("per_row", [1, 4])
@pytest.mark.parametrize(
    ("rows", "outside", "wanted"), [(60, 20, None), (200, 0, 0.85), (600, 100, 0.85)]
)
def test_fresh_rows_agree_with_what_is_stated(
    rows: int, outside: int, wanted: float | None, per_row: int
) -> None:
    demands = Demands(wanted, rejects_outside=outside > 0)
    gaps: dict[str, list[float]] = {name: [] for name in NAMES}
    for seed in SEEDS:
        draw = np.random.default_rng(seed)
        stated = crossed_point(drawn(rows, outside, draw, per_row), demands, seed=0)
        fresh = at(drawn(2_000, 1_000 if outside else 0, draw, per_row), stated.min_confidence)
        for name in NAMES:
            before, now = getattr(stated, name), getattr(fresh, name)
            if before is None:
                continue
            errors = [getattr(one, f"{name}_error") for one in (stated, fresh)]
            # Without a minimum all is given, which is certain.
            assert any(errors) or before == now
            gaps[name].append((before - now) / np.hypot(*errors) if any(errors) else 0.0)
    for values in filter(None, gaps.values()):
        assert np.abs(values).max() <= 4
        # Not by errors that are too wide to say anything, and not on one side only.
        assert abs(np.mean(values)) < 0.75
        assert np.std(values) > 0.15


def test_figures_of_the_rows_that_chose_would_be_optimistic() -> None:
    """Few rows, many answers near the demand: cross-fitting does not repeat the luck of the cut."""
    demands = Demands(0.9, rejects_outside=False)
    own, crossed, fresh = [], [], []
    for seed in range(60):
        draw = np.random.default_rng(seed)
        answers = drawn(80, 0, draw)
        least = demands.choose(answers)
        if not least:
            continue
        own.append(at(answers, least).accuracy)
        crossed.append(crossed_point(answers, demands, seed=0).accuracy)
        fresh.append(at(drawn(2_000, 0, draw), least).accuracy)
    assert np.mean(own) > np.mean(fresh) + 0.03
    assert abs(np.mean(crossed) - np.mean(fresh)) < 0.03


def test_errors_of_several_answers_per_row_are_those_of_rows() -> None:
    """All four answers of a row are right or wrong together: 200 rows are 200 draws, not 800."""
    draw = np.random.default_rng(0)
    right = draw.random(200) < 0.7
    alike = Judged.of([[(0.9, bool(one))] * 4 for one in right])
    alone = Judged.of([[(0.9, bool(one))] for one in right])
    assert at(alike, 0.5).accuracy_error == pytest.approx(at(alone, 0.5).accuracy_error, rel=0.05)


def test_a_share_of_all_has_an_error_and_one_of_nothing_says_nothing() -> None:
    answers = judged([0.9] * 30, [True] * 30, [0.1] * 5)
    found = at(answers, 0.5)
    assert (found.coverage, found.accuracy, found.rejected) == (1.0, 1.0, 1.0)
    assert min(found.coverage_error, found.accuracy_error, found.rejected_error or 0) > 0.02
    none = at(answers, 0.95)
    assert (none.coverage, none.accuracy, none.accuracy_error) == (0.0, 1.0, 1.0)
    bare = at(answers, 0.0)
    assert (bare.coverage, bare.coverage_error, bare.rejected, bare.rejected_error) == (1, 0, 0, 0)


def test_without_answers_there_is_nothing_to_choose() -> None:
    empty = Judged.of([[], []])
    demands = Demands(0.9, rejects_outside=False)
    assert (demands.choose(empty), table_of(empty, empty)) == (0.0, ())
    assert crossed_point(empty, demands, seed=0).coverage == 1.0
