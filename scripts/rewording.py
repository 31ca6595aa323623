"""Rows learned a second time in other words that mean the same."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read_alike(path: Path) -> list[list[str]]:
    """Returns the lists of expressions of a JSON file; those of a list mean the same."""
    groups: list[list[str]] = json.loads(path.read_text(encoding="utf-8"))
    return groups


def rewording(groups: Sequence[Sequence[str]], columns: Sequence[str]) -> Callable[[Row], Row]:
    """Returns what gives the columns of a row that has an expression, with another in its place.

    One expression of one column is replaced; nothing is given of a row without any. The same
    rows in the same order give the same.

    Args:
        groups: Lists of expressions that mean the same. The longest that stands in a text counts,
            so one that is alone in its list is left as it is, and so are shorter ones within it.
        columns: The texts of a row.
    """
    others = {own: [one for one in group if one != own] for group in groups for own in group}
    longest_first = sorted(others, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    draw = random.Random(0)

    def reword(row: Row) -> Row:
        found = [
            (column, match)
            for column in columns
            for match in pattern.finditer(row[column])
            if others[match.group()]
        ]
        if not found:
            return {}
        column, match = draw.choice(found)
        text = row[column]
        other = draw.choice(others[match.group()])
        return {column: text[: match.start()] + other + text[match.end() :]}

    return reword
