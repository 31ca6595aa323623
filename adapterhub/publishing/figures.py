"""Figures of a card: reliability diagram and confusion matrix."""

from __future__ import annotations

import io
from typing import Any

from adapterhub.diagnostics import Diagnostics
from adapterhub.errors import MissingExtraError

_INK = "#1f2933"
_MAIN = "#2b6cb0"
_QUIET = "#cbd2d9"
_MOST_NAMES = 30
# DejaVu Sans, which comes with matplotlib, has Latin, Greek and Cyrillic, and no Chinese.
_FIRST_MISSING = 0x0530


def draw(diagnostics: Diagnostics, labels: tuple[str, ...]) -> dict[str, bytes]:
    """Returns the figures that the diagnostics allow, as PNG: `calibration`, `confusion`.

    Equal diagnostics give equal bytes with the same version of matplotlib.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "publish") from error
    figures = {}
    if diagnostics.reliability:
        figure = Figure(figsize=(4.2, 4.2), dpi=110, layout="constrained")
        _draw_calibration(figure, diagnostics)
        figures["calibration"] = _png(figure)
    if diagnostics.confusion:
        side = min(10.0, 3.2 + 0.32 * len(labels))
        figure = Figure(figsize=(side, side), dpi=110, layout="constrained")
        _draw_confusion(figure, diagnostics, labels)
        figures["confusion"] = _png(figure)
    return figures


def is_drawable(label: str) -> bool:
    """Returns whether the font of the figures has all characters of a label."""
    return label.isprintable() and all(ord(letter) < _FIRST_MISSING for letter in label)


def _draw_calibration(figure: Any, diagnostics: Diagnostics) -> None:
    axes = figure.subplots()
    bins = diagnostics.reliability
    most = max(part.answers for part in bins)
    axes.plot([0, 1], [0, 1], color=_QUIET, linewidth=1)
    axes.plot([part.score for part in bins], [part.hits for part in bins], color=_MAIN)
    axes.scatter(
        [part.score for part in bins],
        [part.hits for part in bins],
        s=[12 + 90 * part.answers / most for part in bins],
        color=_MAIN,
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean probability", ylabel="fraction correct")
    axes.set_title(f"{diagnostics.rows} {_literal(diagnostics.split)} rows", color=_INK, size=10)


def _draw_confusion(figure: Any, diagnostics: Diagnostics, labels: tuple[str, ...]) -> None:
    axes = figure.subplots()
    counts = diagnostics.confusion
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted label", ylabel="true label")
    axes.set_title(f"{diagnostics.rows} {_literal(diagnostics.split)} rows", color=_INK, size=10)
    places = range(len(labels))
    names = [_short(number, label) for number, label in enumerate(labels, 1)]
    size = 8 if len(labels) <= _MOST_NAMES else 5
    axes.set_xticks(places, names, rotation=90, size=size)
    axes.set_yticks(places, names, size=size)
    if len(labels) > _MOST_NAMES:
        return
    for true, row in enumerate(counts):
        for guess, count in enumerate(row):
            if count:
                color = "white" if shares[true][guess] > 0.55 else _INK
                axes.text(guess, true, str(count), ha="center", va="center", color=color, size=7)


def _short(number: int, label: str) -> str:
    if not is_drawable(label):
        return str(number)
    return _literal(label if len(label) <= 24 else f"{label[:23]}…")


def _literal(text: str) -> str:
    # matplotlib renders text between dollar signs as a formula.
    return text.replace("$", r"\$")


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
