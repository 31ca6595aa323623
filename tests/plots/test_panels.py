"""What the panels draw, read back from matplotlib's own objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adapterhub.diagnostics import ConfusedPair, Diagnostics, ReliabilityBin
from adapterhub.errors import UsageError
from adapterhub.plots.combine import combined_figure
from adapterhub.plots.figure_files import new_figure
from adapterhub.plots.panels import Bars, Curves, Panel, Scatter, panels_of
from adapterhub.plots.style import fonts_for, number_key, shown_names

CURVES = Curves({"a": [(0, 0.5), (2, 0.7)], "b": [(1, 0.6)]}, "depth", "f1", (2, 0.7), {"c": 0.4})
SQUARE = Diagnostics(
    split="test",
    rows=4,
    confusion=((2, 1), (0, 1)),
    reliability=(ReliabilityBin(score=0.8, hits=0.75, answers=4),),
)
MANY = Diagnostics(split="test", rows=4, confused=(ConfusedPair(true=1, given=0, rows=3),))


def drawn(panel: Panel) -> Any:
    axes = new_figure(*panel.size).subplots()
    panel.draw(axes)
    return axes


def test_curves_have_a_line_per_name_and_mark_the_chosen_point() -> None:
    axes = drawn(CURVES)
    first, second, level = axes.lines
    assert first.get_xydata().tolist() == [[0, 0.5], [2, 0.7]]
    assert second.get_xydata().tolist() == [[1, 0.6]]
    assert set(level.get_ydata()) == {0.4}
    assert axes.collections[0].get_offsets().tolist() == [[2, 0.7]]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["a", "b", "c", "chosen: 0.7000"]


@pytest.mark.slow
def test_the_matrix_has_its_counts_and_labels() -> None:
    confusion, reliability = panels_of(SQUARE, ("no", "$x$"))
    axes = drawn(confusion)
    assert [text.get_text() for text in axes.texts] == ["2", "1", "1"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["no", r"\$x\$"]
    assert drawn(reliability).lines[1].get_xydata().tolist() == [[0.8, 0.75]]
    (pairs,) = panels_of(MANY, ("no", "yes"))
    assert [text.get_text() for text in drawn(pairs).get_yticklabels()] == ["yes → no"]
    assert panels_of(None, ()) == []


@pytest.mark.slow
def test_of_many_labels_the_lowest_are_shown() -> None:
    values = np.linspace(1, 0, 40).tolist()
    axes = drawn(Bars({"F1": values}, tuple(f"label {n}" for n in range(40)), "rows"))
    assert len(axes.patches) == 30
    assert axes.get_yticklabels()[0].get_text() == "label 39"
    assert axes.get_title() == "rows, the 30 lowest of 40"


def test_values_lie_on_the_line_where_they_are_equal() -> None:
    true, predicted = np.array([1, 2], np.float32), np.array([0, 3], np.float32)
    axes = drawn(Scatter(true, predicted))
    assert axes.collections[0].get_offsets().tolist() == [[1, 0], [2, 3]]
    assert axes.lines[0].get_xydata().tolist() == [[0, 0], [3, 3]]


def test_labels_are_numbered_only_where_no_font_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.font_manager import FontEntry, fontManager

    monkeypatch.setattr(fontManager, "ttflist", [])
    assert shown_names(("good", "差评"), fonts_for(("good", "差评"))) == ["good", "2"]
    assert number_key(("good", "差评")) == "2 = 差评"
    monkeypatch.setattr(fontManager, "ttflist", [FontEntry(name="Noto Sans CJK SC")])
    assert fonts_for(("差评",)) == ["DejaVu Sans", "Noto Sans CJK SC"]
    assert shown_names(("差评",), fonts_for(("差评",))) == ["差评"]
    assert number_key(("差评",)) == ""
    assert fonts_for(("good",)) == []


@pytest.mark.slow
def test_each_task_has_a_row_of_its_panels() -> None:
    figure = combined_figure({"one": [CURVES, *panels_of(SQUARE, ("no", "yes"))], "two": [CURVES]})
    titles = [part.get_suptitle() for part in figure.subfigs]
    shown = [[axes for axes in part.axes if axes.axison] for part in figure.subfigs]
    assert titles == ["one", "two"]
    assert [len(axes) for axes in shown] == [3, 1]
    with pytest.raises(UsageError, match="nothing to draw"):
        combined_figure({"one": []})
