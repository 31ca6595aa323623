"""`adapterhub eval`: the metrics of a task on labelled rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.option_fields import Only, uses
from adapterhub.commands.options import AsJson, LabelledRows, Registries
from adapterhub.commands.printing import note, print_json, print_table

if TYPE_CHECKING:
    from adapterhub.commands.verb_options import HubOptions
    from adapterhub.training.options import TrainingOptions

_COLUMNS = Only(("text", "pair", "target", "tokens", "heads", "join_tokens"))


@uses("adapterhub.training.options:TrainingOptions", "adapterhub.commands.verb_options:HubOptions")
def evaluate(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Task, as in `show`.")],
    data: LabelledRows,
    *,
    registry: Registries = None,
    columns: Annotated[TrainingOptions, _COLUMNS],
    loading: HubOptions,
    as_json: AsJson = False,
) -> None:
    """Measure a task on labelled rows."""
    from adapterhub.diagnostics import figure_text
    from adapterhub.remote.find import choose_backbone_key, find
    from adapterhub.store.registries import open_registries
    from adapterhub.training.data.dataset import read_for_task
    from adapterhub.training.evaluation.earlier_use import earlier_use
    from adapterhub.training.evaluation.extra import require_extra

    loading.check_names()
    opened = open_registries(registry)
    task = find(name, opened)
    key = choose_backbone_key(opened, [task], loading.backbone)
    loading.check_backbone(opened, key)
    require_extra()
    dataset = read_for_task(data, task.spec, columns)
    # From here on it takes seconds: torch.
    from adapterhub.hub import Hub
    from adapterhub.training.evaluation.metrics import evaluate as measure

    hub = Hub(opened.paths, **{**loading.model_dump(), "backbone": key})
    rows = [dict(zip(dataset.fields, texts, strict=True)) for texts in dataset.inputs]
    scores = hub.score(rows, name, logits=True)[name]
    read = ", ".join(f"{role} from '{name}'" for role, name in dataset.roles.items())
    note(f"adapterhub: read {read}")
    metrics = measure(task.spec, scores, dataset)
    used = earlier_use(data, dataset, task.spec, columns)
    if used is not None:
        note(f"adapterhub: {used}: figures of new rows can be lower")
    made_by = scores.made_by
    if as_json:
        values = {metric.name: metric.value for metric in metrics}
        where = {"task": made_by.task, "version": made_by.version, "sha256": made_by.sha256}
        rows_read = {"data": str(data), "rows": len(dataset), "columns": dataset.roles}
        rows_read["earlier_use"] = used
        print_json({**where, **rows_read, "metrics": values})
        return
    version = "" if made_by.version is None else f":{made_by.version}"
    note(f"adapterhub: {made_by.task}{version} on {len(dataset)} rows of {data}")
    print_table(("metric", "value"), [(m.name, figure_text(m.value)) for m in metrics])
