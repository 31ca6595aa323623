"""The tasks of one run, all of them checked before torch is imported."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.errors import UsageError, nearest
from adapterhub.store.registry import NEAREST, registry_to_write
from adapterhub.store.room import check_room
from adapterhub.training.evaluation.extra import require_extra
from adapterhub.training.options import TrainingOptions
from adapterhub.training.prepare import TrainingJob, prepare
from adapterhub.training.several.entries import (
    TaskEntry,
    check_entries,
    each_target,
    entries_of,
    given_options,
)
from adapterhub.training.several.rows_once import RowsOnce
from adapterhub.training.several.task_file import is_task_file, read_task_file

if TYPE_CHECKING:
    from adapterhub.model.backbone.open_backbone import Backbone


@dataclass(frozen=True, slots=True, eq=False)
class TaskList:
    """The tasks of one run, as they are given.

    Attributes:
        entries: One per task.
        registry: The registry that gets all of them; None writes nothing.
        backbone: The backbone of all of them, as `train` takes it.
    """

    entries: tuple[TaskEntry, ...]
    registry: str | Path | None = NEAREST
    backbone: str | Path | Backbone | None = None

    def only(self, names: Collection[str]) -> TaskList:
        """Returns some of the tasks.

        Raises:
            UsageError: There is no task of a name.
        """
        known = [entry.name for entry in self.entries]
        for name in names:
            if name not in known:
                hint = nearest(name, known)
                meant = f" Did you mean '{hint}'?" if hint else ""
                raise UsageError(f"The list has no task '{name}'; it has {_listed(known)}.{meant}")
        return replace(self, entries=tuple(one for one in self.entries if one.name in names))


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def list_tasks(
    tasks: object,
    *,
    data: object = None,
    options: object = None,
    registry: str | Path | None = NEAREST,
    backbone: str | Path | Backbone | None = None,
) -> TaskList:
    """Returns the tasks of one run, which may be listed in a file.

    Args:
        tasks: As `train_tasks` takes them, and so are the others.
        data: The rows of tasks that give none.
        options: Those of the call.
        registry: The registry; NEAREST gives way to that of a file.
        backbone: The backbone; None gives way to that of a file.

    Raises:
        UsageError: They are given in another form, or two have the same name.
        DataError: The file cannot be read, or lists no tasks.
    """
    given = given_options(options)
    if is_task_file(tasks):
        file = read_task_file(Path(str(tasks)), data=data, options=given)
        entries: Sequence[TaskEntry] = file.entries
        registry = file.registry or registry if registry == NEAREST else registry
        backbone = file.backbone if backbone is None else backbone
    else:
        entries = entries_of(tasks, data=data, common=given)
    found: list[TaskEntry] = []
    for entry in entries:
        with entry.named_in_errors():
            found += each_target(entry)
    check_entries(found)
    return TaskList(tuple(found), registry, backbone)


def prepare_tasks(tasks: TaskList) -> tuple[TrainingJob, ...]:
    """Returns the training of all tasks, whose options, names and rows fit; needs no torch.

    Data that several tasks have are read once. Of tasks with different targets of the same rows,
    none sees the targets of the others, and each leaves out the rows without its own.

    Raises:
        AdapterHubError: As `train`, with the name of the task.
    """
    if tasks.registry is not None:
        check_room(registry_to_write(tasks.registry))
    require_extra()
    entries = tasks.entries
    names = [entry.name for entry in entries]
    all_options = []
    for entry in entries:
        with entry.named_in_errors():
            options = entry.training_options()
            _check_earlier(options, names)
            all_options.append(options)
    rows = RowsOnce()
    jobs = []
    for entry, options in zip(entries, all_options, strict=True):
        with entry.named_in_errors():
            options = rows.held_out(entry, options)
            job = prepare(
                rows.of_training(entry, options),
                task=entry.name,
                options=options,
                registry=tasks.registry,
                backbone=tasks.backbone,
                called=f"{entry.name}: ",
            )
        jobs.append(job)
    return tuple(jobs)


def _check_earlier(options: TrainingOptions, names: Collection[str]) -> None:
    """Checks that no task needs the adapter of another one of the run, which is not saved by then.

    Raises:
        UsageError: It does.
    """
    adapter = options.adapter
    option = "adapter_of" if adapter is None else "continue_from"
    earlier = options.adapter_of if adapter is None else adapter.continue_from
    if earlier in names:
        raise UsageError(
            f"Option {option}: '{earlier}' is trained in the same run, which saves all tasks at "
            f"its end. Train it in a run before this one, or name a version that is there, such as "
            f"'{earlier}:1'."
        )
