"""Text from head files, made safe for a card: it may hold anything, and a card is shown as HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_ESCAPES = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "\\`*_{}[]()#!~$:@"},
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        # Tables are split at bars, escaped or not.
        "|": "&#124;",
    }
)


def plain(text: object) -> str:
    """Returns `text` so that Markdown and HTML show it as it is, on one line."""
    return " ".join(_CONTROL.sub(" ", str(text)).split()).translate(_ESCAPES)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table; cells are Markdown already."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bullets(items: Iterable[str]) -> str:
    """Returns a list; items are Markdown already."""
    return "\n".join(f"- {item}" for item in items)
