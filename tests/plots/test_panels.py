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
from tests.builders import abstention

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
    axes = drawn(Bars({"F1": [None, 0.5], "recall": [None, 0.2]}, ("absent", "差评")))
    assert [text.get_text() for text in axes.get_yticklabels()] == shown_names(
        ("absent", "差评"), fonts_for(("差评",))
    )[1:]


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
def test_each_task_has_a_row_of_panels_with_all_of_their_text() -> None:
    labels = tuple(f"a label that is long {n}" for n in range(10))
    eye = tuple(tuple(int(n == m) for m in range(10)) for n in range(10))
    matrix = SQUARE.model_copy(update={"rows": 10, "confusion": eye})
    bars = Bars({"F1": [0.5] * 60}, tuple(map(str, range(60))))
    figure = combined_figure({"one": [*panels_of(matrix, labels), bars], "two": [CURVES]})
    assert [text.get_text() for text in figure.texts] == ["one", "two"]
    figure.draw_without_rendering()
    _, reliability, _, curves = figure.axes
    assert reliability.bbox.height < 1.5 * reliability.bbox.width
    assert curves.bbox.width == pytest.approx(5.2 * figure.dpi, rel=0.2)
    for axes in figure.axes:
        box, page = axes.get_tightbbox(), figure.bbox
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1
    with pytest.raises(UsageError, match="nothing to draw"):
        combined_figure({"one": []})


def test_risk_and_coverage_have_a_line_each_and_mark_the_chosen_point() -> None:
    (panel,) = panels_of(None, (), abstention(none_label="oos"))
    axes = drawn(panel)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "out of scope, without an answer",
        "chosen: 0.7000",
        "right, of those given",
    ]
    line = axes.get_lines()[0]
    assert list(line.get_xdata()) == [1.0, 0.75, 0.65]
    assert axes.get_title() == "100 validation rows"
    assert panels_of(None, (), abstention(table=())) == []
