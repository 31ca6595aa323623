"""What one part of the benchmark found, and how much of it is measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from benchmarks.report import Check, Line, Report


@dataclass(frozen=True, slots=True)
class Findings:
    """What one part of the benchmark found.

    Attributes:
        lines: The measured systems.
        checks: The targets.
        notes: What the figures do not say, such as why something was not measured.
    """

    lines: tuple[Line, ...] = ()
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scale:
    """How many rows are scored, and how often.

    Attributes:
        sizes: Rows of the files whose memory is compared, ascending.
        rounds: Rounds in which systems alternate.
        base_rows: Rows beside a base-size ALBERT.
        shipped_rows: Rows beside the shipped backbone.
        worker_rows: Rows for processes of Ray.
        base_peer_rows: Rows for transformers with a base-size ALBERT.
        shipped_peer_rows: Rows for transformers with the shipped backbone.
    """

    sizes: tuple[int, ...]
    rounds: int
    base_rows: int
    shipped_rows: int
    worker_rows: int
    base_peer_rows: int
    shipped_peer_rows: int


FULL = Scale(
    sizes=(10_000, 100_000, 1_000_000),
    rounds=3,
    base_rows=600,
    shipped_rows=8_192,
    worker_rows=6_144,
    base_peer_rows=96,
    shipped_peer_rows=1_024,
)
QUICK = Scale(
    sizes=(10_000, 50_000),
    rounds=1,
    base_rows=128,
    shipped_rows=2_048,
    worker_rows=2_048,
    base_peer_rows=32,
    shipped_peer_rows=256,
)


def joined(title: str, found: Iterable[Findings]) -> Report:
    """Returns one report of all that was found."""
    parts = list(found)
    return Report(
        title,
        tuple(chain.from_iterable(part.lines for part in parts)),
        tuple(chain.from_iterable(part.checks for part in parts)),
        tuple(chain.from_iterable(part.notes for part in parts)),
    )


def lines_of(workload: str, rows: int, seconds: dict[str, float]) -> tuple[Line, ...]:
    """Returns a line per system; the first one is what the others are compared with."""
    first = next(iter(seconds.values()))
    return tuple(
        Line(workload, system, found, rows / found, first / found)
        for system, found in seconds.items()
    )
