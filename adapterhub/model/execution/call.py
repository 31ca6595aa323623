"""The rows of a call before the encoder, and its predictions behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from adapterhub.choices.rows import place_name, read_inputs
from adapterhub.decoding import AnswerOptions
from adapterhub.errors import InputError, UsageError, check_type
from adapterhub.inputs import BadRow, FieldInputs, read_pair, tokenless
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.passes import Requested
from adapterhub.model.execution.resident import ResidentTask
from adapterhub.model.execution.row_outputs import TrunkOutput
from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.model.heads.kinds.table import DECODERS
from adapterhub.plan import Plan, Reading, Trunk
from adapterhub.results import Answer, TaskScores


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """The rows and options of a call.

    Attributes:
        rows: The rows as given.
        tasks: Per row, the tasks requested for it; None where every row is for all tasks.
        skip: Whether bad rows are skipped instead of refused.
        answers: What is wanted of the predictions.
        keep_logits: Whether the raw head outputs are returned as well.
    """

    rows: tuple[object, ...]
    tasks: tuple[frozenset[str], ...] | None
    skip: bool
    answers: AnswerOptions
    keep_logits: bool


def make_request(
    rows: tuple[object, ...], answers: AnswerOptions, *, on_error: str, logits: bool
) -> Request:
    """Returns the request to score each row with all tasks.

    Raises:
        UsageError: An option is not valid.
    """
    if on_error not in ("raise", "skip"):
        raise UsageError(f"on_error is {on_error!r}; expected 'raise' or 'skip'.")
    check_type(logits, bool, "logits", "True or False")
    return Request(rows, None, on_error == "skip", answers, logits)


def with_own_tasks(request: Request) -> tuple[Request, list[str]]:
    """Returns the request whose rows are pairs of record and tasks, and the names of all tasks.

    Raises:
        UsageError: A row is no such pair.
    """
    pairs = [read_pair(row) for row in request.rows]
    records = tuple(record for record, _ in pairs)
    tasks = tuple(frozenset(names) for _, names in pairs)
    names = list(dict.fromkeys(name for _, own in pairs for name in own))
    return replace(request, rows=records, tasks=tasks), names


def refuse_bad_rows(given: Sequence[FieldInputs]) -> None:
    """Refuses rows that cannot be read.

    Raises:
        InputError: There is a bad row; the message names the first one.
    """
    bad = [row for one in given for row in one.bad]
    if bad:
        first = min(bad, key=lambda row: row.row)
        more = f" ({len(bad)} bad rows in all; on_error='skip' skips them.)"
        raise InputError(first.problem + (more if len(bad) > 1 else ""), row=first.row)


def read_texts(rows: Sequence[object], reading: Reading, tokenizer: TextTokenizer) -> FieldInputs:
    """Returns the strings of a reading in every row that has them all, and the bad rows.

    A row is also bad if one of its texts leaves no token.
    """
    fields, has_choices = reading.fields, reading.choices
    given = read_inputs(rows, fields, has_choices=has_choices)
    bad: list[BadRow] = []
    for row, texts in zip(given.rows, given.inputs, strict=True):
        for place, text in enumerate(texts):
            if not tokenizer.has_tokens(text):
                is_record = isinstance(rows[row], Mapping)
                name = place_name(fields, place, has_choices=has_choices)
                what = name if is_record else "the text"
                bad.append(BadRow(row, f"{what} {tokenless(text)}"))
                break
    if not bad:
        return given
    lost = {one.row for one in bad}
    kept = [place for place, row in enumerate(given.rows) if row not in lost]
    return FieldInputs(
        rows=tuple(given.rows[place] for place in kept),
        inputs=tuple(given.inputs[place] for place in kept),
        bad=tuple(sorted((*given.bad, *bad), key=lambda one: one.row)),
    )


def read_rows(request: Request, plan: Plan, tokenizer: TextTokenizer) -> tuple[FieldInputs, ...]:
    """Returns per trunk of the plan the good and bad rows among those that request its tasks.

    Raises:
        InputError: A row is bad, and bad rows are not skipped.
    """
    given = tuple(_read_trunk(request, trunk, tokenizer) for trunk in plan.trunks)
    if not request.skip:
        refuse_bad_rows(given)
    return given


def _read_trunk(request: Request, trunk: Trunk, tokenizer: TextTokenizer) -> FieldInputs:
    own: Sequence[int] = range(len(request.rows))
    if request.tasks is not None:
        own = [row for row in own if not request.tasks[row].isdisjoint(trunk.tasks)]
    given = request.rows if request.tasks is None else [request.rows[row] for row in own]
    found = read_texts(given, trunk.reading, tokenizer)
    return FieldInputs(
        rows=tuple(own[place] for place in found.rows),
        inputs=found.inputs,
        bad=tuple(
            BadRow(own[bad.row], bad.problem + _who_reads(given[bad.row], trunk))
            for bad in found.bad
        ),
    )


def _who_reads(row: object, trunk: Trunk) -> str:
    """Returns a sentence that says which tasks read which fields, for a record that lacks one."""
    fields = trunk.reading.fields
    if not isinstance(row, Mapping) or all(name in row for name in fields):
        return ""
    names = ", ".join(f"'{name}'" for name in trunk.tasks[:3])
    more = f" and {len(trunk.tasks) - 3} more" if len(trunk.tasks) > 3 else ""
    who = f"Task {names} reads" if len(trunk.tasks) == 1 else f"Tasks {names}{more} read"
    return f" {who} {' + '.join(fields)}."


def requested_of(request: Request, row: int, trunk: Trunk) -> tuple[str, ...]:
    """Returns the tasks of a trunk that are requested for a row."""
    if request.tasks is None:
        return trunk.tasks
    return tuple(name for name in trunk.tasks if name in request.tasks[row])


def requested_mask(request: Request, trunk: Trunk, given: FieldInputs) -> Requested | None:
    """Returns which good rows of a trunk request which task; None for all."""
    tasks = request.tasks
    if tasks is None:
        return None
    return {
        name: np.fromiter((name in tasks[row] for row in given.rows), np.bool_, len(given.rows))
        for name in trunk.tasks
    }


def task_scores(
    name: str,
    task: ResidentTask,
    given: FieldInputs,
    output: TrunkOutput | None,
    request: Request,
) -> TaskScores:
    """Returns a task's predictions in input order, None in rows that were not scored."""
    answers: list[Answer] = [None] * len(request.rows)
    windows = [0] * len(request.rows)
    truncated = [False] * len(request.rows)
    logits: RowLogits | None = None
    rows: list[int] = []
    if output is not None and name in output.logits:
        logits = output.logits[name]
        places = output.rows[name]
        rows = [given.rows[place] for place in places]
        decoded = DECODERS[task.spec.kind].decode(logits, task.spec, request.answers)
        for place, row, answer in zip(places, rows, decoded, strict=True):
            answers[row] = answer
            windows[row] = output.windows[place]
            truncated[row] = output.truncated[place]
    return TaskScores(
        kind=task.spec.kind,
        answers=tuple(answers),
        made_by=task.made_by,
        windows=tuple(windows),
        truncated=tuple(truncated),
        logits=_all_logits(task, logits, rows, len(answers)) if request.keep_logits else None,
        top_k=request.answers.top_k,
    )


def _all_logits(
    task: ResidentTask, logits: RowLogits | None, scored: list[int], count: int
) -> Array | tuple[Array, ...]:
    """Returns logits for all `count` rows of a call; NaN, or no items, in rows not scored."""
    outputs = task.spec.outputs
    if task.spec.per_token or task.spec.row.of_choices:
        rows: list[Array] = [np.zeros((0, outputs), np.float32)] * count
        if logits is not None:
            for row, values in zip(scored, logits.values, strict=True):
                rows[row] = values
        return tuple(rows)
    matrix: Array = np.full((count, outputs), np.nan, np.float32)
    if logits is not None:
        matrix[scored] = logits.values
    return matrix
