"""Bounds every request that adapterhub makes through huggingface_hub.

The client of huggingface_hub has no time limit on most calls, retries some of them and not
others, and does not notice a server that sends a few bytes a second. Here each request of ours
gets a limit for silence and for slowness, one operation gets a limit for its sum, and a failed
request becomes one exception, `Failed`, that passes through the client's own retries to ours.
Requests that other code makes through the same client are left as they are.
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
"""Seconds that one operation may spend on waiting, unless TIMEOUT_VARIABLE says otherwise."""
SILENT_SECONDS = 10.0
"""Seconds without a byte after which a request counts as failed."""
SLOWEST = 8_000
"""Bytes a second below which a transfer counts as failed, once it has run for SILENT_SECONDS."""

_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_XET = ("x-xet-hash", "x-xet-refresh-route")
_INSTALLING = threading.Lock()


class Failed(Exception):
    """A request that failed in a way that may pass.

    Attributes:
        wait: Seconds after which the server asks to come again, or None.
        away: Whether no answer came at all.
    """

    def __init__(self, problem: str, *, wait: float | None = None, away: bool = False) -> None:
        super().__init__(problem)
        self.wait = wait
        self.away = away


class OutOfTime(Exception):
    """The operation has used up its time."""


class Clock:
    """The time that one operation has left; transfers that make progress do not use it up."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Returns the seconds left; below 0 when they are used up."""
        return self._ends - time.monotonic()

    def add(self, seconds: float) -> None:
        """Gives back the time that a healthy transfer took."""
        self._ends += seconds


_CLOCK: ContextVar[Clock | None] = ContextVar("adapterhub_clock", default=None)


@contextlib.contextmanager
def operation() -> Iterator[Clock]:
    """Bounds what is done inside, as one operation; an outer operation's clock goes on.

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
    """Returns the failed request behind an error of the client, or None where it is another."""
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
    """Returns the seconds that one operation may take, as the environment says now.

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
    """Makes the client that huggingface_hub shares send our requests through `_send`."""
    # There is no public way to ask for the factory, which the user may have set.
    with _INSTALLING:
        factory = _http._GLOBAL_CLIENT_FACTORY
        if not isinstance(factory, _Factory):
            set_client_factory(_Factory(factory))
            for handler in logging.getLogger("huggingface_hub").handlers:
                handler.addFilter(_is_not_ours)


class _Factory:
    """Makes clients as another factory does, with our limits on our requests."""

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
    # What goes wrong is told by our own errors, once.
    del record
    return _CLOCK.get() is None


def _send(
    clock: Clock,
    send: Callable[[], httpx2.Response],
    request: httpx2.Request,
    *,
    whole: bool,
) -> httpx2.Response:
    """Returns the answer to a request, with its body where it is wanted `whole`.

    Raises:
        Failed: There is no answer, or one that asks to try again.
        OutOfTime: The operation may not send any more requests.
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
        raise Failed(f"no answer within {limit:.3g} s", away=True) from error
    except httpx2.TransportError as error:
        problem = str(error) or type(error).__name__
        # Who hangs up is there, and may answer the next time.
        away = isinstance(error, httpx2.ConnectError)
        raise Failed(f"the connection failed ({problem})", away=away) from error
    if response.status_code in _RETRIED or _is_busy(response, whole):
        response.close()
        raise Failed(f"the answer was status {response.status_code}", wait=_asked_wait(response))
    if request.method == "PUT":
        clock.add(time.monotonic() - start)
    for name in _XET:
        # hf_xet has a transport of its own, which none of these limits reach.
        response.headers.pop(name, None)
    return response


def _is_busy(response: httpx2.Response, whole: bool) -> bool:
    # The client sends such a request again at once, for ever.
    return whole and response.status_code == 409 and b"conflicting operation" in response.content


class _Watched(httpx2.SyncByteStream):
    """A body that must keep coming; the time that it takes is not the operation's."""

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
                raise Failed(f"only {size / (now - start):.0f} bytes a second came", away=True)
            self._clock.add(now - last)
            last = now
            yield part

    def close(self) -> None:
        self._stream.close()


def _asked_wait(response: httpx2.Response) -> float | None:
    """Returns the seconds after which an answer asks to come again, or None."""
    limits = _http.parse_ratelimit_headers(response.headers)
    if limits is not None and limits.remaining == 0:
        return float(limits.reset_in_seconds)
    text = response.headers.get("retry-after", "").strip()
    return float(text) if text.isdigit() else None
