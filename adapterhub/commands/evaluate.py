"""`adapterhub eval`: the metrics of a task on rows with answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapterhub.commands import train_options as given
from adapterhub.commands.options import AsJson, Backbone, Device, Dtype, MaxWindows, Registry
from adapterhub.commands.printing import note, print_json, print_table


def evaluate(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Task, as in `show`.")],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Rows with answers: .jsonl, .csv, .tsv (also .gz) or .parquet."
        ),
    ],
    registry: Registry = None,
    text: given.Text = None,
    pair: given.Pair = None,
    target: given.Target = None,
    tokens: given.Tokens = None,
    join_tokens: given.JoinTokens = None,
    backbone: Backbone = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    max_windows: MaxWindows = 16,
    as_json: AsJson = False,
) -> None:
    """Measure a task on rows with answers."""
    from adapterhub.remote.find import choose_backbone_key, find, open_registry
    from adapterhub.training.options import training_options

    columns = {"text": text, "pair": pair, "target": target}
    columns |= {"tokens": tokens, "join_tokens": join_tokens}
    options = training_options(**{k: v for k, v in columns.items() if v is not None})
    opened = open_registry(registry)
    task = find(name, opened)
    # From here on it takes seconds: torch.
    from adapterhub.hub import Hub
    from adapterhub.training.data.dataset import read_for_task
    from adapterhub.training.evaluation.metrics import evaluate as measure
    from adapterhub.training.evaluation.metrics import require_extra

    require_extra()
    dataset = read_for_task(data, task.spec, options)
    key = choose_backbone_key(opened, [task], backbone)
    hub = Hub(opened.path, backbone=key, device=device, dtype=dtype, max_windows=max_windows)
    rows = [dict(zip(dataset.fields, texts, strict=True)) for texts in dataset.inputs]
    scores = hub.score(rows, name, logits=True)[name]
    metrics = measure(task.spec, scores, dataset, split="given")
    made_by = scores.made_by
    if as_json:
        values = {metric.name: metric.value for metric in metrics}
        where = {"task": made_by.task, "version": made_by.version, "sha256": made_by.sha256}
        print_json({**where, "data": str(data), "rows": len(dataset), "metrics": values})
        return
    version = "" if made_by.version is None else f":{made_by.version}"
    note(f"adapterhub: {made_by.task}{version} on {len(dataset)} rows of {data}")
    print_table(("metric", "value"), [(m.name, f"{m.value:.4f}") for m in metrics])
