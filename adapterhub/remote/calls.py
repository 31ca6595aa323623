"""Calls to the Hub: its address, token and cache from the environment, and bounded retries."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError

from adapterhub.errors import RemoteAccessError, RemoteUnavailableError, UsageError, check_type
from adapterhub.remote.faults import Action, explain
from adapterhub.remote.operation import TIMEOUT_VARIABLE, Clock, operation, running_clock
from adapterhub.remote.outages import forget, remember, remembered
from adapterhub.remote.reasons import is_secret, shown
from adapterhub.remote.session import Failed, OutOfTime, failure, install
from adapterhub.store.paths import absolute_path

TRIES = 5
"""Attempts before a call fails."""
FIRST_WAIT = 0.5
"""Seconds before the second attempt; the wait doubles each time, up to LONGEST_WAIT."""
LONGEST_WAIT = 8.0
ENOUGH_BYTES = 2**20
"""Bytes of a file after which an attempt that broke off is not counted."""
SILENT_TRIES = 3
"""Attempts before a call fails to which no response comes, or one that is silent midway."""
_YES = {"1", "true", "yes", "on"}

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Place:
    """The Hub as the environment configures it at one moment.

    Attributes:
        endpoint: From HF_ENDPOINT.
        token: From HF_TOKEN, or stored by `hf auth login`; None without.
        cache: From HF_HUB_CACHE or HF_HOME.
        offline: From HF_HUB_OFFLINE.
    """

    endpoint: str
    token: str | None = field(repr=False)
    cache: Path
    offline: bool

    @property
    def api(self) -> HfApi:
        """Returns the client for this place."""
        # False: with None the client would search for a token by itself.
        return HfApi(self.endpoint, token=self.token or False, library_name="adapterhub")


_GIVEN: ContextVar[tuple[str | None, bool]] = ContextVar("adapterhub_given", default=(None, False))


@contextlib.contextmanager
def reading_with(*, token: str | None = None, local_files_only: bool = False) -> Iterator[None]:
    """Makes `current_place` in the block that of the environment, but with these.

    Args:
        token: The token; None for that of the environment.
        local_files_only: Whether no request is made.
    """
    if not isinstance(token, str | None):
        # Without the value, which may be a secret in another form.
        raise UsageError(f"The token is a {type(token).__name__}; expected a string.")
    check_type(local_files_only, bool, "local_files_only", "True or False")
    mark = _GIVEN.set((token, local_files_only))
    try:
        yield
    finally:
        _GIVEN.reset(mark)


def split_access(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the arguments of `reading_with` among options, and the others."""
    access = {key: value for key, value in options.items() if key in ("token", "local_files_only")}
    return access, {key: value for key, value in options.items() if key not in access}


def current_place(token: str | None = None) -> Place:
    """Returns the Hub of the current environment, which huggingface_hub reads only on import.

    Args:
        token: The token to use; None for that of the environment.
    """
    home = os.environ.get("HF_HOME")
    cache = os.environ.get("HF_HUB_CACHE") or (
        os.path.join(home, "hub") if home else constants.HF_HUB_CACHE
    )
    offline = os.environ.get("HF_HUB_OFFLINE")
    given, only_local = _GIVEN.get()
    return Place(
        endpoint=(os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/"),
        token=token or given or _token(home),
        cache=absolute_path(os.path.expandvars(cache), "cache"),
        offline=only_local
        or (constants.HF_HUB_OFFLINE if offline is None else offline.lower() in _YES),
    )


def call(place: Place, action: Action, request: Callable[[HfApi], Result]) -> Result:
    """Returns the result of a request; retries failures that may be temporary.

    There is one rule for all requests: up to TRIES attempts, up to SILENT_TRIES if the Hub keeps
    silent, and one where the cache can stand in or the Hub was away a moment ago. An attempt that
    brought ENOUGH_BYTES of a file is not counted, since the next one continues there.

    Args:
        place: The Hub.
        action: What the request does, for messages.
        request: Makes one call; it must be idempotent.

    Raises:
        RemoteError: It failed; the message says what failed, why, and what to do.
    """
    with operation() as running:
        clock = running_clock() or running.clock
        if place.endpoint in running.given_up:
            why = running.given_up[place.endpoint]
            raise RemoteUnavailableError(action.place, f"{action.doing} was not tried: {why}")
        install()
        with clock.running():
            return _tried(place, action, request, clock)


def _tried(
    place: Place, action: Action, request: Callable[[HfApi], Result], clock: Clock
) -> Result:
    silent_tries = 1 if clock.is_brief or remembered(place.endpoint) else SILENT_TRIES
    tried = 0
    while True:
        tried += 1
        try:
            result = request(place.api)
        except Exception as error:
            fault = failure(error)
            if fault is None:
                if isinstance(error, HfHubHTTPError):
                    forget(place.endpoint)
                raise explain(error, action, place.api) from plain(error, place.token)
            if isinstance(fault, Failed) and fault.gained >= ENOUGH_BYTES:
                tried -= 1
            try:
                _wait_or_fail(
                    fault, tried, clock, action, silent_tries=silent_tries, token=place.token
                )
            except RemoteUnavailableError as gave_up:
                if isinstance(fault, Failed):
                    _note_outage(place, fault, gave_up.problem, clock)
                raise
        else:
            forget(place.endpoint)
            return result


def _note_outage(place: Place, fault: Failed, problem: str, clock: Clock) -> None:
    """Takes note of a Hub that did not respond, for the next requests of this call and others."""
    if fault.away or (fault.stalled and clock.is_brief):
        remember(place.endpoint, problem)
    if fault.away and not clock.is_brief:
        with operation() as running:
            running.given_up[place.endpoint] = problem


def pause(tried: int) -> float:
    """Returns the seconds to wait after an attempt; half is random, so that writers disperse."""
    longest = min(FIRST_WAIT * 2.0 ** (tried - 1), LONGEST_WAIT)
    return longest * random.uniform(0.5, 1.0)


def _wait_or_fail(
    fault: Failed | OutOfTime,
    tried: int,
    clock: Clock,
    action: Action,
    *,
    silent_tries: int,
    token: str | None,
) -> None:
    """Waits before the next attempt.

    Raises:
        RemoteUnavailableError: There is no attempt left, or no time for the wait.
    """
    if isinstance(fault, OutOfTime):
        hint = "" if clock.is_brief else f", or allow more with {TIMEOUT_VARIABLE}=<seconds>"
        problem = f"{action.doing} took longer than {clock.seconds:g} s. Try again later{hint}."
        raise RemoteUnavailableError(action.place, problem) from fault
    wait = pause(max(tried, 1)) if fault.wait is None else fault.wait
    too_long = wait > clock.left
    is_silent = fault.away or fault.stalled
    if tried >= (silent_tries if is_silent else TRIES) or too_long:
        times = "once" if tried == 1 else f"{tried} times"
        hint = f" The Hub asks to wait {wait:g} s." if too_long and fault.wait is not None else ""
        said = f" The Hub says: {shown(fault.reason, token).rstrip('. ')}." if fault.reason else ""
        problem = f"{action.doing} failed: {shown(str(fault), token)}, tried {times}.{hint}{said}"
        raise RemoteUnavailableError(action.place, problem) from plain(fault, token)
    time.sleep(wait)


def _token(home: str | None) -> str | None:
    path = Path(constants.HF_TOKEN_PATH)
    try:
        is_given = os.environ.get("HF_TOKEN") or "HF_TOKEN_PATH" in os.environ
        if home is not None and not is_given:
            # huggingface_hub read HF_HOME when it was imported.
            own = Path(home).expanduser() / "token"
            if own != path:
                path = own
                return path.read_text(encoding="utf-8").strip() or None
        return get_token()
    except (FileNotFoundError, NotADirectoryError):
        return None  # also of a home such as /dev/null
    except (OSError, UnicodeDecodeError) as error:
        raise RemoteAccessError(
            "token",
            f"the file {path} cannot be read: {error}. Make it readable, or set HF_TOKEN.",
            "no-token",
        ) from error


def plain(error: Exception, token: str | None) -> Exception | None:
    """Returns `error` as the cause to show, or None if there is a secret in its text."""
    cause: BaseException | None = error
    while cause is not None:
        if is_secret(f"{cause} {cause!r}", token):
            return None
        cause = cause.__cause__ or cause.__context__
    return error
