"""Which depth to read, by the information that a probe finds at each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapterhub.probing.fit_settings import PROBES, Probe, Target, Weights

if TYPE_CHECKING:
    from adapterhub.probing.result import ProbeFit


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What one probe found on the backbone.

    Attributes:
        probe: The probe.
        best: The depth with the most bits.
        enough: The lowest depth whose bits are within one standard error of these.
        mix: The learned mix of depths; None where it was not probed.
        random: The most bits of random weights; None where these were not probed.
        control: The most bits of the control task on new types; None where it was not fitted.
    """

    probe: Probe
    best: ProbeFit
    enough: ProbeFit
    mix: ProbeFit | None
    random: ProbeFit | None
    control: ProbeFit | None

    @property
    def has_found(self) -> bool:
        """Returns whether the best of all depths has bits beyond two standard errors."""
        return self.best.bits > 2 * (self.best.standard_error or 0.0)

    def lines(self) -> tuple[str, ...]:
        """Returns it in two sentences at most."""
        best, enough = self.best, self.enough
        error = "" if best.standard_error is None else f" ± {best.standard_error:.2f}"
        share = "" if best.coefficient is None else f", {best.coefficient:.0%}"
        most = f"{best.bits:.2f}{error} of {best.entropy:.2f}{share}"
        reached = "none below it is within one standard error"
        if enough.depth != best.depth:
            reached = f"depth {enough.depth} is the lowest within one standard error"
        found = f"most bits at depth {best.depth} ({most}); {reached}"
        if not self.has_found:
            found = f"no depth has bits beyond two standard errors (at most {most})"
        beside = [
            f"{name} {fit.bits:.2f}"
            for name, fit in (
                ("the mix", self.mix),
                ("random weights at most", self.random),
                ("the control task on new types at most", self.control),
            )
            if fit is not None
        ]
        first = f"{self.probe}: {found}."
        return (first, f"  In bits: {', '.join(beside)}.") if beside else (first,)


def conclusions(fits: Sequence[ProbeFit]) -> tuple[Conclusion, ...]:
    """Returns what each probe found, in the order of `PROBES`."""
    found = []
    for probe in PROBES:
        own = depth_fits(fits, probe)
        if not own:
            continue
        best = max(own, key=lambda fit: fit.bits)
        least = best.bits - (best.standard_error or 0.0)
        found.append(
            Conclusion(
                probe,
                best,
                next(fit for fit in own if fit.bits >= least),
                fit_of(fits, probe, None),
                _most(depth_fits(fits, probe, weights="random")),
                _most(depth_fits(fits, probe, target="control")),
            )
        )
    return tuple(found)


def depth_fits(
    fits: Sequence[ProbeFit],
    probe: Probe,
    *,
    weights: Weights = "backbone",
    target: Target = "labels",
) -> list[ProbeFit]:
    """Returns the fits of a probe on single depths, ascending."""
    wanted = (probe, weights, target)
    own = [fit for fit in fits if (fit.probe, fit.weights, fit.target) == wanted]
    return sorted((fit for fit in own if fit.depth is not None), key=lambda fit: fit.depth or 0)


def fit_of(
    fits: Sequence[ProbeFit],
    probe: Probe,
    depth: int | None,
    *,
    weights: Weights = "backbone",
    target: Target = "labels",
) -> ProbeFit | None:
    """Returns the fit of a probe on a depth, or on the mix for None; None where there is none."""
    wanted = (probe, depth, weights, target)
    return next(
        (fit for fit in fits if (fit.probe, fit.depth, fit.weights, fit.target) == wanted), None
    )


def _most(fits: Sequence[ProbeFit]) -> ProbeFit | None:
    return max(fits, key=lambda fit: fit.bits, default=None)
