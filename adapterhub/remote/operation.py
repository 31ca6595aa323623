"""One public call, whatever it asks the Hub: one clock, and what it has looked up. Light to import.

The clock runs while requests are made, in whatever thread, and not while we compute.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from adapterhub.errors import UsageError

TIMEOUT_VARIABLE = "ADAPTERHUB_HUB_TIMEOUT"
TOTAL_SECONDS = 180.0
"""Seconds that one operation may wait, unless TIMEOUT_VARIABLE is set."""
BRIEF_SECONDS = 3.0
"""Seconds that one operation may wait in vain where the cache has what it wants."""


class Clock:
    """The time that one operation has left; transfers that make progress do not count.

    Safe to use from any thread: time that several threads wait at once counts once.
    """

    def __init__(self, seconds: float, whole: Clock | None = None) -> None:
        """Starts with all of its time.

        Args:
            seconds: How long requests may take in total.
            whole: The clock of the whole operation, of which this one has a part.
        """
        self.seconds = seconds
        self.is_brief = whole is not None
        self._whole = whole
        self._spent = 0.0
        self._waiting = 0
        self._since = self._credited = 0.0
        self._lock = threading.Lock()

    @property
    def left(self) -> float:
        """Returns the seconds left; negative after the timeout."""
        with self._lock:
            now = time.monotonic() - self._since if self._waiting else 0.0
            own = self.seconds - self._spent - now
        return own if self._whole is None else min(own, self._whole.left)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Counts the time of the block."""
        with contextlib.nullcontext() if self._whole is None else self._whole.running():
            with self._lock:
                self._waiting += 1
                if self._waiting == 1:
                    self._since = time.monotonic()
            try:
                yield
            finally:
                with self._lock:
                    self._waiting -= 1
                    if self._waiting == 0:
                        self._spent += time.monotonic() - self._since

    def sleep(self, seconds: float) -> None:
        """Waits, and no longer than there is time left."""
        with self.running():
            time.sleep(max(0.0, min(seconds, self.left)))

    def give_back(self, since: float) -> None:
        """Gives back the time since `since`, in which bytes arrived at a sufficient rate."""
        with self._lock:
            now = time.monotonic()
            # Several threads may have made progress in the same time.
            self._spent -= max(0.0, now - max(since, self._credited))
            self._credited = now
        if self._whole is not None:
            self._whole.give_back(since)

    def answered(self, since: float) -> None:
        """Takes note of a response to a request that was sent at `since`."""
        if self.is_brief:
            # A Hub that responds is not away, however many repositories it is asked about.
            self.give_back(since)


class Operation:
    """One public call.

    Attributes:
        kept: What it has looked up, by what it was looked up with.
        given_up: Why no request is made any more, by endpoint.
    """

    def __init__(self) -> None:
        self.kept: dict[object, Any] = {}
        self.given_up: dict[str, str] = {}
        self._lock = threading.Lock()
        self._clocks: tuple[Clock, Clock] | None = None

    @property
    def clock(self) -> Clock:
        """Returns the clock of all its requests.

        Raises:
            UsageError: TIMEOUT_VARIABLE does not hold a number of seconds.
        """
        return self._both()[0]

    @property
    def brief(self) -> Clock:
        """Returns the clock of the requests that the cache can stand in for."""
        return self._both()[1]

    def _both(self) -> tuple[Clock, Clock]:
        # Not before the first request: a call that makes none needs no valid TIMEOUT_VARIABLE.
        with self._lock:
            if self._clocks is None:
                whole = Clock(total_seconds())
                self._clocks = whole, Clock(min(BRIEF_SECONDS, whole.seconds), whole)
            return self._clocks


_OPERATION: ContextVar[Operation | None] = ContextVar("adapterhub_operation", default=None)
_IS_BRIEF: ContextVar[bool] = ContextVar("adapterhub_is_brief", default=False)


@contextlib.contextmanager
def operation() -> Iterator[Operation]:
    """Makes the block one operation; one that is nested is part of the outer one."""
    running = _OPERATION.get()
    if running is not None:
        yield running
        return
    started = Operation()
    mark = _OPERATION.set(started)
    try:
        yield started
    finally:
        _OPERATION.reset(mark)


@contextlib.contextmanager
def briefly(*, wanted: bool = True) -> Iterator[None]:
    """Makes the requests of the block wait less long: the cache can stand in for them."""
    mark = _IS_BRIEF.set(wanted)
    try:
        yield
    finally:
        _IS_BRIEF.reset(mark)


def running_clock() -> Clock | None:
    """Returns the clock of the requests that are made now, or None outside of an operation."""
    running = _OPERATION.get()
    if running is None:
        return None
    return running.brief if _IS_BRIEF.get() else running.clock


def total_seconds() -> float:
    """Returns the seconds that one operation may take, from the current environment.

    Raises:
        UsageError: TIMEOUT_VARIABLE does not hold a number of seconds.
    """
    text = os.environ.get(TIMEOUT_VARIABLE, "").strip()
    try:
        seconds = float(text) if text else TOTAL_SECONDS
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise UsageError(f"{TIMEOUT_VARIABLE} is {text!r}; expected seconds above 0.")
    return seconds
