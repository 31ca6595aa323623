"""Two plots of the recipes: the metric by trainable parameters, and seconds by the metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from recipes.quality.freezing_record import ALBERT, BERT, FreezingRecord, Run

_MARKERS = "osD^vP"
_GREY = 7
_SIZE = (9.6, 4.4)
_DPI = 110


def recipe_names(runs: Sequence[Run]) -> list[str]:
    """Returns the recipes in the order in which they were measured."""
    return list(dict.fromkeys(run.recipe for run in runs))


def draw(found: FreezingRecord, folder: Path) -> tuple[Path, Path]:
    """Writes both plots as PNG and returns their files.

    Args:
        found: The results.
        folder: Made if it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parameters, seconds = folder / "parameters.png", folder / "seconds.png"
    _draw(found, parameters, is_time=False)
    _draw(found, seconds, is_time=True)
    return parameters, seconds


def _draw(found: FreezingRecord, path: Path, *, is_time: bool) -> None:
    encoders = [name for name in (ALBERT, BERT) if any(run.encoder == name for run in found.runs)]
    recipes, sets = recipe_names(found.runs), list(found.sets)
    # Without grey, which stands for any recipe in the legend of the sets.
    colours = [matplotlib.colormaps["tab10"](place) for place in range(10) if place != _GREY]
    figure = Figure(figsize=_SIZE, layout="constrained")
    panels = figure.subplots(1, len(encoders), sharex=True, sharey=True, squeeze=False)[0]
    for panel, encoder in zip(panels, encoders, strict=True):
        for run in found.runs:
            if run.encoder != encoder:
                continue
            x, y = (run.value, run.seconds) if is_time else (run.parameters, run.value)
            panel.scatter(
                x,
                y,
                s=52,
                marker=_MARKERS[sets.index(run.name) % len(_MARKERS)],
                color=colours[recipes.index(run.recipe) % len(colours)],
                edgecolors="black",
                linewidths=0.5,
            )
        _label(panel, found, encoder, is_time=is_time)
    figure.legend(handles=_legend(recipes, sets, colours), loc="outside right upper", fontsize=8)
    # Without the version of matplotlib in it, the same figures give the same file.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})


def _label(panel: Any, found: FreezingRecord, encoder: str, *, is_time: bool) -> None:
    own = f"ALBERT ({found.backbone.name.partition(':')[2] or found.backbone.name})"
    panel.set_title(own if encoder == ALBERT else f"BERT ({found.other_name})", fontsize=10)
    panel.grid(visible=True, alpha=0.3)
    if is_time:
        panel.set_xlabel("metric on rows that chose nothing")
        panel.set_ylabel("seconds per epoch, without encoding once before")
        panel.set_yscale("log")
    else:
        panel.set_xlabel("trainable parameters")
        panel.set_ylabel("metric on rows that chose nothing")
        panel.set_xscale("log")


def _legend(recipes: Sequence[str], sets: Sequence[str], colours: Sequence[Any]) -> list[Line2D]:
    marks = [("o", name, colour) for name, colour in zip(recipes, colours, strict=False)]
    marks += [(mark, name, "grey") for mark, name in zip(_MARKERS, sets, strict=False)]
    return [
        Line2D([], [], marker=marker, linestyle="", label=name, color=colour)
        for marker, name, colour in marks
    ]
