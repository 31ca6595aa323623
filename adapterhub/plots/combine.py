"""Several panels in one figure: a row of panels per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adapterhub.errors import UsageError
from adapterhub.plots.figure_files import new_figure, save_figure, text_measurer
from adapterhub.plots.panels import Panel
from adapterhub.plots.style import INK, fonts_for, literal

_TITLE_HEIGHT = 0.4
_PAD = 0.1
_LEAST = 0.5
_ROUNDS = 3


def combined_figure(rows: Mapping[str, Sequence[Panel]]) -> Any:
    """Returns one matplotlib Figure with a row of panels under each title.

    Raises:
        UsageError: There is no panel.
        MissingExtraError: matplotlib is not installed.
    """
    shown = {title: panels for title, panels in rows.items() if panels}
    if not shown:
        raise UsageError(
            "There is nothing to draw: none of the tasks was measured in a plot's way."
        )
    heights = [_TITLE_HEIGHT + max(panel.size[1] for panel in row) for row in shown.values()]
    width = max(sum(panel.size[0] for panel in row) for row in shown.values())
    figure = new_figure(width, sum(heights))
    # matplotlib's own layouts take minutes for some dozens of panels.
    figure.set_layout_engine("none")
    top = sum(heights)
    for (title, panels), height in zip(shown.items(), heights, strict=True):
        _draw_title(figure, title, top)
        left = 0.0
        for panel in panels:
            right, bottom = left + panel.size[0], top - _TITLE_HEIGHT - panel.size[1]
            _draw_panel(figure, panel, (left, bottom, right, top - _TITLE_HEIGHT))
            left = right
        top -= height
    return figure


def _draw_title(figure: Any, title: str, top: float) -> None:
    fonts = fonts_for([title])
    font = {"fontfamily": fonts} if fonts else {}
    width, height = figure.get_size_inches()
    place = (_PAD / width, (top - _PAD) / height)
    figure.text(*place, literal(title), color=INK, size=12, va="top", **font)


def _draw_panel(figure: Any, panel: Panel, room: tuple[float, float, float, float]) -> None:
    """Draws a panel with all of its text in a room: left, bottom, right and top in inches."""
    size = np.tile(figure.get_size_inches(), 2)
    rooms = (np.array(room) + _PAD * np.array([1, 1, -1, -1])) / size

    def place(sides: npt.NDArray[np.float64]) -> None:
        axes.set_position((*sides[:2], *(sides[2:] - sides[:2]).clip(_LEAST / size[:2])))

    renderer = text_measurer(figure)
    axes = figure.add_axes((0, 0, 1, 1), anchor="NW")
    place(rooms)
    panel.draw(axes)
    # The ticks, and with them the room that they take, depend on the size of the axes.
    for _ in range(_ROUNDS):
        taken = axes.get_tightbbox(renderer).extents - axes.get_window_extent(renderer).extents
        place(rooms - taken / figure.dpi / size)


def save_panels(rows: Mapping[str, Sequence[Panel]], path: str | Path) -> Path:
    """Draws a row of panels under each title into a file, and returns the file.

    Raises:
        UsageError: There is no panel, or the file is not as `check_plot` takes it.
        MissingExtraError: matplotlib is not installed.
        DataError: The file cannot be written.
    """
    return save_figure(combined_figure(rows), path)
