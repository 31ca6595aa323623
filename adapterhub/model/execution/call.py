"""One call: rows and resident tasks in, scores in input order out, by exactly one plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from adapterhub.errors import InputError, NonFiniteError, UsageError
from adapterhub.inputs import FieldInputs, read_fields
from adapterhub.model.execution.passes import Wanted
from adapterhub.model.execution.resident import ResidentTask
from adapterhub.model.execution.run_trunk import Answering, TrunkOutput, run_trunk
from adapterhub.model.heads.heads import DECODERS, Array, RowLogits
from adapterhub.plan import Plan, Trunk, make_plan
from adapterhub.results import Answer, RowError, Scores, TaskScores
from adapterhub.specs import TaskSpec


@dataclass(frozen=True, slots=True, eq=False)
class Asking:
    """What a call asks: which tasks of which rows.

    Attributes:
        rows: The rows as they were given.
        tasks: Per row, the tasks that are asked of it; None where all are asked of all.
        skip: Whether bad rows are skipped instead of refused.
    """

    rows: tuple[object, ...]
    tasks: tuple[frozenset[str], ...] | None
    skip: bool


@dataclass(frozen=True, slots=True, eq=False)
class Reads:
    """The plan of a call and the rows that each trunk reads.

    Attributes:
        plan: What is computed.
        given: Per trunk, its good and bad rows, among those that ask one of its tasks.
    """

    plan: Plan
    given: tuple[FieldInputs, ...]


def read_rows(asking: Asking, specs: Mapping[str, TaskSpec]) -> Reads:
    """Returns what each trunk of the plan will read.

    Raises:
        InputError: A row is bad, and bad rows are not skipped.
    """
    plan = make_plan(specs)
    given = tuple(_read_trunk(asking, trunk) for trunk in plan.trunks)
    if not asking.skip:
        refuse_bad_rows(given)
    return Reads(plan, given)


def answer(
    asking: Asking,
    resident: Mapping[str, ResidentTask],
    answering: Answering,
    *,
    top_k: int | None,
    logits: bool,
) -> Scores:
    """Returns the answers of resident tasks.

    Raises:
        InputError: A row is bad, and bad rows are not skipped.
        NonFiniteError: A task gave NaN or infinity.
    """
    reads = read_rows(asking, {name: task.spec for name, task in resident.items()})
    scores: dict[str, TaskScores] = {}
    errors: list[RowError] = []
    for trunk, given in zip(reads.plan.trunks, reads.given, strict=True):
        for bad in given.bad:
            errors.append(RowError(bad.row, bad.problem, _asked_of(asking, bad.row, trunk)))
        output = _run(trunk, resident, given, answering, asking)
        for name in trunk.tasks:
            answers = Answers(resident[name], given, output, len(asking.rows))
            scores[name] = answers.scores(name, top_k=top_k, keep_logits=logits)
    ordered = {name: scores[name] for name in resident}
    return Scores(ordered, tuple(sorted(errors, key=lambda error: error.row)))


def check_options(top_k: int | None, on_error: str) -> None:
    """Checks the options of a call.

    Raises:
        UsageError: One makes no sense.
    """
    if top_k is not None and (type(top_k) is not int or top_k < 1):
        raise UsageError(f"top_k is {top_k!r}; expected 1 or more, or None for all labels.")
    if on_error not in ("raise", "skip"):
        raise UsageError(f"on_error is {on_error!r}; expected 'raise' or 'skip'.")


def refuse_bad_rows(given: Sequence[FieldInputs]) -> None:
    """Refuses rows that cannot be read.

    Raises:
        InputError: There is one; the first is named.
    """
    bad = [row for one in given for row in one.bad]
    if bad:
        first = min(bad, key=lambda row: row.row)
        more = f" ({len(bad)} bad rows in all; on_error='skip' goes on without them.)"
        raise InputError(first.problem + (more if len(bad) > 1 else ""), row=first.row)


def _read_trunk(asking: Asking, trunk: Trunk) -> FieldInputs:
    if asking.tasks is None:
        return read_fields(asking.rows, trunk.reading.fields)
    rows = [row for row, tasks in enumerate(asking.tasks) if not tasks.isdisjoint(trunk.tasks)]
    found = read_fields([asking.rows[row] for row in rows], trunk.reading.fields)
    return FieldInputs(
        rows=tuple(rows[place] for place in found.rows),
        inputs=found.inputs,
        bad=tuple(replace(bad, row=rows[bad.row]) for bad in found.bad),
    )


def _asked_of(asking: Asking, row: int, trunk: Trunk) -> tuple[str, ...]:
    if asking.tasks is None:
        return trunk.tasks
    return tuple(name for name in trunk.tasks if name in asking.tasks[row])


def _run(
    trunk: Trunk,
    resident: Mapping[str, ResidentTask],
    given: FieldInputs,
    answering: Answering,
    asking: Asking,
) -> TrunkOutput | None:
    """Returns what a trunk gives for the good rows, or None where there are none."""
    if not given.rows:
        return None
    try:
        return run_trunk(
            trunk, resident, given.inputs, answering=answering, wanted=_wanted(asking, trunk, given)
        )
    except NonFiniteError as error:
        # The trunk counts the good rows only.
        raise NonFiniteError(error.task, given.rows[error.row]) from error


def _wanted(asking: Asking, trunk: Trunk, given: FieldInputs) -> Wanted | None:
    tasks = asking.tasks
    if tasks is None:
        return None
    return {
        name: np.fromiter((name in tasks[row] for row in given.rows), np.bool_, len(given.rows))
        for name in trunk.tasks
    }


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """One task's outputs, to be spread over all rows of the call.

    Attributes:
        task: The task.
        given: The rows it could read.
        output: What its trunk gave for those; None where there were none.
        rows: Number of rows of the call.
    """

    task: ResidentTask
    given: FieldInputs
    output: TrunkOutput | None
    rows: int

    def scores(self, name: str, *, top_k: int | None, keep_logits: bool) -> TaskScores:
        """Returns the answers in input order, None in rows that were not read."""
        answers: list[Answer] = [None] * self.rows
        windows = [0] * self.rows
        truncated = [False] * self.rows
        spec = self.task.spec
        logits = None if self.output is None else self.output.logits.get(name)
        rows = self._rows(name)
        if self.output is not None and logits is not None:
            decoded = DECODERS[spec.kind](logits, spec, top_k)
            places = self.output.rows[name]
            for place, row, answer in zip(places, rows, decoded, strict=True):
                answers[row] = answer
                windows[row] = self.output.windows[place]
                truncated[row] = self.output.truncated[place]
        return TaskScores(
            kind=spec.kind,
            answers=tuple(answers),
            made_by=self.task.made_by,
            windows=tuple(windows),
            truncated=tuple(truncated),
            logits=self._spread(logits, rows) if keep_logits else None,
            top_k=top_k,
        )

    def _rows(self, name: str) -> list[int]:
        """Returns the rows of the call that the task was asked of and could read."""
        if self.output is None:
            return []
        return [self.given.rows[place] for place in self.output.rows[name]]

    def _spread(self, logits: RowLogits | None, read: list[int]) -> Array | tuple[Array, ...]:
        outputs = self.task.spec.outputs
        if self.task.spec.kind == "tagging":
            rows: list[Array] = [np.zeros((0, outputs), np.float32)] * self.rows
            if logits is not None:
                for row, values in zip(read, logits.values, strict=True):
                    rows[row] = values
            return tuple(rows)
        matrix: Array = np.full((self.rows, outputs), np.nan, np.float32)
        if logits is not None:
            matrix[read] = logits.values
        return matrix
