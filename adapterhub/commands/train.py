"""`adapterhub train`: labelled rows in, a task in the registry out."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapterhub.commands.option_fields import uses
from adapterhub.commands.options import Backbone, LabelledRows, NewTask, RegistryToWrite
from adapterhub.commands.printing import note, note_plot, print_json, print_line
from adapterhub.errors import RegistryError, SaveError

if TYPE_CHECKING:
    from adapterhub.commands.verb_options import OutputOptions
    from adapterhub.specs import AdapterSpec
    from adapterhub.training.adapters.result import AdapterRow, AdapterTable
    from adapterhub.training.finalize import TrainedTask
    from adapterhub.training.heads.table import SearchTable, TableRow
    from adapterhub.training.options import TrainingOptions


@uses(
    "adapterhub.training.options:TrainingOptions",
    "adapterhub.commands.verb_options:OutputOptions",
)
def train(
    data: LabelledRows,
    *,
    task: NewTask,
    registry: RegistryToWrite = None,
    backbone: Backbone = None,
    options: TrainingOptions,
    output: OutputOptions,
) -> None:
    """Train a task on the frozen backbone and add it to a registry.

    The rows are encoded once, many heads are fitted on the features, and the cheapest good one is
    kept. With --adapter or --tune the encoder is changed too, at some depths or at all of them, and
    the head trains with it.
    In brackets: the default of an option.
    """
    from adapterhub.saving import write_elsewhere
    from adapterhub.store.registry import NEAREST
    from adapterhub.training.prepare import prepare

    output.check_plot()
    where = registry or NEAREST
    at = "" if registry is None else f" --registry {shlex.quote(str(registry))}"
    job = prepare(data, task=task, options=options, registry=where, backbone=backbone)
    # From here on it takes seconds: torch.
    from adapterhub.training.train import run

    try:
        trained = run(job)
    except SaveError as error:
        file = shlex.quote(str(write_elsewhere(error.trained)))
        way_out = f"It is in {file}; add it with `adapterhub add {file}{at}`"
        if error.trained.backbone.base is not None:
            way_out = f"It is in the registry {file}, with its backbone beside it"
        raise RegistryError(error.path, f"{error.problem} {way_out}") from error
    if output.as_json:
        print_json(_values(trained))
    else:
        _print(trained, at)
    if output.plot is not None:
        trained.plot(output.plot)
        measured = trained.comparison
        note_plot(output.plot, {} if measured is None else {task: measured.names})


def _print(trained: TrainedTask, at: str) -> None:
    from adapterhub.commands.measured import by_rows
    from adapterhub.saving import own_folder

    print_line(trained.table.render().rstrip())
    for rows, metrics in by_rows(trained.spec).items():
        print_line(f"Measured on {rows}: {metrics}")
    if (saved := trained.saved) is not None:
        note(f"adapterhub: {saved.task}:{saved.version} is in {saved.path}")
        if trained.backbone.base is not None:
            note(f"adapterhub: its backbone is in {own_folder(saved)}")
        rows = '"…"' if len(trained.spec.fields) == 1 else "--file rows.jsonl"
        note(f"adapterhub: try: adapterhub score {rows} --task {saved.task}{at}")


def _values(trained: TrainedTask) -> dict[str, object]:
    from adapterhub.commands.measured import split_values

    table, saved = trained.table, trained.saved
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
            "value": row.value,
            "best": index == table.best,
            "chosen": index == table.chosen,
        }
        for index, row in enumerate(rows)
    ]
