"""Colours of all plots, and names of labels as their fonts can show them."""

from __future__ import annotations

from collections.abc import Sequence

INK = "#1f2933"
MAIN = "#2b6cb0"
QUIET = "#cbd2d9"
SERIES = (MAIN, "#c05621", "#2f855a", "#6b46c1", "#b83280", "#718096", "#975a16", "#0987a0")
"""Colours of lines beside one another."""

# DejaVu Sans, which comes with matplotlib, has Latin, Greek and Cyrillic, and no Chinese.
_FIRST_MISSING = 0x0530
_DEFAULT_FONT = "DejaVu Sans"
# As fonts of the common systems are called.
_WIDE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", "Heiti SC"),
    *("Microsoft YaHei", "SimHei", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("Noto Sans CJK JP", "Droid Sans Fallback", "Arial Unicode MS"),
)
_LONGEST = 24


def is_drawable(label: str) -> bool:
    """Returns whether the font that comes with matplotlib has all characters of a label."""
    return label.isprintable() and all(ord(letter) < _FIRST_MISSING for letter in label)


def literal(text: str) -> str:
    """Returns text that matplotlib shows as it is."""
    # matplotlib renders text between dollar signs as a formula.
    return text.replace("$", r"\$")


def fonts_for(labels: Sequence[str]) -> list[str]:
    """Returns fonts of this machine that have the letters of the labels, by order of use.

    Empty where the default is enough, or nothing better is installed.
    """
    if all(map(is_drawable, labels)):
        return []
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    wide = [name for name in _WIDE_FONTS if name in installed]
    return [_DEFAULT_FONT, *wide] if wide else []


def shown_names(labels: Sequence[str], fonts: Sequence[str] = ()) -> list[str]:
    """Returns labels as ticks: cut where long, by number where no font has their letters.

    Args:
        labels: The labels; the first one has the number 1.
        fonts: Of `fonts_for`; none for the one that comes with matplotlib.
    """
    return [_short(number, label, bool(fonts)) for number, label in enumerate(labels, 1)]


def number_key(labels: Sequence[str]) -> str:
    """Returns which label a number in a plot stands for; empty where all are shown by name."""
    has_wide_font = bool(fonts_for(labels))
    numbered = [
        f"{number} = {label}"
        for number, label in enumerate(labels, 1)
        if not _has_letters(label, has_wide_font)
    ]
    return ", ".join(numbered)


def _has_letters(label: str, has_wide_font: bool) -> bool:
    return label.isprintable() if has_wide_font else is_drawable(label)


def _short(number: int, label: str, has_wide_font: bool) -> str:
    if not _has_letters(label, has_wide_font):
        return str(number)
    return literal(label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…")
