"""The clock of an operation: it runs while requests are made, and counts what was waited for."""

from __future__ import annotations

import time

import pytest

from adapterhub.errors import UsageError
from adapterhub.remote.operation import (
    BRIEF_SECONDS,
    TIMEOUT_VARIABLE,
    TOTAL_SECONDS,
    Clock,
    briefly,
    operation,
    running_clock,
)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Returns a list of one number, which is the time."""
    found = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: found[0])
    return found


def test_it_runs_while_requests_are_made(now: list[float]) -> None:
    clock = Clock(10)
    now[0] += 50
    assert clock.left == 10
    with clock.running():
        now[0] += 4
        assert clock.left == 6
    now[0] += 50
    assert clock.left == 6


def test_requests_at_once_count_once(now: list[float]) -> None:
    clock = Clock(10)
    with clock.running(), clock.running():
        now[0] += 4
    assert clock.left == 6


def test_progress_of_several_transfers_at_once_is_given_back_once(now: list[float]) -> None:
    clock = Clock(10)
    with clock.running():
        now[0] += 4
        clock.give_back(100)
        clock.give_back(100)
        clock.give_back(102)
        assert clock.left == 10
        now[0] += 1
        clock.give_back(104)
        clock.give_back(104)
    assert clock.left == 10


def test_a_brief_clock_is_part_of_the_whole_and_answers_cost_it_nothing(now: list[float]) -> None:
    with operation() as running, briefly():
        clock = running_clock()
        assert clock is running.brief
        with clock.running():
            now[0] += 2
            assert (clock.left, running.clock.left) == (BRIEF_SECONDS - 2, TOTAL_SECONDS - 2)
            clock.answered(100)
            assert clock.left == BRIEF_SECONDS
            now[0] += TOTAL_SECONDS
            assert clock.left < 0


def test_nested_operations_are_one() -> None:
    with operation() as outer, operation() as inner:
        assert inner is outer
        assert running_clock() is outer.clock
    assert running_clock() is None


def test_a_call_that_makes_no_request_needs_no_valid_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT_VARIABLE, "soon")
    with operation():
        pass
    with operation() as running, pytest.raises(UsageError, match="'soon'"):
        running.clock  # noqa: B018
