"""One call in three stages, which a pipeline can overlap: prepare, compute, decode.

`prepare` reads strings and tokenises them, `compute` runs the encoder, `decode` makes predictions.
Each may run in a thread of its own; the tasks are those of one snapshot, so they stay the same
however often the stages run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from adapterhub.decoding import BEST, AnswerOptions
from adapterhub.errors import NonFiniteError, UnknownTaskError, UsageError, check_type
from adapterhub.inputs import FieldInputs
from adapterhub.model.encoder.tokens import TokenBatch
from adapterhub.model.execution.call import (
    Request,
    make_request,
    read_rows,
    requested_mask,
    requested_of,
    task_scores,
)
from adapterhub.model.execution.passes import Keep, Kept
from adapterhub.model.execution.resident import ResidentTask
from adapterhub.model.execution.row_outputs import TrunkOutput, joined
from adapterhub.model.execution.run_trunk import (
    ExecutionContext,
    Piece,
    compute_piece,
    finish_piece,
    prepare_pieces,
)
from adapterhub.plan import Plan, Trunk, make_plan
from adapterhub.results import Provenance, RowError, Scores, TaskScores
from adapterhub.specs import TaskSpec, check_confidence

Watch = Callable[[int, int], object]
"""(rows, tokens) since it was called last. All rows add up to those of `prepare`; what it raises
stops the call."""

FindKept = Callable[[Trunk, Sequence[tuple[str, ...]]], Kept]
"""Returns the features that are known of the good rows of a trunk, given their strings."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedTrunk:
    """The rows of one trunk, ready for the encoder.

    Attributes:
        trunk: What is computed.
        given: Its good and bad rows.
        pieces: The good rows.
    """

    trunk: Trunk
    given: FieldInputs
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Rows that are ready for the encoder.

    Attributes:
        request: The rows as given.
        trunks: Those of the plan.
    """

    request: Request
    trunks: tuple[PreparedTrunk, ...]

    @property
    def pieces(self) -> Iterator[Piece]:
        """Yields the rows of all trunks."""
        return (piece for trunk in self.trunks for piece in trunk.pieces)

    @property
    def replayed(self) -> frozenset[str]:
        """Returns the tasks that are computed from kept features, without the encoder."""
        return frozenset(n for one in self.pieces if one.replayed for n in one.replayed.tasks)

    @property
    def encoded(self) -> frozenset[str]:
        """Returns the tasks that the encoder runs for."""
        return frozenset(n for one in self.pieces if one.trunk for n in one.trunk.tasks)

    @property
    def tokens(self) -> int:
        """Returns the tokens that the encoder will read, summed over trunks."""
        return sum(batch.tokens for piece in self.pieces for batch in piece.batches)


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """Rows with their logits.

    Attributes:
        prepared: The rows.
        outputs: The outputs of each piece, by trunk.
    """

    prepared: Prepared
    outputs: tuple[tuple[TrunkOutput, ...], ...]


@dataclass(frozen=True, eq=False)
class ResidentCall:
    """Tasks of one snapshot with their plan, to score any number of rows; thread-safe.

    Attributes:
        tasks: The tasks by the names of the call.
        plan: What is computed; its readings name the columns that the rows have.
        context: The encoder, its tokenizer and the maximum number of windows.
        answers: What is wanted of the predictions.
    """

    tasks: Mapping[str, ResidentTask]
    plan: Plan
    context: ExecutionContext
    answers: AnswerOptions = BEST

    @classmethod
    def of(
        cls,
        tasks: Mapping[str, ResidentTask],
        *,
        context: ExecutionContext,
        fields: Mapping[str, Mapping[str, str]] | None = None,
        answers: AnswerOptions = BEST,
    ) -> ResidentCall:
        """Returns the call of some tasks.

        Args:
            tasks: The tasks by the names of the call.
            context: The encoder, its tokenizer and the maximum number of windows.
            fields: By task, the column that a field is read from, by field; other fields are read
                by their name.
            answers: What is wanted of the predictions.

        Raises:
            UsageError: A task or field is not known, or none of the tasks can abstain.
        """
        check_confidence(answers, {name: task.spec.row for name, task in tasks.items()})
        check_fields({name: task.spec for name, task in tasks.items()}, fields)
        read = {
            name: reading_spec(task.spec, (fields or {}).get(name, {}))
            for name, task in tasks.items()
        }
        return cls(tasks, make_plan(read), context, answers)

    @property
    def specs(self) -> dict[str, TaskSpec]:
        """Returns the specs of the tasks by name."""
        return {name: task.spec for name, task in self.tasks.items()}

    @property
    def made_by(self) -> dict[str, Provenance]:
        """Returns the version and digest of the tasks by name."""
        return {name: task.made_by for name, task in self.tasks.items()}

    def prepare(self, rows: Sequence[object], *, find: FindKept | None = None) -> Prepared:
        """Returns rows ready for the encoder; bad ones are among the errors of `decode`.

        Args:
            rows: Strings or records.
            find: Returns features that were kept before; tasks without an adapter that read no
                others are computed from them, bit-equal and without the encoder.
        """
        request = make_request(tuple(rows), self.answers, on_error="skip", logits=False)
        return self.prepare_request(request, find=find)

    def prepare_request(self, request: Request, *, find: FindKept | None = None) -> Prepared:
        """Returns the rows of a request ready for the encoder; `find` as in `prepare`.

        Raises:
            InputError: A row is bad, and bad rows are not skipped.
        """
        trunks = []
        given = read_rows(request, self.plan, self.context.tokenizer)
        for trunk, good in zip(self.plan.trunks, given, strict=True):
            pieces = prepare_pieces(
                trunk,
                self.tasks,
                good.inputs,
                context=self.context,
                requested=requested_mask(request, trunk, good),
                kept=find(trunk, good.inputs) if find and good.inputs else None,
            )
            trunks.append(PreparedTrunk(trunk, good, tuple(pieces)))
        return Prepared(request, tuple(trunks))

    def compute(
        self, prepared: Prepared, *, watch: Watch | None = None, keep: Keep | None = None
    ) -> Computed:
        """Returns the logits of prepared rows.

        Args:
            prepared: From `prepare`.
            watch: Called after every batch of the encoder.
            keep: Receives the pooled features of the trunks' taps that can be kept; not those of
                trunks in several pieces, see `prepare_pieces`.
        """
        progress = None if watch is None else _Progress(prepared, watch)
        outputs = tuple(
            tuple(
                compute_piece(
                    piece,
                    self.tasks,
                    encoder=self.context.encoder,
                    watch=None if progress is None else progress.of(piece),
                    keep=keep if len(trunk.pieces) == 1 else None,
                )
                for piece in trunk.pieces
            )
            for trunk in prepared.trunks
        )
        if progress is not None:
            progress.end()
        return Computed(prepared, outputs)

    def decode(self, computed: Computed) -> Scores:
        """Returns the predictions of computed rows, None in bad rows.

        Raises:
            NonFiniteError: The logits of a task contain NaN or infinity.
        """
        request = computed.prepared.request
        scores: dict[str, TaskScores] = {}
        errors: list[RowError] = []
        for prepared, outputs in zip(computed.prepared.trunks, computed.outputs, strict=True):
            trunk, given = prepared.trunk, prepared.given
            for bad in given.bad:
                errors.append(RowError(bad.row, bad.problem, requested_of(request, bad.row, trunk)))
            output = self._joined(prepared, outputs)
            for name in trunk.tasks:
                scores[name] = task_scores(name, self.tasks[name], given, output, request)
        ordered = {name: scores[name] for name in self.tasks}
        return Scores(ordered, tuple(sorted(errors, key=lambda error: error.row)))

    def score(self, request: Request) -> Scores:
        """Returns the predictions of a request: the three stages, one after the other.

        Raises:
            InputError: A row is bad, and bad rows are not skipped.
            NonFiniteError: The logits of a task contain NaN or infinity.
        """
        return self.decode(self.compute(self.prepare_request(request)))

    def _joined(
        self, prepared: PreparedTrunk, outputs: Sequence[TrunkOutput]
    ) -> TrunkOutput | None:
        """Returns the outputs of a trunk for its good rows, or None where there are none."""
        finished = [
            finish_piece(piece, output, self.tasks)
            for piece, output in zip(prepared.pieces, outputs, strict=True)
        ]
        if not finished:
            return None
        try:
            return joined(finished)
        except NonFiniteError as error:
            # The trunk counts the good rows only.
            raise NonFiniteError(error.task, prepared.given.rows[error.row]) from error


class _Progress:
    """Tells a watcher how many of all rows the work that is done amounts to."""

    def __init__(self, prepared: Prepared, watch: Watch) -> None:
        self._watch = watch
        self._rows = len(prepared.request.rows)
        self._work = sum(piece.work for piece in prepared.pieces)
        self._done = self._told = 0

    def of(self, piece: Piece) -> Callable[[TokenBatch], None]:
        """Returns what is called after every batch of a piece."""
        passes = 0 if piece.trunk is None else max(1, piece.trunk.passes)
        return lambda batch: self._advance(batch.tokens, batch.tokens * passes)

    def end(self) -> None:
        """Tells the rest, such as the rows of a call without passes."""
        if self._told < self._rows:
            self._watch(self._rows - self._told, 0)

    def _advance(self, tokens: int, work: int) -> None:
        self._done += work
        rows = self._rows * self._done // self._work - self._told
        self._told += rows
        self._watch(rows, tokens)


def check_fields(
    specs: Mapping[str, TaskSpec], fields: Mapping[str, Mapping[str, str]] | None
) -> None:
    """Checks that columns are named for fields of tasks that are there.

    Raises:
        UsageError: They are not.
    """
    check_type(fields, (Mapping, type(None)), "fields", "columns by field, by task")
    for name, columns in (fields or {}).items():
        check_type(columns, Mapping, f"fields of '{name}'", "columns by field")
        if name not in specs:
            raise UnknownTaskError(name, specs, what="task in this call")
        own = specs[name].fields
        for field in columns:
            if field not in own:
                raise UsageError(
                    f"Task '{name}' has no field '{field}'; it reads {' + '.join(own)}."
                )


def reading_spec(spec: TaskSpec, columns: Mapping[str, str]) -> TaskSpec:
    """Returns the spec of a task that reads columns of other names than its fields."""
    read = tuple(columns.get(field, field) for field in spec.fields)
    return spec if read == spec.fields else spec.model_copy(update={"fields": read})
