"""Cells of the tables."""

from __future__ import annotations

from recipes.quality.resampling import Figure


def mark_of(restricted: bool) -> str:
    """Returns the mark of a set whose terms allow no more than figures."""
    return r"\*" if restricted else ""


def points(figure: Figure) -> str:
    """Returns a difference in points with its interval."""
    low, value, high = (100 * part for part in (figure.low, figure.value, figure.high))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"
