"""`adapterhub train`: labelled rows in, tasks in the registry out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.option_fields import uses
from adapterhub.commands.options import LABELLED_ROWS_HELP, split_names
from adapterhub.commands.printing import counted, note, note_plot, print_json, print_line
from adapterhub.errors import RegistryError, SaveError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapterhub.commands.verb_options import OutputOptions, PlaceOptions
    from adapterhub.training.finalize import TrainedTask
    from adapterhub.training.options import TrainingOptions
    from adapterhub.training.several.prepare_tasks import TaskList

_Data = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help=f"{LABELLED_ROWS_HELP}; or a list of tasks: .yaml.",
    ),
]
_Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        "-t",
        metavar="NAME",
        help="Name of the task; of a list of tasks, those to train, as a,b. [all of a list]",
    ),
]
_Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target-column",
        "--target",
        metavar="COLUMN",
        help="Column of the target; of kind numbers also one for each, as a,b. Repeat it for one "
        "task per column, each called NAME-COLUMN; with --kind numbers all are of one task. "
        "[label, labels, score, tags or deprel]",
    ),
]


@uses(
    "adapterhub.commands.verb_options:PlaceOptions",
    "adapterhub.training.options:TrainingOptions",
    "adapterhub.commands.verb_options:OutputOptions",
)
def train(
    data: _Data,
    *,
    task: _Task = None,
    target: _Targets = None,
    place: PlaceOptions,
    options: TrainingOptions,
    output: OutputOptions,
) -> None:
    """Train a task on the frozen backbone and add it to a registry, or several tasks in one run.

    The rows are encoded once, many heads are fitted on the features, and the cheapest good one is
    kept. With --adapter or --tune the encoder is changed too, at some depths or at all of them, and
    the head trains with it.
    A .yaml file lists tasks, each with a name, data and options; options at its top apply to all,
    and options given here overrule those of the file. All texts are encoded in one run, and all
    tasks are added or none.
    In brackets: the default of an option.
    """
    from adapterhub.training.several.entries import given_options, takes_several
    from adapterhub.training.several.prepare_tasks import list_tasks
    from adapterhub.training.several.task_file import is_task_file

    output.check_plot()
    columns = target or []
    columns = [",".join(columns)] if columns and takes_several(options.kind) else columns
    if len(columns) == 1:
        options = options.model_copy(update={"target": columns[0]})
    given = given_options(options) | ({"target": columns} if len(columns) > 1 else {})
    if is_task_file(data):
        tasks = list_tasks(data, options=given, registry=place.where, backbone=place.backbone)
        _train_several(tasks if task is None else tasks.only(split_names([task])), place, output)
    elif task is None:
        raise UsageError("The new task has no name; give it with --task NAME.")
    elif len(columns) > 1:
        _train_several(
            list_tasks({task: given}, data=data, registry=place.where, backbone=place.backbone),
            place,
            output,
        )
    else:
        _train_one(data, task, place, options, output)


def _train_one(
    data: Path, task: str, place: PlaceOptions, options: TrainingOptions, output: OutputOptions
) -> None:
    from adapterhub.training.prepare import prepare

    job = prepare(data, task=task, options=options, registry=place.where, backbone=place.backbone)
    # From here on it takes seconds: torch.
    from adapterhub.training.train import run

    try:
        trained = run(job)
    except SaveError as error:
        raise _kept_elsewhere(error, {task: error.trained}, place.option) from error
    if output.as_json:
        from adapterhub.commands.trained_values import trained_values

        print_json(trained_values(trained))
    else:
        _print(trained, place.option)
    if output.plot is not None:
        trained.plot(output.plot)
        _note_plot(output.plot, {task: trained})


def _train_several(tasks: TaskList, place: PlaceOptions, output: OutputOptions) -> None:
    """Trains several tasks and prints them as one table."""
    from adapterhub.commands.verb_options import PlaceOptions
    from adapterhub.store.registry import NEAREST
    from adapterhub.training.several.prepare_tasks import prepare_tasks

    jobs = prepare_tasks(tasks)
    # From here on it takes seconds: torch.
    from adapterhub.training.several.train_tasks import run_tasks

    # A file may name the registry.
    place = PlaceOptions(
        registry=None if tasks.registry in (None, NEAREST) else Path(str(tasks.registry))
    )
    try:
        trained = run_tasks(jobs)
    except SaveError as error:
        raise _kept_elsewhere(error, error.trained, place.option) from error
    if output.as_json:
        from adapterhub.commands.trained_values import trained_values

        plan = trained.plan()
        print_json(
            {
                "tasks": [trained_values(one) for one in trained.values()],
                "passes": None if plan is None else plan.passes,
                "separate_passes": None if plan is None else plan.separate_passes,
            }
        )
    else:
        print_line(trained.render().rstrip())
        names = " ".join(f"--task {name}" for name in trained)
        note(f"adapterhub: {counted(len(trained), 'task')} in {jobs[0].registry}")
        note(f"adapterhub: try: adapterhub score {_rows(*trained.values())} {names}{place.option}")
    if output.plot is not None:
        trained.plot(output.plot)
        _note_plot(output.plot, trained)


def _kept_elsewhere(error: SaveError, trained: Mapping[str, TrainedTask], at: str) -> RegistryError:
    """Returns the error of tasks that are written to files, since their registry refuses them."""
    from adapterhub.saving import write_elsewhere

    ways = []
    for one in trained.values():
        file = shlex.quote(str(write_elsewhere(one)))
        if one.backbone.base is not None:
            ways.append(f"It is in the registry {file}, with its backbone beside it")
        else:
            ways.append(f"It is in {file}; add it with `adapterhub add {file}{at}`")
    return RegistryError(error.path, f"{error.problem} {'. '.join(ways)}")


def _note_plot(path: Path, trained: Mapping[str, TrainedTask]) -> None:
    measured = {name: one.comparison for name, one in trained.items()}
    note_plot(path, {name: one.names for name, one in measured.items() if one is not None})


def _print(trained: TrainedTask, at: str) -> None:
    from adapterhub.commands.measured import by_rows, print_risks
    from adapterhub.saving import own_folder

    print_line(trained.table.render().rstrip())
    for rows, metrics in by_rows(trained.spec).items():
        print_line(f"Measured on {rows}: {metrics}")
    print_risks(trained.spec)
    if (saved := trained.saved) is not None:
        note(f"adapterhub: {saved.task}:{saved.version} is in {saved.path}")
        if trained.backbone.base is not None:
            note(f"adapterhub: its backbone is in {own_folder(saved)}")
        note(f"adapterhub: try: adapterhub score {_rows(trained)} --task {saved.task}{at}")


def _rows(*trained: TrainedTask) -> str:
    """Returns how rows that all of the tasks can read are given to `score`."""
    plain = all(len(one.spec.fields) == 1 for one in trained)
    return '"…"' if plain else "--file rows.jsonl"
