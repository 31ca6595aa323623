"""Tables of candidates as plain text."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO

from rich.console import Console
from rich.table import Table

_WIDTH = 100


def as_text(table: Table, lines: Iterable[str]) -> str:
    """Returns a table and the lines below it, without colours."""
    file = StringIO()
    console = Console(file=file, width=_WIDTH, color_system=None)
    console.print(table)
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return file.getvalue()
