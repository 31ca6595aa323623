"""A plot of how far heads are ahead of their baselines, with intervals, one line per data set."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from recipes.quality.held_out.record import HeldOut

_COLOURS = {1: "tab:blue", 0: "tab:gray", -1: "tab:red"}
_NAMES = {1: "ahead", 0: "no difference", -1: "behind"}
_WIDTH, _MARGIN, _LINE = 7.2, 1.2, 0.17  # inches
_DPI = 80


def draw(found: HeldOut, path: Path) -> Path:
    """Writes the plot as PNG and returns its file.

    Args:
        found: The figures, of one data set at least.
        path: The file; one that exists is replaced.
    """
    sets = sorted(found.sets, key=lambda one: one.ahead.value)
    size = (_WIDTH, _MARGIN + _LINE * len(sets))
    figure = Figure(figsize=size, layout="constrained")
    panel = figure.subplots()
    panel.axvline(0, color="black", linewidth=0.8)
    for place, one in enumerate(sets):
        ahead = one.ahead
        colour = _COLOURS[ahead.sign]
        panel.plot([100 * ahead.low, 100 * ahead.high], [place, place], color=colour)
        fill = colour if one.tuned else "white"
        panel.plot(100 * ahead.value, place, "o", color=colour, markerfacecolor=fill, markersize=5)
    names = [f"{one.name} ({one.metric})" for one in sets]
    panel.set_yticks(range(len(sets)), names, fontsize=7)
    panel.set_ylim(-0.8, len(sets) - 0.2)
    panel.set_xlabel("points of the head ahead of the baseline, 95 % interval")
    panel.grid(visible=True, axis="x", alpha=0.3)
    signs = [Line2D([], [], color=_COLOURS[sign], label=name) for sign, name in _NAMES.items()]
    signs += [
        Line2D([], [], color="black", marker="o", linestyle="", markerfacecolor=fill, label=name)
        for name, fill in (("backbone tuned on the set", "black"), ("not tuned on it", "white"))
    ]
    panel.legend(handles=signs, loc="lower right", fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the version of matplotlib in it, the same figures give the same file.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    return path
