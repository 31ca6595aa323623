"""Rows that arrive in their own time: what is there is handed out, without waiting for more."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from adapterhub.scoring.sources.row_source import AHEAD_ROWS

T = TypeVar("T")


@contextlib.contextmanager
def arriving(
    rows: Iterable[T], *, limit: int = AHEAD_ROWS, idle: int = 0
) -> Iterator[Iterator[list[T] | None]]:
    """Yields an iterator over lists of the rows that have arrived since the list before.

    The rows are read in a thread of their own, at most `limit` ahead. Each list has at least one
    and at most `limit` of them, in order; an error of the rows is raised behind the last one that
    came before it. At the end of the block nothing more is read. A thread that waits for a row
    that never comes does not keep the process alive, and reads no other one once it is there.

    Args:
        rows: Rows, gone through once.
        limit: Maximum number of rows in a list.
        idle: How often None is yielded where nothing has arrived, before a row is awaited; see
            `stages.run_stages`.
    """
    shared = _Shared[T](limit)
    # No helper of the threading library ends with a thread that waits in the system.
    thread = threading.Thread(
        target=_read, args=(rows, shared), name="adapterhub-arriving", daemon=True
    )
    thread.start()
    try:
        yield _lists(shared, idle)
    finally:
        shared.stop()


def _lists(shared: _Shared[T], idle: int) -> Iterator[list[T] | None]:
    while True:
        for _ in range(idle):
            found = shared.take(wait=False)
            if found:
                break
            yield None
        else:
            found = shared.take()
        if not found:
            return
        yield found


def _read(rows: Iterable[T], shared: _Shared[T]) -> None:
    try:
        for row in rows:
            if not shared.put(row):
                return
    except BaseException as error:
        shared.end(error)
    else:
        shared.end(None)


class _Shared(Generic[T]):
    """Rows between the thread that reads them and the one that takes them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = self._stopped = False
        self._error: BaseException | None = None

    def put(self, row: T) -> bool:
        """Adds a row, once there is place for it; returns whether more are wanted."""
        with self._changed:
            if len(self._rows) >= self._limit:
                self._changed.wait_for(lambda: self._stopped or len(self._rows) < self._limit)
            if not self._stopped:
                if not self._rows:
                    # Else nobody waits, and telling so for each row takes longer than reading it.
                    self._changed.notify_all()
                self._rows.append(row)
            return not self._stopped

    def end(self, error: BaseException | None) -> None:
        """Says that no row comes after those added, and why, if that is an error."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def stop(self) -> None:
        """Says that no more rows are taken."""
        with self._changed:
            self._stopped = True
            self._rows.clear()
            self._changed.notify_all()

    def take(self, *, wait: bool = True) -> list[T]:
        """Returns the rows that are there; with `wait` at least one, or none at the end.

        Raises:
            BaseException: What ended the rows, once all before it are taken.
        """
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._rows or self._ended)
            found = list(self._rows)
            self._rows.clear()
            self._changed.notify_all()
        if wait and not found and self._error is not None:
            raise self._error
        return found
