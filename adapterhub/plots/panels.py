"""The panels of a figure: each is a value, with what it draws on the axes it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from adapterhub.diagnostics import Diagnostics, figure_text
from adapterhub.plots.style import INK, MAIN, QUIET, SERIES, fonts_for, literal, shown_names
from adapterhub.specs import Abstention

_MOST_NAMES = 30
_MOST_BARS = 30


class Panel(Protocol):
    """One part of a figure."""

    @property
    def size(self) -> tuple[float, float]:
        """Returns width and height in inches."""

    def draw(self, axes: Any) -> None:
        """Draws on axes of matplotlib."""


@dataclass(frozen=True, slots=True)
class Curves:
    """A value over depth, as lines with a marker per depth.

    Attributes:
        lines: (depth, value) points by ascending depth, by the name of the line.
        x: What the depths are.
        y: Name of the value.
        chosen: The point to mark, if any.
        levels: Values that belong to no depth, by name: dashed lines over the whole width.
        title: Above the panel.
    """

    lines: Mapping[str, Sequence[tuple[int, float]]]
    x: str
    y: str
    chosen: tuple[int, float] | None = None
    levels: Mapping[str, float] | None = None
    title: str = ""

    @property
    def size(self) -> tuple[float, float]:
        """Returns width and height in inches."""
        return 5.2, 4.2

    def draw(self, axes: Any) -> None:
        """Draws on axes of matplotlib."""
        for (name, points), color in zip(self.lines.items(), _colors(len(self.lines)), strict=True):
            depths, values = [depth for depth, _ in points], [value for _, value in points]
            axes.plot(depths, values, color=color, marker="o", markersize=4, label=literal(name))
        for number, (name, value) in enumerate((self.levels or {}).items()):
            style = ("--", ":", "-.")[number % 3]
            axes.axhline(value, color=INK, linewidth=1, linestyle=style, label=literal(name))
        if self.chosen is not None:
            axes.scatter(
                *([number] for number in self.chosen),
                s=130,
                facecolors="none",
                edgecolors=INK,
                linewidths=1.5,
                zorder=3,
                label=f"chosen: {figure_text(self.chosen[1])}",
            )
        axes.set(xlabel=literal(self.x), ylabel=literal(self.y))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color=QUIET, linewidth=0.5)
        axes.legend(fontsize=8)
        _set_title(axes, self.title)


@dataclass(frozen=True, slots=True)
class Reliability:
    """The fraction of correct predictions over their mean probability."""

    diagnostics: Diagnostics

    @property
    def size(self) -> tuple[float, float]:
        """Returns width and height in inches."""
        return 4.2, 4.2

    def draw(self, axes: Any) -> None:
        """Draws on axes of matplotlib."""
        bins = self.diagnostics.reliability
        most = max(part.answers for part in bins)
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1)
        axes.plot([part.score for part in bins], [part.hits for part in bins], color=MAIN)
        axes.scatter(
            [part.score for part in bins],
            [part.hits for part in bins],
            s=[12 + 90 * part.answers / most for part in bins],
            color=MAIN,
            clip_on=False,
        )
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean probability", ylabel="fraction correct")
        _set_title(axes, _rows(self.diagnostics))


@dataclass(frozen=True, slots=True)
class Confusion:
    """The confusion matrix, coloured by the share of each true label.

    Attributes:
        diagnostics: With the matrix.
        labels: In the order of the matrix.
        fonts: As `style.shown_names` takes them.
    """

    diagnostics: Diagnostics
    labels: tuple[str, ...]
    fonts: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[float, float]:
        """Returns width and height in inches."""
        side = min(10.0, 3.2 + 0.32 * len(self.labels))
        return side, side

    def draw(self, axes: Any) -> None:
        """Draws on axes of matplotlib."""
        counts, labels = self.diagnostics.confusion, self.labels
        shares = [[count / max(1, sum(row)) for count in row] for row in counts]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set(xlabel="predicted label", ylabel="true label")
        _set_title(axes, _rows(self.diagnostics))
        names, font = shown_names(labels, self.fonts), _font(self.fonts)
        size = 8 if len(labels) <= _MOST_NAMES else 5
        axes.set_xticks(range(len(labels)), names, rotation=90, size=size, **font)
        axes.set_yticks(range(len(labels)), names, size=size, **font)
        if len(labels) > _MOST_NAMES:
            return
        for true, row in enumerate(counts):
            for guess, count in enumerate(row):
                if count:
                    color = "white" if shares[true][guess] > 0.55 else INK
                    axes.text(
                        guess, true, str(count), ha="center", va="center", color=color, size=7
                    )


@dataclass(frozen=True, slots=True)
class Confusions:
    """The most frequent confusions of a task with too many labels for a matrix."""

    diagnostics: Diagnostics
    labels: tuple[str, ...]

    @property
    def size(self) -> tuple[float, float]:
        """Returns width and height in inches."""
        return 6.0, 1.6 + 0.25 * len(self.diagnostics.confused)

    def draw(self, axes: Any) -> None:
        """Draws on axes of matplotlib."""
        pairs = self.diagnostics.confused[::-1]
        fonts = fonts_for(self.labels)
        names = shown_names(self.labels, fonts)
        texts = [f"{names[pair.true]} \N{RIGHTWARDS ARROW} {names[pair.given]}" for pair in pairs]
        axes.barh(range(len(pairs)), [pair.rows for pair in pairs], color=MAIN)
        axes.set_yticks(range(len(pairs)), texts, size=8, **_font(fonts))
        axes.set(xlabel="rows with the label predicted as the other one", ylim=_around(pairs))
        axes.xaxis.get_major_locator().set_params(integer=True)
        _set_title(axes, _rows(self.diagnostics))


@dataclass(frozen=True, slots=True)
class Bars:
    """Values in [0, 1] of each label, as groups of bars.

    Attributes:
        values: One value per label, by the name of the value; the first one orders the labels.
            Labels whose values are None are left out.
        labels: The names of the groups.
        title: Above the panel.
    """

    values: Mapping[str, Sequence[float | None]]
    labels: tuple[str, ...]
    title: str = ""

    @property
    def size(self) -> tuple[float, float]:
        """Returns width and height in inches."""
        return 5.2, 1.8 + 0.12 * (1 + len(self.values)) * min(_MOST_BARS, len(self._order))

    def draw(self, axes: Any) -> None:
        """Draws on axes of matplotlib."""
        order = self._order[:_MOST_BARS]
        fonts = fonts_for(self.labels)
        names = shown_names(self.labels, fonts)
        height = 0.8 / len(self.values)
        for number, (name, values) in enumerate(self.values.items()):
            places = [place + 0.4 - (number + 0.5) * height for place in range(len(order))]
            shown = [values[place] or 0.0 for place in order]
            color = SERIES[number % len(SERIES)]
            axes.barh(places, shown, height, color=color, label=literal(name))
        axes.set_yticks(
            range(len(order)), [names[place] for place in order], size=8, **_font(fonts)
        )
        axes.set(xlim=(0, 1), ylim=_around(order))
        # Below the axes, where no bar is.
        axes.legend(
            **{"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 3},
            ncols=len(self.values),
            fontsize=8,
        )
        labels = len(self._order)
        more = f", the {len(order)} lowest of {labels}" if labels > len(order) else ""
        _set_title(axes, f"{self.title}{more}")

    @property
    def _order(self) -> list[int]:
        # The lowest first: these are shown where there are too many, the highest of them above.
        first = next(iter(self.values.values()))
        known = {place: value for place, value in enumerate(first) if value is not None}
        return sorted(known, key=lambda place: known[place])


@dataclass(frozen=True, slots=True, eq=False)
class Scatter:
    """Predicted over true values, with the line on which they are equal.

    Attributes:
        true: (N,) true values.
        predicted: (N,) predicted values.
        title: Above the panel.
    """

    true: npt.NDArray[np.float32]
    predicted: npt.NDArray[np.float32]
    title: str = ""

    @property
    def size(self) -> tuple[float, float]:
        """Returns width and height in inches."""
        return 4.2, 4.2

    def draw(self, axes: Any) -> None:
        """Draws on axes of matplotlib."""
        ends = [
            float(min(self.true.min(), self.predicted.min())),
            float(max(self.true.max(), self.predicted.max())),
        ]
        axes.plot(ends, ends, color=QUIET, linewidth=1)
        alpha = 0.6 if len(self.true) <= 500 else 0.2
        # Thousands of points are one picture in a file of lines and letters.
        axes.scatter(
            self.true, self.predicted, s=10, alpha=alpha, color=MAIN, linewidths=0, rasterized=True
        )
        axes.set(xlabel="true value", ylabel="predicted value")
        _set_title(axes, self.title)


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """The share of right answers over the share of answers that are given, with the chosen point.

    The bars are two standard errors up and down. Where rows out of scope were measured, a second
    line has the share of them without an answer.
    """

    abstention: Abstention

    @property
    def size(self) -> tuple[float, float]:
        """Returns width and height in inches."""
        return 4.6, 4.2

    def draw(self, axes: Any) -> None:
        """Draws on axes of matplotlib."""
        found, points = self.abstention, self.abstention.table
        given = [point.coverage for point in points]
        errors = [2 * point.accuracy_error for point in points]
        right = [point.accuracy for point in points]
        style = {"color": MAIN, "marker": "o", "markersize": 3, "capsize": 2, "linewidth": 1}
        axes.errorbar(given, right, yerr=errors, label="right, of those given", **style)
        if found.outside:
            rejected = [point.rejected for point in points]
            axes.plot(given, rejected, color=SERIES[1], label="out of scope, without an answer")
        chosen = found.chosen
        label = f"chosen: {figure_text(chosen.min_confidence)}"
        marked = {"s": 130, "facecolors": "none", "edgecolors": INK, "linewidths": 1.5, "zorder": 3}
        axes.scatter([chosen.coverage], [chosen.accuracy], label=label, **marked)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="answers given", ylabel="share")
        axes.grid(color=QUIET, linewidth=0.5)
        axes.legend(fontsize=8, loc="lower left")
        _set_title(axes, f"{found.rows} {found.split} rows")


def panels_of(
    diagnostics: Diagnostics | None, labels: tuple[str, ...], abstention: Abstention | None = None
) -> list[Panel]:
    """Returns what can be drawn: confusion or its worst pairs, reliability, risk and coverage."""
    panels: list[Panel] = []
    if diagnostics is not None and diagnostics.confusion:
        panels.append(Confusion(diagnostics, labels, tuple(fonts_for(labels))))
    if diagnostics is not None and diagnostics.confused:
        panels.append(Confusions(diagnostics, labels))
    if diagnostics is not None and diagnostics.reliability:
        panels.append(Reliability(diagnostics))
    if abstention is not None and abstention.table:
        panels.append(RiskCoverage(abstention))
    return panels


def _rows(diagnostics: Diagnostics) -> str:
    return f"{diagnostics.rows} {diagnostics.split} rows"


def _set_title(axes: Any, title: str) -> None:
    axes.set_title(literal(title), color=INK, size=10)


def _around(bars: Sequence[object]) -> tuple[float, float]:
    """Returns limits of an axis with a bar at 0, 1, ... that leave no wide margins."""
    return -0.6, len(bars) - 0.4


def _font(fonts: Sequence[str]) -> dict[str, Any]:
    return {"fontfamily": list(fonts)} if fonts else {}


def _colors(count: int) -> list[str]:
    return [SERIES[number % len(SERIES)] for number in range(count)]
