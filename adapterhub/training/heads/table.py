"""The table that a search for heads ends with: what was tried, its metric and its cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table

from adapterhub.specs import HeadSpec
from adapterhub.training.heads.candidates import Fitted

_WIDTH = 100


def as_text(table: Table, lines: Iterable[str]) -> str:
    """Returns a table and the lines below it, without colours."""
    file = StringIO()
    console = Console(file=file, width=_WIDTH, color_system=None)
    console.print(table)
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return file.getvalue()


_POINTS = 100
_COLUMNS = ("depths", "pooling", "head")


@dataclass(frozen=True, slots=True)
class TableRow:
    """The best candidate of one head.

    Attributes:
        head: What it reads and its shape.
        value: Its validation value.
        learning_rate: How it was fitted.
        weight_decay: How it was fitted.
        epoch: The epoch that was best.
        parameters: Numbers that it stores.
        apart: Whether it compares two texts that are read alone.
    """

    head: HeadSpec
    value: float
    learning_rate: float
    weight_decay: float
    epoch: int
    parameters: int
    apart: bool = False

    @property
    def passes(self) -> int:
        """Returns the passes per text that it needs: its deepest depth."""
        return self.head.depths[-1]


@dataclass(frozen=True, slots=True)
class SearchTable:
    """All heads that were tried, the cheapest first.

    Attributes:
        metric: What the values are.
        tolerance: Points that the chosen head may be worse than the best.
        rows: The best candidate of each head, by cost.
        best: Index of the row with the highest value.
        chosen: Index of the cheapest row within the tolerance.
        candidates: How many candidates were fitted.
        notes: What was left out or cut, and why.
    """

    metric: str
    tolerance: float
    rows: tuple[TableRow, ...]
    best: int
    chosen: int
    candidates: int
    notes: tuple[str, ...] = ()

    def render(self, *, every: bool = False) -> str:
        """Returns the table for people.

        Args:
            every: All rows; otherwise the best of each number of passes, and what was chosen.
        """
        table = Table(box=box.ASCII2, caption_justify="left")
        pairs = ("pairs",) if self._has_pairs else ()
        for name in ("passes", *pairs, *_COLUMNS, "parameters", self.metric, ""):
            numbers = name in ("passes", "parameters", self.metric)
            table.add_column(name, justify="right" if numbers else "left")
        for index in range(len(self.rows)) if every else self._leading():
            table.add_row(*self._cells(index))
        return as_text(table, (self.summary, *self.notes))

    @property
    def summary(self) -> str:
        """Returns the choice in one line."""
        best, chosen = self.rows[self.best], self.rows[self.chosen]
        if self.best == self.chosen:
            return f"{self.candidates} candidates; the best is also the cheapest within tolerance."
        lost = (best.value - chosen.value) * _POINTS
        return (
            f"{self.candidates} candidates; chosen: {chosen.passes} passes instead of "
            f"{best.passes}, {lost:.2f} points below the best (tolerance {self.tolerance:g})."
        )

    @property
    def _has_pairs(self) -> bool:
        return any(row.apart for row in self.rows)

    def _leading(self) -> list[int]:
        best: dict[int, int] = {}
        for index, row in enumerate(self.rows):
            other = best.get(row.passes)
            if other is None or row.value > self.rows[other].value:
                best[row.passes] = index
        return sorted({*best.values(), self.best, self.chosen})

    def _cells(self, index: int) -> tuple[str, ...]:
        row = self.rows[index]
        depths = row.head.depths
        marks = [name for name in ("best", "chosen") if getattr(self, name) == index]
        return (
            str(row.passes),
            *((("together", "apart")[row.apart],) if self._has_pairs else ()),
            str(depths[0]) if len(depths) == 1 else f"mix {depths[0]}-{depths[-1]}",
            row.head.pooling,
            "linear" if row.head.hidden_width is None else f"hidden {row.head.hidden_width}",
            f"{row.parameters:,}",
            f"{row.value * _POINTS:.2f}",
            " ".join(("<-", *marks)) if marks else "",
        )


def by_cost(fitted: Iterable[Fitted]) -> list[Fitted]:
    """Returns heads with the cheapest first: fewest passes, linear before hidden, fewest depths.

    Of heads that cost the same, the better one comes first.
    """

    def cost(one: Fitted) -> tuple[float, ...]:
        head = one.head
        return head.depths[-1], head.hidden_width or 0, len(head.depths), -one.value

    return sorted(fitted, key=cost)


def make_table(
    fitted: Sequence[Fitted], *, metric: str, tolerance: float, notes: Sequence[str]
) -> SearchTable:
    """Returns the table of heads that are sorted by cost, with the best and the chosen marked."""
    values = [one.value for one in fitted]
    best = max(range(len(values)), key=lambda index: values[index])
    enough = values[best] - tolerance / _POINTS
    # Of heads that cost the same, `by_cost` put the best first.
    chosen = next(index for index, value in enumerate(values) if value >= enough)
    rows = tuple(
        TableRow(
            head=one.head,
            value=one.value,
            learning_rate=one.setting.learning_rate,
            weight_decay=one.setting.weight_decay,
            epoch=one.epoch,
            parameters=sum(tensor.numel() for tensor in one.tensors.values()),
            apart=one.apart,
        )
        for one in fitted
    )
    total = sum(one.candidates for one in fitted)
    return SearchTable(metric, tolerance, rows, best, chosen, total, tuple(notes))
