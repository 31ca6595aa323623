"""Figures of a card: reliability diagram, confusion matrix, risk and coverage."""

from __future__ import annotations

from adapterhub.plots.figure_files import figure_bytes, new_figure
from adapterhub.plots.panels import Confusion, Panel, Reliability, RiskCoverage
from adapterhub.specs import TaskSpec


def draw(spec: TaskSpec) -> dict[str, bytes]:
    """Returns the figures that a task allows, as PNG: `calibration`, `confusion`, `abstention`.

    Equal figures give equal bytes with the same version of matplotlib, whatever other fonts
    there are.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    panels: dict[str, Panel] = {}
    diagnostics, labels, abstention = spec.diagnostics, spec.labels, spec.abstention
    if diagnostics is not None and diagnostics.reliability:
        panels["calibration"] = Reliability(diagnostics)
    if diagnostics is not None and diagnostics.confusion:
        panels["confusion"] = Confusion(diagnostics, labels)
    if abstention is not None and abstention.table:
        panels["abstention"] = RiskCoverage(abstention)
    return {name: _picture(panel) for name, panel in panels.items()}


def _picture(panel: Panel) -> bytes:
    figure = new_figure(*panel.size, extra="publish")
    panel.draw(figure.subplots())
    return figure_bytes(figure)
