"""Several requests at once, by a few threads that share the operation of the caller."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import TypeVar

THREADS = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Returns the result for each item, in their order.

    The first error ends it: no further item is begun, and the error is raised when those that
    run have ended.

    Args:
        function: Called in several threads at once, in copies of the caller's context.
        items: What to call it with.
    """
    given = list(items)
    if len(given) <= 1:
        return [function(item) for item in given]
    todo, results = deque(enumerate(given)), dict[int, Result]()
    errors: list[BaseException] = []
    is_stopped = threading.Event()

    def work() -> None:
        while not is_stopped.is_set():
            try:
                index, item = todo.popleft()
            except IndexError:
                return
            try:
                results[index] = function(item)
            except BaseException as error:
                errors.append(error)
                is_stopped.set()

    # Daemons, because an interrupted process does not wait for a Hub that hangs.
    threads = [
        threading.Thread(target=copy_context().run, args=(work,), daemon=True)
        for _ in range(min(THREADS, len(given)))
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        is_stopped.set()
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(given))]
