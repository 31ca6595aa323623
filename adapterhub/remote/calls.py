"""Calls to the Hub: its address, token and cache from the environment, and bounded retries."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from huggingface_hub import HfApi, constants, get_token

from adapterhub.errors import RemoteAccessError, RemoteUnavailableError
from adapterhub.remote.faults import Action, explain
from adapterhub.remote.session import TIMEOUT_VARIABLE, Clock, Failed, OutOfTime, failure, operation
from adapterhub.store.paths import absolute_path

TRIES = 5
"""Attempts before a call fails."""
FIRST_WAIT = 0.5
"""Seconds before the second attempt; the wait doubles each time, up to LONGEST_WAIT."""
LONGEST_WAIT = 8.0
_AWAY_TRIES = 3
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
    return Place(
        endpoint=(os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/"),
        token=token or _token(home),
        cache=absolute_path(os.path.expandvars(cache), "cache"),
        offline=constants.HF_HUB_OFFLINE if offline is None else offline.lower() in _YES,
    )


def call(place: Place, action: Action, request: Callable[[HfApi], Result]) -> Result:
    """Returns the result of a request; retries failures that may be temporary.

    Args:
        place: The Hub.
        action: What the request does, for messages.
        request: Makes one call; it must be idempotent.

    Raises:
        RemoteError: It failed; the message says what failed, why, and what to do.
    """
    with operation() as clock:
        for tried in range(1, TRIES + 1):
            try:
                return request(place.api)
            except Exception as error:
                fault = failure(error)
                if fault is None:
                    raise explain(error, action, place.api) from _plain(error, place.token)
                _wait_or_fail(fault, tried, clock, action)
    raise AssertionError("the last try raises")


def pause(tried: int) -> float:
    """Returns the seconds to wait after an attempt; half is random, so that writers disperse."""
    longest = min(FIRST_WAIT * 2.0 ** (tried - 1), LONGEST_WAIT)
    return longest * random.uniform(0.5, 1.0)


def _wait_or_fail(fault: Failed | OutOfTime, tried: int, clock: Clock, action: Action) -> None:
    """Waits before the next attempt.

    Raises:
        RemoteUnavailableError: There is no attempt left, or no time for the wait.
    """
    if isinstance(fault, OutOfTime):
        raise RemoteUnavailableError(
            action.place,
            f"{action.doing} took longer than {clock.seconds:g} s. Try again later, or allow more "
            f"with {TIMEOUT_VARIABLE}=<seconds>.",
        ) from fault
    wait = pause(tried) if fault.wait is None else fault.wait
    too_long = wait > clock.left
    if tried >= (_AWAY_TRIES if fault.away else TRIES) or too_long:
        hint = f" The Hub asks to wait {wait:g} s." if too_long and fault.wait is not None else ""
        raise RemoteUnavailableError(
            action.place, f"{action.doing} failed: {fault}, tried {tried} times.{hint}"
        ) from fault
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


def _plain(error: Exception, token: str | None) -> Exception | None:
    """Returns `error` as the cause to show, or None if its text contains the token."""
    shown: BaseException | None = error
    while shown is not None:
        if token and token in f"{shown} {shown!r}":
            return None
        shown = shown.__cause__ or shown.__context__
    return error
