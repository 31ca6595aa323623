"""Which tasks `adapterhub score` runs on a source, and from which columns they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapterhub.commands.printing import note
from adapterhub.errors import DataError, UsageError
from adapterhub.plan import Plan, make_plan
from adapterhub.remote.find import (
    FoundTask,
    choose_backbone_key,
    choose_tasks,
    column_names,
    find,
)
from adapterhub.rows.reading import TEXT_COLUMN
from adapterhub.scoring.chunks import Request, missing_column
from adapterhub.scoring.columns import answer_columns, check_columns
from adapterhub.scoring.sources import Source
from adapterhub.specs import TaskSpec
from adapterhub.store.registry import Registry


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asked for.

    Attributes:
        tasks: References of the tasks; none for all that fit.
        text: Column of the first field of every task, or None for the field's own name.
        pair: Column of the second field, or None.
        prefix: Put before the names of the answers' columns.
        top_k: As in `Hub.score`.
        backbone: As in `Hub`.
    """

    tasks: Sequence[str]
    text: str | None
    pair: str | None
    prefix: str
    top_k: int | None
    backbone: str | None


@dataclass(frozen=True, slots=True)
class Assignment:
    """Tasks that fit a source, ready to run.

    Attributes:
        request: What is done with every row.
        specs: Task by the column of its answers.
        shown: The columns that the tasks read.
        backbone: Key of their backbone in the registry, or what the user gave.
        plan: What it costs.
    """

    request: Request
    specs: Mapping[str, TaskSpec]
    shown: tuple[str, ...]
    backbone: str | None
    plan: Plan


def assign_tasks(registry: Registry, source: Source, asked: Asked) -> Assignment:
    """Returns the tasks to run on a source: those asked for, or all that can read it.

    Raises:
        UsageError: Tasks, columns and options do not fit each other.
        DataError: The source lacks a column that a task reads.
    """
    if source.is_plain and (asked.text or asked.pair):
        raise UsageError(
            "--text-column and --pair-column name columns of records; plain texts have none."
        )
    if asked.tasks:
        tasks = choose_tasks(registry, asked.tasks)
    else:
        tasks = _fitting(registry, source, asked)
    names = {task: asked.prefix + name for task, name in column_names(tasks).items()}
    specs = {names[task.reference]: task.spec for task in tasks}
    fields = {
        field: column
        for task in tasks
        for field, column in _columns_of(task.spec, source, asked).items()
    }
    _check_fields(tasks, fields, source)
    answers = answer_columns(specs, top_k=asked.top_k)
    check_columns(source.columns, answers)
    renamed = {field: column for field, column in fields.items() if field != column}
    return Assignment(
        request=Request(names, answers, renamed, asked.top_k),
        specs=specs,
        shown=tuple(dict.fromkeys(fields.values())),
        backbone=choose_backbone_key(registry, tasks, asked.backbone),
        plan=make_plan(specs),
    )


def _columns_of(spec: TaskSpec, source: Source, asked: Asked) -> dict[str, str]:
    """Returns the column of each field of a task."""
    if source.is_plain and len(spec.fields) == 1:
        return {spec.fields[0]: TEXT_COLUMN}
    named = zip(spec.fields, (asked.text, asked.pair), strict=False)
    return {field: column or field for field, column in named}


def _fitting(registry: Registry, source: Source, asked: Asked) -> list[FoundTask]:
    """Returns all tasks of the registry whose columns are there, and says which they are."""
    keys = {entry.backbone for entry in registry.tasks.values()}
    backbone = asked.backbone
    if backbone is None and len(keys) > 1:
        raise UsageError(
            f"Registry {registry.path} has tasks of {len(keys)} backbones ({', '.join(keys)}); "
            f"name tasks with --task, or one with --backbone."
        )
    if len(keys) > 1 and backbone not in registry.backbones:
        raise UsageError(
            f"Registry {registry.path} has tasks of {len(keys)} backbones ({', '.join(keys)}), and "
            f"'{backbone}' is none of these names; give one, or name tasks with --task."
        )
    tasks = [
        find(name, registry)
        for name, entry in registry.tasks.items()
        if backbone not in registry.backbones or entry.backbone == backbone
    ]
    fitting = [
        task
        for task in tasks
        if source.common.issuperset(_columns_of(task.spec, source, asked).values())
    ]
    if not fitting:
        have = ", ".join(source.columns[:8])
        wants = sorted({" + ".join(task.spec.fields) for task in tasks}) or ["nothing"]
        raise DataError(
            source.name,
            f"its columns are {have}; the tasks of {registry.path} read {', or '.join(wants)}. "
            f"Name the column of the text with --text-column",
        )
    left = [task.reference for task in tasks if task not in fitting]
    also = f" (left out for lack of a column: {', '.join(left)})" if left else ""
    names = ", ".join(task.reference for task in fitting)
    note(f"adapterhub: no --task given, so all that can read this: {names}{also}")
    return fitting


def _check_fields(tasks: Sequence[FoundTask], fields: Mapping[str, str], source: Source) -> None:
    for task in tasks:
        for field in task.spec.fields:
            if fields[field] in source.columns:
                continue
            what = "--text-column" if field == task.spec.fields[0] else "--pair-column"
            problem = missing_column(fields[field], source.columns)
            if source.is_plain:
                problem = "plain texts have one field; give records with --file or --format jsonl."
            raise DataError(
                source.name,
                f"task '{task.reference}' reads {' + '.join(task.spec.fields)}, but {problem} "
                f"{'' if source.is_plain else f'Name it with {what}.'}".rstrip(),
            )
