"""`adapterhub eval`: the metrics of tasks on labelled rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.option_fields import Only, uses
from adapterhub.commands.options import LabelledRows, Registries, split_names
from adapterhub.commands.printing import note, note_plot, print_json, print_table

if TYPE_CHECKING:
    from adapterhub.commands.verb_options import HubOptions, MeasuringOptions
    from adapterhub.evaluation.result import Evaluation
    from adapterhub.training.options import TrainingOptions

_COLUMNS = Only(("text", "pair", "target", "tokens", "heads", "join_tokens"))


@uses(
    "adapterhub.training.options:TrainingOptions",
    "adapterhub.commands.verb_options:HubOptions",
    "adapterhub.commands.verb_options:MeasuringOptions",
)
def evaluate(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Task, as in `show`; or several, as a,b.")
    ],
    data: LabelledRows,
    *,
    registry: Registries = None,
    columns: Annotated[TrainingOptions, _COLUMNS],
    loading: HubOptions,
    output: MeasuringOptions,
) -> None:
    """Measure a task on labelled rows."""
    from adapterhub.decoding import AnswerOptions
    from adapterhub.evaluation.labelled import read_labelled
    from adapterhub.remote.find import choose_backbone_key, find_all
    from adapterhub.specs import check_confidence
    from adapterhub.store.registries import open_registries

    least = AnswerOptions(min_confidence=output.min_confidence)
    loading.check_names()
    output.check_plot()
    opened = open_registries(registry)
    names = split_names([name])
    tasks = find_all(names, opened)
    key = choose_backbone_key(opened, tasks, loading.backbone)
    loading.check_backbone(opened, key)
    specs = {name: task.spec for name, task in zip(names, tasks, strict=True)}
    check_confidence(least, {name: spec.row for name, spec in specs.items()})
    labelled = read_labelled(data, specs, columns)
    # From here on it takes seconds: torch.
    from adapterhub.evaluation.evaluate import evaluate as measure
    from adapterhub.hub import Hub

    hub = Hub(opened.paths, **{**loading.model_dump(), "backbone": key})
    found = measure(hub, labelled, data, least)
    for line in found.notes:
        note(f"adapterhub: {line}")
    _print(found, as_json=output.as_json)
    if output.plot is not None:
        found.plot(output.plot)
        note_plot(output.plot, {one.task: one.comparison.names for one in found.values()})


def _print(found: Evaluation, *, as_json: bool) -> None:
    is_one = len(found) == 1
    if as_json:
        (first, *_) = found.values()
        print_json(first.as_dict() if is_one else found.as_dict())
        return
    rows: list[tuple[str, ...]] = []
    for one in found.values():
        note(f"adapterhub: {one.task} on {one.rows} rows of {one.data}")
        rows += one.figures if is_one else [(one.task, *cell) for cell in one.figures]
    print_table(("metric", "value") if is_one else ("task", "metric", "value"), rows)
