"""Makes faults on purpose for as long as it takes, and compares what is found with what must hold.

scripts/soak                       all scenarios, some for minutes
scripts/soak --list                their names
scripts/soak files                 those whose names begin so
scripts/soak --only bit-flips --only files-two-jobs
scripts/soak --minutes 1           each for at most a minute; what is not reached counts as missed
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.soak.figures import Figure, Unavailable

if TYPE_CHECKING:
    from tests.soak.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Found:
    """What one scenario found; a reason instead of figures where it could not run."""

    name: str
    figures: tuple[Figure, ...]
    seconds: float
    reason: str = ""

    @property
    def holds(self) -> bool:
        return all(figure.holds for figure in self.figures)


def main() -> int:
    """Returns 0 where all figures hold, 1 where one is missed."""
    # Imported here: processes that scenarios start import this module, and need none of them.
    from tests.soak.scenarios import SCENARIOS

    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="begin of the names to run")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME")
    parser.add_argument("--minutes", type=float, help="at most so long for each scenario")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{one.name:28}{one.about}" for one in SCENARIOS))
        return 0
    begins = tuple(f"{group}-" for group in options.groups)
    only = options.only or ([] if begins else names)
    chosen = [one for one in SCENARIOS if one.name in only or one.name.startswith(begins)]
    if not chosen:
        parser.error(f"no name begins with {', '.join(begins)}; --list shows all")
    found = [run(one, options.minutes, f"{n}/{len(chosen)}") for n, one in enumerate(chosen, 1)]
    print(as_json(found) if options.json else as_table(found))
    return 0 if all(one.holds for one in found) else 1


def run(scenario: Scenario, minutes: float | None, place: str) -> Found:
    """Runs a scenario at full length in a folder of its own."""
    print(f"[{place}] {scenario.name}: {scenario.about}", file=sys.stderr, flush=True)
    effort = scenario.full if minutes is None else replace(scenario.full, seconds=60 * minutes)
    start = time.monotonic()
    figures: Sequence[Figure] = ()
    reason = ""
    with tempfile.TemporaryDirectory(prefix="adapterhub-soak-") as folder:
        try:
            figures = scenario.run(Path(folder), effort)
        except Unavailable as error:
            reason = str(error)
    found = Found(scenario.name, tuple(figures), round(time.monotonic() - start, 1), reason)
    outcome = reason or ("holds" if found.holds else "MISSED")
    missed = [
        f"    {one.what}: {one.found:g}, not {one.expected}" for one in figures if not one.holds
    ]
    print("\n".join([*missed, f"    {outcome}, {found.seconds:g} s"]), file=sys.stderr, flush=True)
    return found


def as_json(found: Sequence[Found]) -> str:
    """Returns the figures as JSON."""
    return json.dumps(
        [
            {
                "scenario": one.name,
                "seconds": one.seconds,
                "holds": one.holds,
                "reason": one.reason or None,
                "figures": [
                    {
                        "figure": figure.what,
                        "expected": figure.expected,
                        "found": figure.found,
                        "holds": figure.holds,
                    }
                    for figure in one.figures
                ],
            }
            for one in found
        ],
        indent=2,
    )


def as_table(found: Sequence[Found]) -> str:
    """Returns a table with one line per figure."""
    lines = [("scenario", "figure", "expected", "found", "seconds", "")]
    for one in found:
        name, seconds = one.name, f"{one.seconds:g}"
        if one.reason:
            lines.append((name, f"not run: {one.reason}", "", "", seconds, ""))
        for figure in one.figures:
            missed = "" if figure.holds else "MISSED"
            row = (figure.what, figure.expected, f"{figure.found:,.10g}")
            lines.append((name, *row, seconds, missed))
            name = seconds = ""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = tuple("─" * width for width in widths[:-1])
    rows = [lines[0], (*rule, ""), *lines[1:]]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
