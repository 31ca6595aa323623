"""What a run has trained: the tasks by name, as one table and one plot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from adapterhub.by_task import ByTask
from adapterhub.diagnostics import figure_text
from adapterhub.plan import Plan, make_plan
from adapterhub.plots.combine import save_panels
from adapterhub.plots.figure_files import check_plot
from adapterhub.saving import save_tasks
from adapterhub.store.registry import NEAREST, Resolved
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.heads.table import as_text

_HEADINGS = ("task", "kind", "rows", "passes", "own", "metrics", "measured on")
_NUMBERS = ("rows", "passes", "own")


@dataclass(frozen=True, slots=True, eq=False)
class TrainedTasks(ByTask[TrainedTask]):
    """The tasks that one run has trained, by name, in the order in which they were given.

    Attributes:
        tasks: The tasks.
    """

    def plan(self) -> Plan | None:
        """Returns the plan of one call with all of the tasks; None where backbones differ."""
        specs = {name: one.spec for name, one in self.tasks.items()}
        same = len({spec.backbone.fingerprint for spec in specs.values()}) == 1
        return make_plan(specs) if same else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Returns what a reader of the figures should know, by task."""
        found = self.tasks.items()
        return tuple(f"{name}: {note}" for name, one in found for note in one.table.notes)

    def render(self) -> str:
        """Returns the tasks as a table, what they cost together, and the notes below it."""
        table = Table(box=box.ASCII2, caption_justify="left")
        for name in _HEADINGS:
            table.add_column(name, justify="right" if name in _NUMBERS else "left")
        for one in self.tasks.values():
            table.add_row(*_cells(one))
        plan = self.plan()
        return as_text(table, (*(() if plan is None else (f"{plan.summary}.",)), *self.notes))

    def save(self, registry: str | Path = NEAREST) -> tuple[Resolved, ...]:
        """Adds all of the tasks to a registry in one transaction, in the same order.

        Args:
            registry: As `train` takes it.

        Raises:
            RegistryError: The registry cannot be written, or a task conflicts with its entry.
            HeadFileError: A head file cannot be written.
        """
        return save_tasks(self.tasks.values(), registry)

    def plot(self, path: str | Path) -> Path:
        """Draws what `TrainedTask.plot` draws of each task, a row per task, to a file.

        Args:
            path: Ends in .png, .svg or .pdf; one that exists is replaced.

        Raises:
            UsageError: The file cannot be written, as far as its name and folder say.
            MissingExtraError: matplotlib is not installed.
            DataError: The system cannot write it.
        """
        check_plot(path)
        return save_panels({name: one.panels() for name, one in self.tasks.items()}, path)


def _cells(one: TrainedTask) -> tuple[str, ...]:
    spec, row = one.spec, one.table.rows[one.table.chosen]
    rows = 0 if spec.training is None else spec.training.rows
    measured = one.metrics[0] if one.metrics else None
    return (
        spec.task if one.saved is None else f"{spec.task}:{one.saved.version}",
        spec.kind,
        f"{rows:,}",
        str(spec.deepest),
        str(row.own_passes),
        "\n".join(f"{metric.name} {figure_text(metric.value)}" for metric in one.metrics),
        "" if measured is None else f"{measured.rows:,} {measured.split} rows",
    )
