"""What a benchmark found, and how it is printed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Line:
    """One system on one workload.

    Attributes:
        workload: Which texts.
        system: What was measured.
        seconds: Median time of one run over all texts.
        texts_per_second: Texts per second; a text scored by 32 tasks counts once.
        ratio: How many times faster than the workload's first line.
        utilisation: Useful operations per second over the matrix rate of the same run.
        peak_mb: Most memory of the process, in MB.
    """

    workload: str
    system: str
    seconds: float
    texts_per_second: float
    ratio: float
    utilisation: float | None = None
    peak_mb: float | None = None


@dataclass(frozen=True)
class Check:
    """A figure beside its target.

    Attributes:
        name: What is compared.
        value: What was measured.
        target: The limit.
        at_most: Whether the value must be at most the target, else at least.
    """

    name: str
    value: float
    target: float
    at_most: bool

    @property
    def holds(self) -> bool:
        """Returns whether the target is met."""
        return self.value <= self.target if self.at_most else self.value >= self.target


@dataclass(frozen=True)
class Report:
    """All figures of one run.

    Attributes:
        title: What was run and on what.
        lines: The measured systems.
        checks: The targets.
        notes: What the figures do not say.
    """

    title: str
    lines: tuple[Line, ...]
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Returns the report as plain values for JSON."""
        checks = [{**asdict(check), "holds": check.holds} for check in self.checks]
        return {
            "title": self.title,
            "lines": [asdict(line) for line in self.lines],
            "checks": checks,
            "notes": list(self.notes),
        }


def print_report(report: Report) -> None:
    """Prints the figures as two tables, and the notes."""
    console = Console(width=120)
    console.print(_figures(report))
    if report.checks:
        console.print(_targets(report))
    for note in report.notes:
        console.print(note)


def _figures(report: Report) -> Table:
    table = Table(title=report.title, title_justify="left")
    shown = {"of matrix rate": "utilisation", "peak, MB": "peak_mb"}
    shown = {
        heading: name
        for heading, name in shown.items()
        if any(getattr(line, name) is not None for line in report.lines)
    }
    for heading in ("workload", "system"):
        table.add_column(heading)
    for heading in ("seconds", "texts/s", "ratio", *shown):
        table.add_column(heading, justify="right")
    for line in report.lines:
        more = (getattr(line, name) for name in shown.values())
        table.add_row(
            line.workload,
            line.system,
            f"{line.seconds:.3f}",
            f"{line.texts_per_second:.0f}",
            f"{line.ratio:.2f}",
            *("" if value is None else f"{value:.2f}" for value in more),
        )
    return table


def _targets(report: Report) -> Table:
    targets = Table(title="Targets", title_justify="left")
    for heading in ("figure", "measured", "target", "met"):
        targets.add_column(heading)
    for check in report.checks:
        sign = "<=" if check.at_most else ">="
        targets.add_row(
            check.name,
            f"{check.value:.2f}",
            f"{sign} {check.target:.2f}",
            "yes" if check.holds else "NO",
        )
    return targets
