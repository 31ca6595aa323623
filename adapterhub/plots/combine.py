"""Several panels in one figure: a row of panels per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapterhub.errors import UsageError
from adapterhub.plots.figure_files import new_figure, save_figure
from adapterhub.plots.panels import Panel
from adapterhub.plots.style import INK, fonts_for, literal

_TITLE_HEIGHT = 0.4
_NONE = 1e-3


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
    heights = [max(panel.size[1] for panel in panels) + _TITLE_HEIGHT for panels in shown.values()]
    width = max(sum(panel.size[0] for panel in panels) for panels in shown.values())
    figure = new_figure(width, sum(heights))
    parts = figure.subfigures(len(shown), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (title, panels) in zip(parts, shown.items(), strict=True):
        fonts = fonts_for([title])
        font = {"fontfamily": fonts} if fonts else {}
        part.suptitle(literal(title), color=INK, size=12, x=0.01, ha="left", **font)
        _draw_row(part, panels, width)
    return figure


def _draw_row(part: Any, panels: Sequence[Panel], width: float) -> None:
    """Draws panels from the left, each in its own size, however large the row is."""
    widths, heights = zip(*(panel.size for panel in panels), strict=True)
    ratios = [*widths, max(width - sum(widths), _NONE)]
    # A layout for each: names of labels take no room from the panel beside them.
    columns = part.subfigures(1, len(ratios), width_ratios=ratios, squeeze=False)[0]
    for column, panel, height in zip(columns, panels, heights, strict=False):
        rest = max(max(heights) - height, _NONE)
        upper, _ = column.subfigures(2, 1, height_ratios=[height, rest])
        panel.draw(upper.subplots())


def save_panels(rows: Mapping[str, Sequence[Panel]], path: str | Path) -> Path:
    """Draws a row of panels under each title into a file, and returns the file.

    Raises:
        UsageError: There is no panel, or the file is not as `check_plot` takes it.
        MissingExtraError: matplotlib is not installed.
        DataError: The file cannot be written.
    """
    return save_figure(combined_figure(rows), path)
