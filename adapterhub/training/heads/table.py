"""The result table of a search for heads: candidates, metric and cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from math import isnan

from rich import box
from rich.console import Console
from rich.table import Table

from adapterhub.diagnostics import figure_text
from adapterhub.plots.panels import Curves
from adapterhub.specs import HeadSpec
from adapterhub.training.heads.candidates import FittedHead

_WIDTH = 110


def as_text(table: Table, lines: Iterable[str]) -> str:
    """Returns a table and the lines below it, without colours."""
    file = StringIO()
    console = Console(file=file, width=_WIDTH, color_system=None)
    console.print(table)
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return file.getvalue()


_POINTS = 100
_ENCODED = ("together", "apart")
_COLUMNS = ("depths", "pooling", "head")


@dataclass(frozen=True, slots=True)
class TableRow:
    """The best candidate of one head.

    Attributes:
        head: What it reads and its shape.
        value: Its validation metric; NaN where there was nothing to measure on.
        learning_rate: With which it was fitted.
        weight_decay: With which it was fitted.
        epoch: Its best epoch; 0 for the principal axes of the features, which are not trained.
        parameters: Numbers in its file.
        apart: Whether it compares two texts that are encoded separately.
        seconds: Time of one epoch by itself; 0 where that was not measured.
        memory_bytes: Memory of its training beside features and weights: gradients, the optimiser's
            moments, and what a step keeps for the gradients; 0 where that was not measured.
    """

    head: HeadSpec
    value: float
    learning_rate: float
    weight_decay: float
    epoch: int
    parameters: int
    apart: bool = False
    seconds: float = 0.0
    memory_bytes: int = 0

    @property
    def passes(self) -> int:
        """Returns the passes per text: its deepest depth."""
        return self.head.depths[-1]

    @property
    def own_passes(self) -> int:
        """Returns the passes per text that other tasks do not share: none."""
        return 0


@dataclass(frozen=True, slots=True)
class SearchTable:
    """All heads that were tried, the cheapest first.

    Attributes:
        metric: Its name.
        tolerance: How many points below the best the chosen head may score.
        rows: The best candidate of each head, by cost.
        best: Index of the row with the highest value.
        chosen: Index of the cheapest row within the tolerance.
        candidates: How many candidates were fitted.
        notes: What was left out, and why.
        measure: The metric as it is computed here; empty for as it is reported.
        reason: Why it was chosen, where that is not by cost and tolerance alone.
        shape: What all heads are, where that is not said by their spec.
    """

    metric: str
    tolerance: float
    rows: tuple[TableRow, ...]
    best: int
    chosen: int
    candidates: int
    notes: tuple[str, ...] = ()
    measure: str = ""
    reason: str = ""
    shape: str = ""

    def render(self, *, every: bool = False) -> str:
        """Returns the table as text.

        Args:
            every: All rows; otherwise the best of each number of passes, and the chosen one.
        """
        table = Table(box=box.ASCII2, caption_justify="left")
        pairs = ("pairs",) if self._has_pairs else ()
        measure = self.measure or self.metric
        for name in ("passes", *pairs, *_COLUMNS, "parameters", measure, ""):
            numbers = name in ("passes", "parameters", measure)
            table.add_column(name, justify="right" if numbers else "left")
        for index in range(len(self.rows)) if every else self._leading():
            table.add_row(*self._cells(index))
        return as_text(table, (self.summary, *self.notes))

    @property
    def summary(self) -> str:
        """Returns the choice in one line."""
        best, chosen = self.rows[self.best], self.rows[self.chosen]
        if self.reason:
            plural = "s" if self.candidates > 1 else ""
            return f"{self.candidates} candidate{plural}; {self.reason}"
        if self.best == self.chosen:
            return f"{self.candidates} candidates; the best is also the cheapest within tolerance."
        lost = (best.value - chosen.value) * _POINTS
        return (
            f"{self.candidates} candidates; chosen: {chosen.passes} passes instead of "
            f"{best.passes}, {lost:.2f} points below the best (tolerance {self.tolerance:g})."
        )

    def curve(self) -> Curves:
        """Returns the best value for each depth that a head reads at most, to be drawn."""
        lines: dict[str, dict[int, float]] = {}
        for row in self.rows:
            how = f", texts {_ENCODED[row.apart]}" if self._has_pairs else ""
            best = lines.setdefault(f"best head{how}", {})
            best[row.passes] = max(row.value, best.get(row.passes, row.value))
        chosen = self.rows[self.chosen]
        return Curves(
            {name: sorted(best.items()) for name, best in lines.items()},
            x="deepest depth read",
            y=self.measure or self.metric,
            chosen=(chosen.passes, chosen.value),
            title=f"{self.candidates} candidates",
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
            *((_ENCODED[row.apart],) if self._has_pairs else ()),
            str(depths[0]) if len(depths) == 1 else f"mix {depths[0]}-{depths[-1]}",
            row.head.pooling,
            self.shape or (shape_text(row.head) if row.epoch else "principal axes"),
            f"{row.parameters:,}",
            "" if isnan(row.value) else figure_text(row.value),
            " ".join(("<-", *marks)) if marks else "",
        )


def shape_text(head: HeadSpec) -> str:
    """Returns the shape of a head for people."""
    if head.arc_width is not None and head.hidden_width is not None:
        return f"biaffine {head.arc_width}+{head.hidden_width // 2 - head.arc_width}"
    return "linear" if head.hidden_width is None else f"hidden {head.hidden_width}"


def table_row(one: FittedHead) -> TableRow:
    """Returns the row of the best candidate of a head."""
    return TableRow(
        head=one.head,
        value=one.value,
        learning_rate=one.hyperparameters.learning_rate,
        weight_decay=one.hyperparameters.weight_decay,
        epoch=one.epoch,
        parameters=sum(tensor.numel() for tensor in one.tensors.values()),
        apart=one.apart,
    )


def by_cost(fitted: Iterable[FittedHead]) -> list[FittedHead]:
    """Returns heads from cheap to expensive: by passes, hidden width, depths; ties by metric."""

    def cost(one: FittedHead) -> tuple[float, ...]:
        head = one.head
        return head.depths[-1], head.hidden_width or 0, len(head.depths), -one.value

    return sorted(fitted, key=cost)


def make_table(
    fitted: Sequence[FittedHead],
    *,
    metric: str,
    tolerance: float,
    notes: Sequence[str],
    measure: str = "",
) -> SearchTable:
    """Returns the table of heads sorted by cost; marks the best and the chosen one."""
    values = [one.value for one in fitted]
    best = max(range(len(values)), key=lambda index: values[index])
    enough = values[best] - tolerance / _POINTS
    chosen = next(index for index, value in enumerate(values) if value >= enough)
    rows = tuple(map(table_row, fitted))
    total = sum(one.candidates for one in fitted)
    return SearchTable(metric, tolerance, rows, best, chosen, total, tuple(notes), measure)
