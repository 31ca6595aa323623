"""Hubs that were out of reach a moment ago: the one thing about the Hub that a process remembers.

An entry is replaced as a whole, so this needs no lock, in threads and in forked children alike.
"""

from __future__ import annotations

import time

REMEMBERED_SECONDS = 60.0
"""Seconds for which the cache is used at once where it can be."""

_OUTAGES: dict[str, tuple[float, str]] = {}


def remember(endpoint: str, problem: str) -> None:
    """Remembers that a Hub did not respond."""
    _OUTAGES[endpoint] = (time.monotonic() + REMEMBERED_SECONDS, problem)


def forget(endpoint: str) -> None:
    """Forgets it: the Hub has responded."""
    _OUTAGES.pop(endpoint, None)


def remembered(endpoint: str) -> str | None:
    """Returns why a Hub was out of reach within the last REMEMBERED_SECONDS, or None."""
    until, problem = _OUTAGES.get(endpoint, (0.0, ""))
    return problem if time.monotonic() < until else None
