"""What `train` prints of a trained task as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapterhub.specs import AdapterSpec
    from adapterhub.training.adapters.result import AdapterRow, AdapterTable
    from adapterhub.training.finalize import TrainedTask
    from adapterhub.training.heads.table import SearchTable, TableRow


def trained_values(trained: TrainedTask) -> dict[str, object]:
    """Returns what `train --json` prints of a task."""
    from adapterhub.commands.measured import split_values

    table, saved = trained.table, trained.saved
    abstention = trained.spec.abstention
    values: dict[str, object] = {"task": trained.spec.task}
    if saved is not None:
        values |= {"version": saved.version, "file": str(saved.path)}
        values |= {"aliases": dict(saved.entry.aliases)}
        values |= {"backbone": saved.entry.backbone}
    return {
        **values,
        "kind": trained.spec.kind,
        "labels": list(trained.spec.labels),
        "metrics": {metric.name: metric.value for metric in trained.metrics},
        "measured_on": trained.metrics[0].split if trained.metrics else None,
        "measured": split_values(trained.spec),
        "abstention": None if abstention is None else abstention.model_dump(mode="json"),
        "validation_rows": next((m.rows for m in trained.spec.metrics if m.split != "test"), 0),
        "apart": trained.spec.apart,
        "head": trained.spec.head.model_dump(mode="json"),
        "passes": trained.spec.deepest,
        "separate_passes": trained.spec.backbone.num_hidden_layers,
        "candidates": table.candidates,
        "metric": table.metric,
        "measure": table.measure or table.metric,
        "adapter": _adapter_values(trained.spec.adapter),
        "tuning": _tuning_values(trained),
        "tried": _tried(table),
        "notes": list(table.notes),
        "data": None if trained.data is None else trained.data.as_dict(),
    }


def _tuning_values(trained: TrainedTask) -> dict[str, object]:
    """Returns what was trained, and what that cost; zeros where it was not measured."""
    from adapterhub.saving import own_folder

    row, saved = trained.table.rows[trained.table.chosen], trained.saved
    makes_backbone = trained.tune is not None and trained.tune.makes_backbone
    return {
        "recipe": None if trained.tune is None else str(trained.tune),
        "trained": row.parameters,
        "own_passes": row.own_passes,
        "seconds_per_epoch": row.seconds,
        "memory_bytes": row.memory_bytes,
        "shares_trunk": not makes_backbone and row.own_passes < max(row.passes, 1),
        "backbone": str(own_folder(saved)) if makes_backbone and saved is not None else None,
    }


def _adapter_values(adapter: AdapterSpec | None) -> dict[str, object] | None:
    if adapter is None:
        return None
    return adapter.model_dump(mode="json", exclude={"config"})


def _tried(table: SearchTable | AdapterTable) -> list[dict[str, object]]:
    rows: Sequence[TableRow | AdapterRow] = table.rows
    return [
        {
            "passes": row.passes,
            "from_depth": getattr(row, "from_depth", None),
            "rank": getattr(row, "rank", None),
            "apart": getattr(row, "apart", False),
            "depths": list(row.head.depths),
            "pooling": row.head.pooling,
            "hidden_width": row.head.hidden_width,
            "parameters": row.parameters,
            "own_passes": row.own_passes,
            "seconds": row.seconds,
            "memory_bytes": row.memory_bytes,
            "value": None if isnan(row.value) else row.value,
            "best": index == table.best,
            "chosen": index == table.chosen,
        }
        for index, row in enumerate(rows)
    ]
