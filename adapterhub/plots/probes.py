"""The panel of probes: information over depth, by probe, beside random weights and control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from adapterhub.plots.style import INK, QUIET, SERIES, literal

Drawn = Literal["backbone", "random", "control"]

_STYLES: dict[Drawn, str] = {"backbone": "-", "random": "--", "control": ":"}


@dataclass(frozen=True, slots=True)
class ProbeLine:
    """Bits over depth of one probe.

    Attributes:
        probe: Its name; lines of one probe have one colour.
        drawn: What it read: the backbone, random weights, or the control task's labels.
        points: (depth, bits) by ascending depth.
        errors: Standard error of each; none for no bars.
        mix: Bits of the learned mix, which stand right of the deepest depth; None for no such.
    """

    probe: str
    drawn: Drawn
    points: Sequence[tuple[int, float]]
    errors: Sequence[float] = ()
    mix: float | None = None


@dataclass(frozen=True, slots=True)
class ProbeCurves:
    """Bits over depth of several probes, and the entropy, which none can exceed by much.

    Attributes:
        lines: What is drawn.
        entropy: Bits of the label without input.
        title: Above the panel.
        named: Whether the panel has a legend; of small multiples one is enough.
    """

    lines: Sequence[ProbeLine]
    entropy: float
    title: str = ""
    named: bool = True

    @property
    def size(self) -> tuple[float, float]:
        """Returns width and height in inches."""
        return (7.0 if self.named else 5.2), 4.2

    def draw(self, axes: Any) -> None:
        """Draws on axes of matplotlib."""
        probes = list(dict.fromkeys(line.probe for line in self.lines))
        colors = {probe: SERIES[n % len(SERIES)] for n, probe in enumerate(probes)}
        deepest = max((depth for line in self.lines for depth, _ in line.points), default=0)
        for line in self.lines:
            self._draw_line(axes, line, colors[line.probe], deepest)
        axes.axhline(self.entropy, color=INK, linewidth=1, label="entropy of the label")
        axes.set(xlabel="depth", ylabel="information, bits")
        ticks = sorted({depth for line in self.lines for depth, _ in line.points})
        names = [str(depth) for depth in ticks]
        if any(line.mix is not None for line in self.lines):
            ticks, names = [*ticks, deepest + 1], [*names, "mix"]
        axes.set_xticks(ticks, names)
        axes.grid(color=QUIET, linewidth=0.5)
        if self.named:
            # Beside the panel: lines of random weights and controls lie anywhere inside.
            axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
        axes.set_title(literal(self.title), color=INK, size=10)

    @staticmethod
    def _draw_line(axes: Any, line: ProbeLine, color: str, deepest: int) -> None:
        depths, bits = [depth for depth, _ in line.points], [bits for _, bits in line.points]
        name = line.probe if line.drawn == "backbone" else f"{line.probe}, {line.drawn}"
        style = {"color": color, "linestyle": _STYLES[line.drawn], "linewidth": 1.4}
        marker = "o" if line.drawn == "backbone" else ""
        axes.plot(depths, bits, marker=marker, markersize=3.5, label=literal(name), **style)
        if line.errors:
            low = [value - error for value, error in zip(bits, line.errors, strict=True)]
            high = [value + error for value, error in zip(bits, line.errors, strict=True)]
            axes.fill_between(depths, low, high, color=color, alpha=0.15, linewidth=0)
        if line.mix is not None:
            filled = color if line.drawn == "backbone" else "none"
            axes.scatter(
                [deepest + 1], [line.mix], s=18, facecolors=filled, edgecolors=color, zorder=3
            )
