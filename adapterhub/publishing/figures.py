"""Figures of a card: reliability diagram and confusion matrix."""

from __future__ import annotations

from adapterhub.diagnostics import Diagnostics
from adapterhub.plots.figure_files import figure_bytes, new_figure
from adapterhub.plots.panels import Confusion, Panel, Reliability


def draw(diagnostics: Diagnostics, labels: tuple[str, ...]) -> dict[str, bytes]:
    """Returns the figures that the diagnostics allow, as PNG: `calibration`, `confusion`.

    Equal diagnostics give equal bytes with the same version of matplotlib, whatever other fonts
    there are.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    panels: dict[str, Panel] = {}
    if diagnostics.reliability:
        panels["calibration"] = Reliability(diagnostics)
    if diagnostics.confusion:
        panels["confusion"] = Confusion(diagnostics, labels)
    return {name: _picture(panel) for name, panel in panels.items()}


def _picture(panel: Panel) -> bytes:
    figure = new_figure(*panel.size, extra="publish")
    panel.draw(figure.subplots())
    return figure_bytes(figure)
