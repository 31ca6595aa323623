"""What a scenario found, beside what must hold, and how long it may go on."""

from __future__ import annotations

import functools
import multiprocessing
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path

MIB = 2**20


class Unavailable(Exception):
    """This machine or user cannot make the fault; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that a scenario found, with the bounds that it must keep."""

    what: str
    found: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def holds(self) -> bool:
        is_enough = self.at_least is None or self.found >= self.at_least
        return is_enough and (self.at_most is None or self.found <= self.at_most)

    @property
    def expected(self) -> str:
        if self.at_least == self.at_most:
            return f"{self.at_least:,.10g}"
        bounds = [(">=", self.at_least), ("<=", self.at_most)]
        return " ".join(f"{sign} {bound:,.10g}" for sign, bound in bounds if bound is not None)


def exactly(what: str, found: float, expected: float) -> Figure:
    return Figure(what, found, expected, expected)


def none(what: str, found: float) -> Figure:
    return exactly(what, found, 0)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a scenario does: so many rounds where a number is given, in at most `seconds`."""

    rounds: int | None = None
    seconds: float = 600.0

    def steps(self) -> Iterator[int]:
        """Yields 0, 1, … until all rounds are done or the time is up."""
        end = time.monotonic() + self.seconds
        step = 0
        while (self.rounds is None or step < self.rounds) and time.monotonic() < end:
            yield step
            step += 1

    def done(self, what: str, found: float) -> Figure:
        """Returns the figure that all rounds were done, or any where no number was given."""
        return Figure(what, found, at_least=self.rounds or 1)


@functools.cache
def processes() -> ForkServerContext:
    """Returns a server whose processes start at once, because it has imported torch."""
    context = multiprocessing.get_context("forkserver")
    light = ("writers", "damage", "memory", "publishers", "files")
    context.set_forkserver_preload(["torch", *(f"tests.soak.{name}" for name in light)])
    return context


def resident_bytes() -> int:
    """Returns the memory of this process that is in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def peak_bytes() -> int:
    """Returns the most memory that this process has used so far.

    Not `getrusage`: a process that was just started has the peak of its parent there.
    """
    status = Path("/proc/self/status").read_text().split("\n")
    peak = next(line for line in status if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024
