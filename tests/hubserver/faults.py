"""What can go wrong with a request, switched on for the requests that match."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    `kind` is `status` (answer that instead), `body` (that and a body), `stall` (say nothing),
    `reset` (close, nothing done), `lost` (do it, then close without an answer), `cut` (half of the
    body), `hang` (half of the body, then silence), `short` (half of the body, said to be all),
    `drip` (the body at some bytes a second), `flip` (one bit of the body), `zip` (compressed, then
    one bit flipped), `coded` (said to be compressed), `swap` (another body of the same length),
    `whole` (the body from its start, whatever range is wanted), `again` (half of that), `header`
    (leave one out).
    """

    kind: str
    value: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    says: str = "switched on"


def status(code: int, says: str = "switched on", **headers: str) -> Fault:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Fault("status", code, named, says)


def stall(seconds: float = 60.0) -> Fault:
    return Fault("stall", seconds)


RESET = Fault("reset")
LOST = Fault("lost")
CUT = Fault("cut")
SHORT = Fault("short")
FLIP = Fault("flip")
FLIPPED_GZIP = Fault("zip")
MISCODED = Fault("coded", "gzip")
SWAP = Fault("swap")
WHOLE = Fault("whole")
AGAIN = Fault("again")


def hang(seconds: float = 60.0) -> Fault:
    return Fault("hang", seconds)


def drip(bytes_per_second: int = 1_000) -> Fault:
    return Fault("drip", bytes_per_second)


def without(header: str) -> Fault:
    return Fault("header", header)


@dataclass
class _Switched:
    method: str
    pattern: re.Pattern[str]
    fault: Fault
    left: int | None
    chance: float


@dataclass
class Faults:
    """The faults that are switched on, and a log of all requests."""

    switched: list[_Switched] = field(default_factory=list)
    log: list[tuple[str, str]] = field(default_factory=list)
    made: Counter[str] = field(default_factory=Counter)
    seed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def add(
        self,
        method: str,
        pattern: str,
        fault: Fault,
        *,
        times: int | None = 1,
        chance: float = 1.0,
    ) -> None:
        """Switches a fault on for requests of a method (`*` for any) to a path that matches."""
        self.switched.append(_Switched(method, re.compile(pattern), fault, times, chance))

    def clear(self) -> None:
        with self.lock:
            self.switched.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Returns the fault for a request, and counts it."""
        with self.lock:
            self.log.append((method, path))
            for switched in self.switched:
                if switched.method not in ("*", method) or not switched.pattern.search(path):
                    continue
                if switched.left == 0 or self._random.random() >= switched.chance:
                    continue
                if switched.left is not None:
                    switched.left -= 1
                self.made[switched.fault.kind] += 1
                return switched.fault
        return None

    def count(self, method: str, pattern: str) -> int:
        """Returns how many requests of a method to matching paths have come."""
        with self.lock:
            log = list(self.log)
        return sum(made == method and re.search(pattern, path) is not None for made, path in log)
