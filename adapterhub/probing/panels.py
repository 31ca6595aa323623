"""The result of a run of probes as a panel of a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterhub.plots.probes import Drawn, ProbeCurves, ProbeLine
from adapterhub.probing.conclusions import depth_fits, fit_of
from adapterhub.probing.fit_settings import PROBES, Target, Weights

if TYPE_CHECKING:
    from adapterhub.probing.result import ProbeResult

_LINES: tuple[tuple[Drawn, Weights, Target], ...] = (
    ("backbone", "backbone", "labels"),
    ("random", "random", "labels"),
    ("control", "backbone", "control"),
)


def panel_of(result: ProbeResult, *, title: str | None = None, named: bool = True) -> ProbeCurves:
    """Returns bits over depth of all probes.

    Args:
        result: Of a run.
        title: Above the panel; None for data and target.
        named: Whether it has a legend.
    """
    lines = []
    for probe in PROBES:
        for drawn, weights, target in _LINES:
            own = depth_fits(result.fits, probe, weights=weights, target=target)
            if not own:
                continue
            mix = fit_of(result.fits, probe, None, weights=weights, target=target)
            errors = [fit.standard_error for fit in own] if drawn == "backbone" else []
            lines.append(
                ProbeLine(
                    probe,
                    drawn,
                    [(fit.depth or 0, fit.bits) for fit in own],
                    [] if None in errors else [error or 0.0 for error in errors],
                    None if mix is None else mix.bits,
                )
            )
    shown = f"{result.data}, {result.target}" if title is None else title
    return ProbeCurves(lines, result.entropy, shown, named)
