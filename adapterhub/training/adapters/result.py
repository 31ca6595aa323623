"""The result of a search for an adapter: the selected one with its head, and the result table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from rich import box
from rich.table import Table

from adapterhub.diagnostics import figure_text
from adapterhub.model.heads.heads import Array
from adapterhub.plots.panels import Curves
from adapterhub.specs import AdapterSpec, EarlierTask, HeadSpec
from adapterhub.training.adapters.train_loop import Checkpoints
from adapterhub.training.heads.candidates import Hyperparameters
from adapterhub.training.heads.table import SearchTable, as_text, shape_text

ADAPTER = "The adapter"
"""What the summary of a table of adapters calls one."""
_POINTS = 100
_HEADINGS = ("passes", "own", "from", "rank", "trained", "s/epoch", "memory", "head")


@dataclass(frozen=True, slots=True)
class AdapterRow:
    """One adapter with its head, at its best epoch.

    Attributes:
        head: What the head reads and its shape.
        from_depth: Where the adapter starts; None for the head alone, on the frozen trunk.
        rank: None where there is none.
        value: Validation metric.
        learning_rate: Of the adapter, or of the head alone.
        weight_decay: With which it was trained.
        epoch: The best epoch, from 1.
        parameters: Trained numbers, the head's included.
        seconds: Time of one epoch; of the head alone 0, unless a recipe was given.
        memory_bytes: Memory of the training beside the weights: gradients, the optimiser's moments,
            and what a step on the largest batch keeps for the gradients; of the head alone 0,
            unless a recipe was given.
    """

    head: HeadSpec
    from_depth: int | None
    rank: int | None
    value: float
    learning_rate: float
    weight_decay: float
    epoch: int
    parameters: int
    seconds: float
    memory_bytes: int = 0

    @property
    def passes(self) -> int:
        """Returns the passes per text if nothing else is scored: the deepest depth."""
        return self.head.depths[-1]

    @property
    def own_passes(self) -> int:
        """Returns the passes per text that other tasks do not share."""
        return 0 if self.from_depth is None else self.passes - self.from_depth


@dataclass(frozen=True, slots=True)
class AdapterTable:
    """All adapters that were tried, the cheapest first, after the head alone.

    Attributes:
        metric: Its name.
        tolerance: How many points below the best the chosen one may score.
        rows: The head alone, then the adapters by cost.
        best: Index of the row with the highest value, which may be the head alone.
        chosen: Index of the cheapest adapter within the tolerance of the best adapter.
        candidates: How many heads and adapters were fitted.
        notes: What was left out, and why.
        measure: The metric as it is computed here; empty for as it is reported.
        subject: What the summary calls what was trained.
    """

    metric: str
    tolerance: float
    rows: tuple[AdapterRow, ...]
    best: int
    chosen: int
    candidates: int
    notes: tuple[str, ...] = ()
    measure: str = ""
    subject: str = ADAPTER

    def render(self, *, every: bool = False) -> str:
        """Returns the table as text; `every` is ignored, since all rows are shown."""
        del every
        table = Table(box=box.ASCII2, caption_justify="left")
        for name in (*_HEADINGS, self.measure or self.metric, ""):
            table.add_column(name, justify="left" if name in ("head", "") else "right")
        for index in range(len(self.rows)):
            table.add_row(*self._cells(index))
        return as_text(table, (self.summary, *self.notes))

    @property
    def summary(self) -> str:
        """Returns the choice in one line."""
        frozen, chosen = self.rows[0], self.rows[self.chosen]
        best = max(self.rows[1:], key=lambda row: row.value)
        gained = (chosen.value - frozen.value) * _POINTS
        text = f"{self.subject} scores {gained:+.2f} points against the best head alone"
        if chosen.value <= frozen.value:
            less = "an adapter" if self.subject == ADAPTER else "it"
            text += f", which has no passes of its own: without {less} the task is cheaper"
        if best is not chosen:
            lost = (best.value - chosen.value) * _POINTS
            text += (
                f"; chosen: {chosen.own_passes} own passes instead of {best.own_passes}, "
                f"{lost:.2f} points below the best (tolerance {self.tolerance:g})"
            )
        return f"{text}."

    def curve(self) -> Curves:
        """Returns the best value for each depth that an adapter starts at, to be drawn."""
        frozen, *rows = self.rows
        lines: dict[str, dict[int, float]] = {}
        for row in rows:
            start = 0 if row.from_depth is None else row.from_depth
            best = lines.setdefault(self._line(row), {})
            best[start] = max(row.value, best.get(start, row.value))
        chosen = self.rows[self.chosen]
        return Curves(
            {name: sorted(best.items()) for name, best in lines.items()},
            x="first depth with the adapter",
            y=self.measure or self.metric,
            chosen=(chosen.from_depth or 0, chosen.value),
            levels={"head alone": frozen.value},
            title=f"{self.candidates} candidates",
        )

    def _line(self, row: AdapterRow) -> str:
        """Returns the line of a row, by what differs among the adapters."""
        rows = self.rows[1:]
        rank = f" of rank {row.rank}" if len({one.rank for one in rows}) > 1 else ""
        read = f", read at depth {row.passes}" if len({one.passes for one in rows}) > 1 else ""
        return f"adapter{rank}{read}"

    def _cells(self, index: int) -> tuple[str, ...]:
        row = self.rows[index]
        marks = [name for name in ("best", "chosen") if getattr(self, name) == index]
        depths = row.head.depths
        read = f"depth {depths[0]}" if len(depths) == 1 else f"depths {depths[0]}-{depths[-1]}"
        return (
            str(row.passes),
            str(row.own_passes),
            "-" if row.from_depth is None else str(row.from_depth),
            "-" if row.rank is None else str(row.rank),
            f"{row.parameters:,}",
            f"{row.seconds:.1f}" if row.memory_bytes else "-",
            f"{row.memory_bytes / 1e6:,.1f} MB" if row.memory_bytes else "-",
            f"{read} {row.head.pooling} {shape_text(row.head)}",
            figure_text(row.value),
            " ".join(("<-", *marks)) if marks else "",
        )


def cost(row: AdapterRow) -> tuple[float, ...]:
    """Returns the sort key of adapters: passes, own passes, parameters, ties by metric."""
    return row.passes, row.own_passes, row.parameters, -row.value


def make_adapter_table(
    rows: Sequence[AdapterRow],
    *,
    metric: str,
    tolerance: float,
    candidates: int,
    notes: Sequence[str],
    measure: str = "",
) -> AdapterTable:
    """Returns the table of the head alone and the adapters; marks the best and the chosen row.

    Args:
        rows: The head alone, then the adapters by cost.
        metric: As in `AdapterTable`, and so are the others.
        tolerance: How many points below the best adapter the chosen one may score.
        candidates: How many heads and adapters were fitted.
        notes: What was left out, and why.
        measure: The metric as it is computed here.
    """
    enough = max(row.value for row in rows[1:]) - tolerance / _POINTS
    return AdapterTable(
        metric=metric,
        tolerance=tolerance,
        rows=tuple(rows),
        best=max(range(len(rows)), key=lambda index: rows[index].value),
        chosen=next(index for index, row in enumerate(rows) if index and row.value >= enough),
        candidates=candidates,
        notes=tuple(notes),
        measure=measure,
    )


@dataclass(frozen=True, slots=True, eq=False)
class FittedAdapter:
    """A trained adapter and its head.

    Attributes:
        head: What the head reads and its shape.
        adapter: What the adapter changes; None where the encoder itself was trained.
        tensors: Of both, by the names of a head file.
        apart: Whether the head compares two texts that are encoded separately.
        hyperparameters: With which it was trained.
        value: Validation metric.
        epoch: Its best epoch, from 1.
        seconds: Mean time of an epoch.
        parameters: Trained numbers, the head's included.
        memory_bytes: As in `AdapterRow`.
        checkpoints: To be deleted once the task is saved.
        earlier: The task whose adapter it started from, if any.
        weights: Trained tensors of the encoder itself, by their names in an `AlbertModel`.
        logits: As in `FittedHead`.
    """

    head: HeadSpec
    adapter: AdapterSpec | None
    tensors: Mapping[str, torch.Tensor]
    apart: bool
    hyperparameters: Hyperparameters
    value: float
    epoch: int
    seconds: float
    parameters: int
    memory_bytes: int
    checkpoints: Checkpoints | None
    earlier: EarlierTask | None = None
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict)
    logits: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class AdapterSearchResult:
    """The result of a search for an adapter.

    Attributes:
        chosen: The cheapest adapter within the tolerance of the best.
        table: All candidates: adapters, or heads on an existing adapter.
        checkpoints: To be deleted once the task is saved.
    """

    chosen: FittedAdapter
    table: AdapterTable | SearchTable
    checkpoints: tuple[Checkpoints, ...]

    def remove_checkpoints(self) -> None:
        """Deletes the checkpoints of all trials."""
        for one in self.checkpoints:
            one.remove()
