"""Bounds every request that adapterhub makes through huggingface_hub.

The client of huggingface_hub has no timeout on most calls, retries only some of them, and accepts
a server that sends a few bytes a second. Here each request of ours has a read timeout and a
minimum rate, one operation has a total timeout, and a failed request raises one exception,
`Failed`, that passes through the client's own retries to ours. Requests that other code makes
through the same client are not changed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import httpx2
from huggingface_hub import set_client_factory
from huggingface_hub.errors import FileMetadataError
from huggingface_hub.utils import _http

from adapterhub.errors import UsageError

TIMEOUT_VARIABLE = "ADAPTERHUB_HUB_TIMEOUT"
TOTAL_SECONDS = 180.0
"""Seconds that one operation may wait, unless TIMEOUT_VARIABLE is set."""
SILENT_SECONDS = 10.0
"""Seconds without a byte after which a request fails."""
SLOWEST = 8_000
"""Bytes a second below which a transfer fails, once it has run for SILENT_SECONDS."""

_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_XET = ("x-xet-hash", "x-xet-refresh-route")
_INSTALLING = threading.Lock()


class Failed(Exception):
    """A request that failed in a way that may be temporary.

    Attributes:
        wait: Seconds that the server asks to wait, or None.
        away: Whether no response came at all.
    """

    def __init__(self, problem: str, *, wait: float | None = None, away: bool = False) -> None:
        super().__init__(problem)
        self.wait = wait
        self.away = away


class OutOfTime(Exception):
    """The operation has exceeded its total timeout."""


class Clock:
    """The time that one operation has left; transfers that make progress do not count."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Returns the seconds left; negative after the timeout."""
        return self._ends - time.monotonic()

    def add(self, seconds: float) -> None:
        """Adds the time that a transfer at sufficient rate took."""
        self._ends += seconds


_CLOCK: ContextVar[Clock | None] = ContextVar("adapterhub_clock", default=None)


@contextlib.contextmanager
def operation() -> Iterator[Clock]:
    """Bounds the requests inside as one operation; a nested operation shares the outer clock.

    Raises:
        UsageError: TIMEOUT_VARIABLE does not hold a number of seconds.
    """
    running = _CLOCK.get()
    if running is not None:
        yield running
        return
    clock = Clock(total_seconds())
    _install()
    mark = _CLOCK.set(clock)
    try:
        yield clock
    finally:
        _CLOCK.reset(mark)


def failure(error: BaseException) -> Failed | OutOfTime | None:
    """Returns the failed request behind an error of the client, or None for other errors."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, Failed | OutOfTime):
            return found
        cut_short = isinstance(found, OSError) and "Consistency check failed" in str(found)
        if cut_short or isinstance(found, FileMetadataError | httpx2.TransportError):
            return Failed(str(found).strip().split("\n")[0])
        found = found.__cause__ or found.__context__
    return None


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


def _install() -> None:
    """Makes the shared client of huggingface_hub send our requests through `_send`."""
    # There is no public getter of the factory, which the user may have set.
    with _INSTALLING:
        factory = _http._GLOBAL_CLIENT_FACTORY
        if not isinstance(factory, _Factory):
            set_client_factory(_Factory(factory))
            for handler in logging.getLogger("huggingface_hub").handlers:
                handler.addFilter(_is_not_ours)


class _Factory:
    """Wraps a factory of clients, so that our requests have our limits."""

    def __init__(self, factory: Callable[[], httpx2.Client]) -> None:
        self._factory = factory

    def __call__(self) -> httpx2.Client:
        client = self._factory()
        send = client.send

        def bounded(request: httpx2.Request, **options: Any) -> httpx2.Response:
            clock = _CLOCK.get()
            if clock is None:
                return send(request, **options)
            whole = not options.pop("stream", False)
            return _send(clock, lambda: send(request, stream=True, **options), request, whole=whole)

        client.send = bounded  # type: ignore[method-assign]
        return client


def _is_not_ours(record: logging.LogRecord) -> bool:
    # Our own errors report what goes wrong, once.
    del record
    return _CLOCK.get() is None


def _send(
    clock: Clock,
    send: Callable[[], httpx2.Response],
    request: httpx2.Request,
    *,
    whole: bool,
) -> httpx2.Response:
    """Returns the response to a request, with its body read if `whole`.

    Raises:
        Failed: There is no response, or its status allows a retry.
        OutOfTime: The operation has no time left.
    """
    if clock.left <= 0:
        raise OutOfTime
    limit = min(SILENT_SECONDS, clock.left)
    request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), limit)
    start = time.monotonic()
    try:
        response = send()
        stream = response.stream
        if isinstance(stream, httpx2.SyncByteStream):
            response.stream = _Watched(stream, clock)
        if whole:
            response.read()
    except httpx2.TimeoutException as error:
        raise Failed(f"no response within {limit:.3g} s", away=True) from error
    except httpx2.TransportError as error:
        problem = str(error) or type(error).__name__
        # A server that closes the connection exists, and may respond the next time.
        away = isinstance(error, httpx2.ConnectError)
        raise Failed(f"the connection failed ({problem})", away=away) from error
    if response.status_code in _RETRIED or _is_busy(response, whole):
        response.close()
        problem = f"the response had status {response.status_code}"
        raise Failed(problem, wait=_requested_wait(response))
    if request.method == "PUT":
        clock.add(time.monotonic() - start)
    for name in _XET:
        # hf_xet has a transport of its own, to which none of these limits apply.
        response.headers.pop(name, None)
    return response


def _is_busy(response: httpx2.Response, whole: bool) -> bool:
    # The client would repeat such a request at once, without end.
    return whole and response.status_code == 409 and b"conflicting operation" in response.content


class _Watched(httpx2.SyncByteStream):
    """A response body with a minimum rate; the time of its transfer does not count."""

    def __init__(self, stream: httpx2.SyncByteStream, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        start = last = time.monotonic()
        patience = min(SILENT_SECONDS, self._clock.seconds)
        size = 0
        for part in self._stream:
            now = time.monotonic()
            size += len(part)
            if now - start > patience and size < SLOWEST * (now - start):
                raise Failed(f"only {size / (now - start):.0f} bytes a second arrived", away=True)
            self._clock.add(now - last)
            last = now
            yield part

    def close(self) -> None:
        self._stream.close()


def _requested_wait(response: httpx2.Response) -> float | None:
    """Returns the seconds that a response asks to wait, or None."""
    limits = _http.parse_ratelimit_headers(response.headers)
    if limits is not None and limits.remaining == 0:
        return float(limits.reset_in_seconds)
    text = response.headers.get("retry-after", "").strip()
    return float(text) if text.isdigit() else None
