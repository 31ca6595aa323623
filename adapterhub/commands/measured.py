"""The metrics of a task by the rows that they are of, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterhub.commands.printing import print_table
from adapterhub.diagnostics import figure_text, rows_text

if TYPE_CHECKING:
    from adapterhub.specs import TaskSpec


def by_rows(spec: TaskSpec) -> dict[str, str]:
    """Returns metrics as text, by which rows they are of and what these had done before."""
    rows: dict[str, list[str]] = {}
    for metric in spec.metrics:
        where = rows_text(metric, spec.used_for(metric))
        rows.setdefault(where, []).append(f"{metric.name} {figure_text(metric.value)}")
    return {where: ", ".join(figures) for where, figures in rows.items()}


def print_risks(spec: TaskSpec) -> None:
    """Prints what other minimums of confidence would cost, if that was measured."""
    from adapterhub.specs import RISK_COLUMNS, risk_cells

    if spec.abstention is not None and spec.abstention.table:
        rows = [risk_cells(point) for point in spec.abstention.table]
        print_table(RISK_COLUMNS[: len(rows[0])], rows)


def split_values(spec: TaskSpec) -> list[dict[str, object]]:
    """Returns the same as values: one object per split."""
    splits = dict.fromkeys(metric.split for metric in spec.metrics)
    values: list[dict[str, object]] = []
    for split in splits:
        own = [metric for metric in spec.metrics if metric.split == split]
        used_for = spec.used_for(own[0])
        values.append(
            {
                "split": split,
                "rows": own[0].rows,
                "used_for": None if used_for is None else list(used_for),
                "seen": own[0].seen,
                "metrics": {metric.name: metric.value for metric in own},
            }
        )
    return values
