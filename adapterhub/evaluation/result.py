"""What was measured of tasks on labelled rows, for people, programs and plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from adapterhub.by_task import ByTask
from adapterhub.diagnostics import figure_text
from adapterhub.plots.combine import save_panels
from adapterhub.plots.figure_files import check_plot
from adapterhub.results import Provenance
from adapterhub.specs import RISK_COLUMNS, Metric, RiskPoint, Role, risk_cells
from adapterhub.training.evaluation.comparison import Comparison
from adapterhub.training.heads.table import as_text


@dataclass(frozen=True, slots=True, eq=False)
class TaskEvaluation:
    """One task measured on labelled rows.

    Attributes:
        made_by: Version and digest of the task.
        data: Where the rows came from.
        rows: Their number.
        columns: The column that was read, by what it is.
        metrics: What was measured.
        labels: Of the task, in the order of its outputs.
        comparison: Confusion matrix, reliability, figures of each label, or values.
        earlier_use: Which of the rows trained, chose or calibrated the task; None where none are
            known to.
        abstention: What the minimum of confidence in force costs and gains; None where the task
            always answers. The metrics are those without it.
        outside: Number of rows out of scope, which are not among the others.
    """

    made_by: Provenance
    data: str
    rows: int
    columns: Mapping[Role, str]
    metrics: tuple[Metric, ...]
    labels: tuple[str, ...]
    comparison: Comparison
    earlier_use: str | None = None
    abstention: RiskPoint | None = None
    outside: int = 0

    @property
    def task(self) -> str:
        """Returns the task with its version, if it has one."""
        version = self.made_by.version
        return self.made_by.task if version is None else f"{self.made_by.task}:{version}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Returns what else a reader of the metrics should know."""
        read = ", ".join(f"{role} from '{name}'" for role, name in self.columns.items())
        used = f"{self.earlier_use}: figures of new rows can be lower"
        found = self.abstention
        return (
            f"read {read}",
            *(() if self.earlier_use is None else (used,)),
            *(() if found is None else (_abstention_note(found, self.outside),)),
        )

    @property
    def figures(self) -> list[tuple[str, str]]:
        """Returns the name and value of everything measured, for people."""
        cells = [(metric.name, figure_text(metric.value)) for metric in self.metrics]
        if self.abstention is None:
            return cells
        return [*cells, *zip(RISK_COLUMNS[1:], risk_cells(self.abstention)[1:], strict=False)]

    def as_dict(self) -> dict[str, object]:
        """Returns everything but the values of single rows, as JSON holds it."""
        diagnostics = self.comparison.diagnostics
        found = {} if diagnostics is None else diagnostics.model_dump(mode="json")
        return {
            "task": self.made_by.task,
            "version": self.made_by.version,
            "sha256": self.made_by.sha256,
            "data": self.data,
            "rows": self.rows,
            "columns": dict(self.columns),
            "earlier_use": self.earlier_use,
            "abstention": None if self.abstention is None else self.abstention.model_dump(),
            "outside": self.outside,
            "metrics": {metric.name: metric.value for metric in self.metrics},
            "labels": [asdict(one) for one in self.comparison.labels or self.comparison.numbers],
            **{name: found.get(name, []) for name in ("confusion", "confused", "reliability")},
        }


def _abstention_note(found: RiskPoint, outside: int) -> str:
    rejected = f"; rejected, of {outside:,} rows out of scope" if outside else ""
    return (
        f"no answer under a confidence of {figure_text(found.min_confidence)}: coverage is the "
        f"share of the answers that remain, accuracy_given of right ones among them{rejected}. "
        f"The other figures are without abstaining"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation(ByTask[TaskEvaluation]):
    """Tasks measured on labelled rows, by the names of the caller.

    Attributes:
        tasks: What was measured of each.
    """

    @property
    def notes(self) -> tuple[str, ...]:
        """Returns what else a reader of the metrics should know, by task where there are more."""
        several = len(self.tasks) > 1
        return tuple(
            f"{one.task}: {text}" if several else text
            for one in self.tasks.values()
            for text in one.notes
        )

    def render(self) -> str:
        """Returns the metrics as a table, and the notes below it."""
        table = Table(box=box.ASCII2, caption_justify="left")
        for name in ("task", "rows", "metric", "value"):
            table.add_column(name, justify="right" if name in ("rows", "value") else "left")
        for one in self.tasks.values():
            for figure in one.figures:
                table.add_row(one.task, f"{one.rows:,}", *figure)
        return as_text(table, self.notes)

    def as_dict(self) -> dict[str, object]:
        """Returns everything but the values of single rows, as JSON holds it."""
        return {"tasks": [one.as_dict() for one in self.tasks.values()]}

    def plot(self, path: str | Path) -> Path:
        """Draws confusion, reliability, figures of labels and values, a row per task, to a file.

        Args:
            path: Ends in .png, .svg or .pdf; one that exists is replaced.

        Raises:
            UsageError: The file cannot be written, as far as its name and folder say.
            MissingExtraError: matplotlib is not installed.
            DataError: The system cannot write it.
        """
        check_plot(path)
        rows = {one.task: one.comparison.panels(one.labels) for one in self.tasks.values()}
        return save_panels(rows, path)
