"""Which tasks run on a source, which columns they read, and which their predictions take."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from adapterhub.choices.columns import choice_fields, columns_read, find_choice_columns
from adapterhub.decoding import AnswerOptions
from adapterhub.errors import DataError, UsageError
from adapterhub.plan import Plan, make_plan
from adapterhub.remote.find import (
    FoundTask,
    choose_backbone_key,
    choose_tasks,
    column_names,
    find_all,
)
from adapterhub.results import prediction_columns
from adapterhub.rows.reading import TEXT_COLUMN
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.pipeline.chunks import Request, missing_column
from adapterhub.scoring.sources.row_source import RowSource
from adapterhub.scoring.sources.schema import source_columns
from adapterhub.scoring.state.records import TaskRecord
from adapterhub.specs import Role, TaskSpec, check_confidence
from adapterhub.store.registries import Registries


@dataclass(frozen=True, slots=True)
class Assignment:
    """Tasks that fit a source, ready to run.

    Attributes:
        request: How every row is scored.
        specs: Task by its name in the output.
        shown: The columns that the tasks read.
        texts: Those of them that hold a text in every good row.
        read: By name in the output the column of each field.
        notes: Which columns of other names are read, and why.
        left_out: Tasks that lack a column, where all that fit were chosen.
        backbone: Key or source of their backbone, or what the user gave.
        plan: What it costs.
        records: What a job says of each task.
    """

    request: Request
    specs: Mapping[str, TaskSpec]
    shown: tuple[str, ...]
    texts: tuple[str, ...]
    read: Mapping[str, Mapping[str, str]]
    notes: tuple[str, ...]
    left_out: tuple[str, ...]
    backbone: str | Path | None
    plan: Plan
    records: tuple[TaskRecord, ...]


def assign_columns(
    registries: Registries,
    source: RowSource,
    *,
    tasks: Sequence[str],
    options: ScoringOptions,
    backbone: str | None,
) -> Assignment:
    """Returns the tasks to run on a source, with the columns that they read and fill.

    Args:
        registries: Where tasks are looked up.
        source: The rows.
        tasks: References of the tasks; none for all of the registries that can read the source.
        options: Names of columns, and the number of labels.
        backbone: As in `Hub`.

    Raises:
        UsageError: Tasks, columns and options do not fit each other.
        DataError: The source lacks a column that a task reads.
    """
    if source.is_plain and (options.text_column or options.pair_column):
        raise UsageError(
            "--text-column and --pair-column (text_column, pair_column) name columns of records; "
            "plain texts have none."
        )
    left_out: tuple[str, ...] = ()
    if tasks:
        chosen = choose_tasks(registries, tasks)
    else:
        candidates = _candidates(registries, backbone)
        chosen = _fitting(registries, candidates, source, options)
        left_out = tuple(task.reference for task in candidates if task not in chosen)
    names = {task: options.prefix + name for task, name in column_names(chosen).items()}
    _check_names(tuple(names.values()))
    specs = {names[task.reference]: task.spec for task in chosen}
    read = {task.reference: _columns_of(task.spec, source, options) for task in chosen}
    for task in chosen:
        _check_fields(task, read[task.reference], source)
    by_name = {names[reference]: own for reference, own in read.items()}
    request = _request(chosen, names, read, source=source, options=options)
    check_confidence(request.answers, {name: spec.row for name, spec in specs.items()})
    of_texts = {name: spec for name, spec in specs.items() if not spec.row.of_choices}
    return Assignment(
        request=request,
        specs=specs,
        shown=_all_columns(specs, by_name, source),
        texts=_all_columns(of_texts, by_name, source),
        read=by_name,
        notes=tuple(_notes(specs, by_name, source)),
        left_out=left_out,
        backbone=choose_backbone_key(registries, chosen, backbone),
        plan=make_reading_plan(specs, by_name),
        records=tuple(_record(names[t.reference], t, by_name, options.top_k) for t in chosen),
    )


def _request(
    chosen: Sequence[FoundTask],
    names: Mapping[str, str],
    read: Mapping[str, Mapping[str, str]],
    *,
    source: RowSource,
    options: ScoringOptions,
) -> Request:
    """Returns how every row is scored and written.

    Raises:
        DataError: There is no column that is to be kept.
        UsageError: A prediction would take the place of a column of the input.
    """
    written = (
        prediction_columns(names[task.reference], task.spec.kind, top_k=options.top_k)
        for task in chosen
    )
    keep = _kept_columns(source, options)
    request = Request(
        names=names,
        versions={task.reference: task.pinned for task in chosen},
        columns=tuple(chain.from_iterable(written)),
        fields={task.pinned: _renamed(read[task.reference]) for task in chosen},
        choices=frozenset(task.pinned for task in chosen if task.spec.row.of_choices),
        answers=AnswerOptions(options.top_k, options.min_confidence),
        keep=keep,
        truncated=f"{options.prefix}truncated" if options.mark_truncated else None,
    )
    check_columns(source.columns if keep is None else keep, request.written)
    return request


def _kept_columns(source: RowSource, options: ScoringOptions) -> tuple[str, ...] | None:
    """Returns the columns of the input that are written, or None for all.

    Raises:
        DataError: There is no such column.
    """
    if options.keep_columns is None:
        return None
    keep = tuple(dict.fromkeys(options.keep_columns))
    if not source.columns or source.common.issuperset(keep):
        return keep
    # In JSON Lines it may come after the first rows.
    columns = source_columns(source)
    missing = next((name for name in keep if name not in columns), None)
    if missing is not None:
        raise DataError(
            source.name,
            f"{missing_column(missing, columns)} It is one of --keep-columns (keep_columns).",
        )
    return keep


def check_columns(columns: Iterable[str], predictions: Sequence[str]) -> None:
    """Checks that no prediction would take the place of a column of the input.

    Raises:
        UsageError: One would.
    """
    taken = sorted(set(columns) & set(predictions))
    if taken:
        raise UsageError(
            f"The input has a column '{taken[0]}' already; give the columns of the predictions "
            f"another prefix, for instance --prefix predicted_ (prefix='predicted_')."
        )


def _check_names(names: Sequence[str]) -> None:
    """Checks that no two tasks have one name; a former name of one may be the name of another."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"Two tasks would be called '{twice}' in the output; run them apart.")


def _columns_of(spec: TaskSpec, source: RowSource, options: ScoringOptions) -> dict[str, str]:
    """Returns the column of each field of a task."""
    if source.is_plain and len(spec.fields) == 1:
        return {spec.fields[0]: TEXT_COLUMN}
    given = dict(zip(spec.fields, (options.text_column, options.pair_column), strict=False))
    if spec.row.of_choices:
        return choice_fields(given, trained_columns(spec), source.columns)
    return field_columns(given, trained_columns(spec), columns=source.columns, common=source.common)


def field_columns(
    given: Mapping[str, str | None],
    trained: Mapping[str, str],
    *,
    columns: Collection[str],
    common: AbstractSet[str],
) -> dict[str, str]:
    """Returns the column of each field of a task.

    Args:
        given: By field the column that the user named, or None.
        trained: By field its column in the training data, where that is known.
        columns: All columns that are there.
        common: Those that all rows have.
    """
    open_fields = [field for field, column in given.items() if column is None]
    own = {field: trained[field] for field in open_fields if field in trained}
    usual = set(open_fields)
    # The column of the training first: where it is there, the data have the form of the training
    # data, in which a column of the usual name was something else.
    is_trained = len(own) == len(open_fields) and (
        common >= set(own.values()) or (not common >= usual and set(own.values()) <= set(columns))
    )
    return {f: column or (own[f] if is_trained else f) for f, column in given.items()}


def trained_columns(spec: TaskSpec) -> dict[str, str]:
    """Returns the column of each field in the training data, where the head file names it."""
    known = spec.training.columns if spec.training is not None else None
    row = spec.row
    roles: tuple[Role, ...] = row.reads if row.input_fields else ("text", "pair")
    named = zip(spec.fields, roles, strict=False)
    return {field: known[role] for field, role in named if known and role in known}


def _renamed(columns: Mapping[str, str]) -> dict[str, str]:
    return {field: column for field, column in columns.items() if field != column}


def _record(
    name: str, task: FoundTask, read: Mapping[str, Mapping[str, str]], top_k: int | None
) -> TaskRecord:
    return TaskRecord(
        name=name,
        reference=task.pinned,
        version=task.version,
        sha256=task.sha256,
        origin=task.origin,
        read=dict(read[name]),
        columns=tuple(prediction_columns(name, task.spec.kind, top_k=top_k)),
    )


def make_reading_plan(specs: Mapping[str, TaskSpec], read: Mapping[str, Mapping[str, str]]) -> Plan:
    """Returns the plan of tasks, which share passes only where they read the same columns."""
    if len({tuple(_renamed(read[name]).items()) for name in specs}) > 1:
        specs = {
            name: spec.model_copy(update={"fields": tuple(read[name].values())})
            for name, spec in specs.items()
        }
    return make_plan(specs)


def _all_columns(
    specs: Mapping[str, TaskSpec], read: Mapping[str, Mapping[str, str]], source: RowSource
) -> tuple[str, ...]:
    """Returns the columns that some tasks read."""
    columns = (
        columns_read(tuple(read[name].values()), source.columns, has_choices=spec.row.of_choices)
        for name, spec in specs.items()
    )
    return tuple(dict.fromkeys(chain.from_iterable(columns)))


def _notes(
    specs: Mapping[str, TaskSpec], read: Mapping[str, Mapping[str, str]], source: RowSource
) -> Iterator[str]:
    """Yields which columns are read where they have other names than the fields."""
    for name, columns in read.items():
        if specs[name].row.of_choices and not source.is_plain:
            found = find_choice_columns(source.columns, tuple(columns.values()))
            columns = dict(zip(columns, found.names, strict=True))
        others = {} if source.is_plain else _renamed(columns)
        if others:
            what = " and ".join(f"{field} from column '{c}'" for field, c in others.items())
            also = [f"'{field}'" for field in others if field in source.columns]
            beside = f", though there is a column {' and '.join(also)} too" if also else ""
            yield f"{name} reads {what}{beside}"


def _lacking(spec: TaskSpec, fields: Mapping[str, str], source: RowSource) -> tuple[str, ...]:
    """Returns the fields of a task whose columns are not there."""
    if spec.row.of_choices:
        found = find_choice_columns(source.columns, tuple(fields.values()))
        there = zip(fields, (found.prompt, found.choices), strict=True)
        return tuple(field for field, columns in there if not columns)
    return tuple(field for field in spec.fields if fields[field] not in source.columns)


def _candidates(registries: Registries, backbone: str | None) -> list[FoundTask]:
    """Returns all tasks of the registries that belong to one backbone."""
    tasks = {one.name: one.registry.tasks[one.task].backbone for one in registries.tasks()}
    # Several keys may list one backbone.
    prints = {
        one.name: one.registry.backbones[tasks[one.name]].fingerprint for one in registries.tasks()
    }
    listed = {entry.fingerprint for _, key, entry in registries.backbones if key == backbone}
    wanted = listed.pop() if len(listed) == 1 else None
    if wanted is None and len(set(prints.values())) > 1:
        keys = dict.fromkeys(tasks.values())
        wrong = "" if backbone is None else f", and '{backbone}' is none of these names"
        raise UsageError(
            f"{registries.noun.capitalize()} {registries.text} "
            f"{'has' if registries.is_one else 'have'} tasks of {len(keys)} backbones "
            f"({', '.join(keys)}){wrong}; name tasks with --task (tasks=…), or one of the "
            f"backbones with --backbone."
        )
    return find_all([name for name in tasks if wanted in (None, prints[name])], registries)


def _fitting(
    registries: Registries,
    tasks: Sequence[FoundTask],
    source: RowSource,
    options: ScoringOptions,
) -> list[FoundTask]:
    """Returns the tasks whose columns are there."""
    fitting = [
        task for task in tasks if source.is_blank or _has_columns(task.spec, source, options)
    ]
    if not fitting:
        have = ", ".join(source.columns[:8])
        wants = sorted({" + ".join(task.spec.fields) for task in tasks}) or ["nothing"]
        raise DataError(
            source.name,
            f"its columns are {have}; the tasks of {registries.text} read {', or '.join(wants)}. "
            f"Name the column of the text with --text-column (text_column=…)",
        )
    return fitting


def _has_columns(spec: TaskSpec, source: RowSource, options: ScoringOptions) -> bool:
    """Returns whether every row has the columns that a task reads."""
    columns = tuple(_columns_of(spec, source, options).values())
    if spec.row.of_choices:
        return find_choice_columns(source.common, columns).are_there
    return source.common.issuperset(columns)


def _check_fields(task: FoundTask, fields: Mapping[str, str], source: RowSource) -> None:
    trained = trained_columns(task.spec)
    lacking = _lacking(task.spec, fields, source)
    for field in () if source.is_blank else lacking:
        problem = "plain texts have one field; give records, with --file or --format jsonl."
        if not source.is_plain:
            option = "text" if field == task.spec.fields[0] else "pair"
            other = trained.get(field, fields[field])
            nor = "" if other == fields[field] else f" It was '{other}' in the training data."
            problem = (
                f"{missing_column(fields[field], source.columns)}{nor} Name it with "
                f"--{option}-column ({option}_column=…)."
            )
        raise DataError(
            source.name,
            f"task '{task.reference}' reads {' + '.join(task.spec.fields)}, but {problem}",
        )
