"""Several requests at once: in order, in the caller's context, ended by the first error."""

from __future__ import annotations

import threading
from contextvars import ContextVar

import pytest

from adapterhub.remote.operation import operation, running_clock
from adapterhub.remote.parallel import THREADS, in_parallel


def test_results_are_in_the_order_of_the_items() -> None:
    assert in_parallel(lambda number: number * 2, range(50)) == list(range(0, 100, 2))
    assert in_parallel(str, []) == []


def test_a_few_threads_run_at_once() -> None:
    together = threading.Barrier(THREADS, timeout=10)
    in_parallel(lambda _: together.wait(), range(THREADS))


def test_threads_have_the_context_and_the_clock_of_the_caller() -> None:
    name: ContextVar[str] = ContextVar("name")
    name.set("here")
    with operation() as running:
        seen = in_parallel(lambda _: (name.get(), running_clock()), range(5))
        assert set(seen) == {("here", running.clock)}


def test_the_first_error_ends_it() -> None:
    begun = []

    def fail(number: int) -> None:
        begun.append(number)
        raise ValueError(number)

    with pytest.raises(ValueError, match=r"\d"):
        in_parallel(fail, range(1_000))
    assert len(begun) <= THREADS
    assert not [one for one in threading.enumerate() if one.daemon and "run" in one.name]
