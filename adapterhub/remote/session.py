"""Bounds every request that adapterhub makes through huggingface_hub.

The client of huggingface_hub has no timeout on most calls, retries only some of them, and accepts
a server that sends a few bytes a second. Here each request of ours has a read timeout and a
minimum rate, one operation has a total timeout, and a failed request raises one exception,
`Failed`, that passes through the client's own retries to ours. Requests that other code makes
through the same client are not changed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx2
from huggingface_hub import get_session, set_client_factory
from huggingface_hub.errors import FileMetadataError
from huggingface_hub.utils import _http

from adapterhub.remote.operation import Clock, briefly, operation, running_clock
from adapterhub.remote.reasons import reason_of

SILENT_SECONDS = 10.0
"""Seconds without a byte after which a request fails."""
SLOWEST = 8_000
"""Bytes a second below which a transfer fails, once it has run for SILENT_SECONDS."""

_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_XET = ("x-xet-hash", "x-xet-refresh-route")
_STORAGE_RETRIED = frozenset({400, 401, 403, 404, 410})
"""What a storage says of a signed link that has expired; a new one is asked for."""
_AGENTS = "/api/agent-harnesses"
_DAMAGED = (json.JSONDecodeError, UnicodeDecodeError, KeyError)
"""What the client raises for a response that is not what the Hub sends."""
_INSTALLING = threading.Lock()


class Failed(Exception):
    """A request that failed in a way that may be temporary.

    Attributes:
        wait: Seconds that the server asks to wait, or None.
        away: Whether no response came at all.
        reason: What the server says of it, which may be nothing.
        stalled: Whether a response began, and then nothing or too little came.
        gained: New bytes of a file that had come before, and need not come again.
    """

    def __init__(
        self,
        problem: str,
        *,
        wait: float | None = None,
        away: bool = False,
        stalled: bool = False,
        reason: str = "",
    ) -> None:
        super().__init__(problem)
        self.reason = reason
        self.wait = wait
        self.away = away
        self.stalled = stalled
        self.gained = 0


class OutOfTime(Exception):
    """The operation has exceeded its total timeout."""

    def __init__(self) -> None:
        super().__init__("no time is left")


def failure(error: BaseException) -> Failed | OutOfTime | None:
    """Returns the failed request behind an error of the client, or None for other errors."""
    found: BaseException | None = error
    if isinstance(error, _DAMAGED):
        return _damaged(error)
    while found is not None:
        if isinstance(found, Failed | OutOfTime):
            return found
        if isinstance(found, httpx2.DecodingError):
            return _damaged(found)
        if isinstance(found, FileMetadataError | httpx2.RequestError):
            return Failed(str(found).strip().split("\n")[0])
        found = found.__cause__ or found.__context__
    return None


def stream(url: str, headers: dict[str, str]) -> AbstractContextManager[httpx2.Response]:
    """Returns the response to a GET request, whose body is not read yet; follows no redirect."""
    return get_session().stream("GET", url, headers=headers, follow_redirects=False)


def storage_failure(response: httpx2.Response) -> Failed:
    """Returns what an error of the storage means: that the signed link into it is of no use."""
    problem = f"the storage responded with status {response.status_code}"
    return Failed(problem, reason=_reason(response))


@contextlib.contextmanager
def limited(*, brief: bool) -> Iterator[None]:
    """Bounds what the client asks in this thread, in a block that is not one request.

    Args:
        brief: Whether the cache can stand in for it.
    """
    install()
    with operation() as running, briefly(wanted=brief):
        clock = running.brief if brief else running.clock
        with clock.running():
            yield


def install() -> None:
    """Makes the shared client of huggingface_hub send our requests through `_send`."""
    # There is no public getter of the factory, which the user may have set.
    if isinstance(_http._GLOBAL_CLIENT_FACTORY, _Factory):
        return
    with _INSTALLING:
        factory = _http._GLOBAL_CLIENT_FACTORY
        if not isinstance(factory, _Factory):
            set_client_factory(_Factory(factory))
            for handler in logging.getLogger("huggingface_hub").handlers:
                handler.addFilter(_is_not_ours)


def _renew_lock() -> None:
    # A thread that a forked child does not have may hold it.
    global _INSTALLING
    _INSTALLING = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class _Factory:
    """Wraps a factory of clients, so that our requests have our limits."""

    def __init__(self, factory: Callable[[], httpx2.Client]) -> None:
        self._factory = factory

    def __call__(self) -> httpx2.Client:
        client = self._factory()
        send = client.send

        def bounded(request: httpx2.Request, **options: Any) -> httpx2.Response:
            clock = running_clock()
            if clock is None:
                return send(request, **options)
            if request.url.path.endswith(_AGENTS):
                # The client counts agents, beside the first request; it does without if need be.
                raise Failed("not asked")
            whole = not options.pop("stream", False)
            return _send(clock, lambda: send(request, stream=True, **options), request, whole=whole)

        client.send = bounded  # type: ignore[method-assign]
        return client


def _is_not_ours(record: logging.LogRecord) -> bool:
    # Our own errors report what goes wrong, once.
    del record
    return running_clock() is None


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
    limit = min(SILENT_SECONDS, clock.seconds, clock.left)
    request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), limit)
    start = time.monotonic()
    try:
        response = send()
        clock.answered(start)
        body = response.stream
        if isinstance(body, httpx2.SyncByteStream):
            response.stream = _Watched(body, clock, limit)
        if whole:
            response.read()
    except httpx2.RequestError as error:
        raise _failed(error, limit) from error
    except RuntimeError as error:
        # Other code may close the client that all share; the next attempt has a new one.
        if "closed" not in str(error):
            raise
        raise Failed(str(error)) from error
    _check_status(response, is_put=request.method == "PUT", whole=whole)
    if request.method == "PUT":
        clock.give_back(start)
    for name in _XET:
        # hf_xet has a transport of its own, to which none of these limits apply.
        response.headers.pop(name, None)
    return response


def _check_status(response: httpx2.Response, *, is_put: bool, whole: bool) -> None:
    """Checks that the status of a response allows no retry.

    Raises:
        Failed: It does.
    """
    code = response.status_code
    if is_put and code in _STORAGE_RETRIED:
        raise storage_failure(response)
    if code in _RETRIED or _is_busy(response, whole):
        wait = _requested_wait(response)
        raise Failed(f"the response had status {code}", wait=wait, reason=_reason(response))


def _reason(response: httpx2.Response) -> str:
    """Returns why a request was refused, of which the body is read here; closes the response."""
    try:
        body = response.read()
    except (Failed, httpx2.RequestError):
        body = b""
    finally:
        response.close()
    return reason_of(response.headers, body)


def _damaged(error: BaseException) -> Failed:
    return Failed(f"the response was damaged in transit ({type(error).__name__})")


def _failed(error: httpx2.RequestError, limit: float) -> Failed:
    """Returns what an error of the transport means."""
    if isinstance(error, httpx2.TimeoutException):
        return Failed(f"no response within {limit:.2g} s", away=True)
    if isinstance(error, httpx2.DecodingError):
        return _damaged(error)
    problem = str(error) or type(error).__name__
    # A server that closes the connection exists, and may respond the next time.
    return Failed(f"the connection failed ({problem})", away=isinstance(error, httpx2.ConnectError))


def _is_busy(response: httpx2.Response, whole: bool) -> bool:
    # The client would repeat such a request at once, without end.
    return whole and response.status_code == 409 and b"conflicting operation" in response.content


class _Watched(httpx2.SyncByteStream):
    """A response body with a minimum rate; the time of its transfer does not count."""

    def __init__(self, stream: httpx2.SyncByteStream, clock: Clock, limit: float) -> None:
        self._stream = stream
        self._clock = clock
        self._limit = limit

    def __iter__(self) -> Iterator[bytes]:
        start = last = time.monotonic()
        size = 0
        parts = iter(self._stream)
        while (part := self._next(parts)) is not None:
            now = time.monotonic()
            size += len(part)
            if now - start > self._limit and size < SLOWEST * (now - start):
                rate = size / (now - start)
                raise Failed(f"only {rate:.0f} bytes a second arrived", stalled=True)
            self._clock.give_back(last)
            last = now
            yield part

    def _next(self, parts: Iterator[bytes]) -> bytes | None:
        try:
            return next(parts, None)
        # Not errors of the transport any more, at which the client would begin anew.
        except httpx2.TimeoutException as error:
            problem = f"the response stopped: no data for {self._limit:.2g} s"
            raise Failed(problem, stalled=True) from error
        except httpx2.RequestError as error:
            raise _failed(error, self._limit) from error

    def close(self) -> None:
        self._stream.close()


def _requested_wait(response: httpx2.Response) -> float | None:
    """Returns the seconds that a response asks to wait, or None."""
    limits = _http.parse_ratelimit_headers(response.headers)
    if limits is not None and limits.remaining == 0:
        return float(limits.reset_in_seconds)
    text = response.headers.get("retry-after", "").strip()
    return float(text) if text.isdigit() else None
