"""Scores chunks of rows in stages: good rows get their predictions, bad ones their reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from adapterhub.decoding import AnswerOptions
from adapterhub.errors import NonFiniteError, nearest
from adapterhub.results import Scores
from adapterhub.rows.reading import SourceRow
from adapterhub.specs import BackboneSpec

if TYPE_CHECKING:
    # Checked without torch: whatever makes no predictions, such as a wrong option.
    from adapterhub.model.execution.passes import Keep
    from adapterhub.model.execution.stages import Computed, FindKept, Prepared, ResidentCall, Watch


class ScoringHub(Protocol):
    """What scores rows: a `Hub`, or whatever has these methods of it."""

    registry_paths: tuple[Path, ...]
    backbone: BackboneSpec
    dtype: str
    max_windows: int

    def load(self, *references: str) -> None:
        """Makes tasks resident; see `Hub.load`."""
        ...

    def open_call(
        self,
        tasks: Sequence[str],
        *,
        fields: Mapping[str, Mapping[str, str]],
        top_k: int | None,
        min_confidence: float | None,
    ) -> ResidentCall:
        """Returns a call in stages; see `Hub.open_call`."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """How every row is scored.

    Attributes:
        names: Name of each task in the output, by the task's reference.
        versions: Name of the version to run, by reference; it stays the same in all chunks.
        columns: All columns that the predictions take.
        fields: By version, the column that a field is read from, by field; other fields are read
            by their name.
        answers: What is wanted of the predictions.
        keep: The columns of the input that are written; None for all.
        truncated: A column that says whether a row was cut; None for no such column.
        choices: The versions that read choices, whose columns each row names itself.
    """

    names: Mapping[str, str]
    versions: Mapping[str, str]
    columns: tuple[str, ...]
    fields: Mapping[str, Mapping[str, str]]
    answers: AnswerOptions
    keep: tuple[str, ...] | None = None
    truncated: str | None = None
    choices: frozenset[str] = frozenset()

    @property
    def written(self) -> tuple[str, ...]:
        """Returns all columns that are written beside those of the input."""
        return self.columns if self.truncated is None else (self.truncated, *self.columns)

    def kept(self, values: Mapping[str, object]) -> dict[str, object]:
        """Returns the values of a row that are written."""
        if self.keep is None:
            return dict(values)
        return {name: values[name] for name in self.keep if name in values}


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that has no predictions, or not of all tasks.

    Attributes:
        place: Line or row number, from 1.
        problem: What was found and what was expected.
        row: Its values, or what stood there instead of a row.
        file: The name of its file, where the source has several; else empty.
        index: Its place in the chunk, from 0.
    """

    place: int
    problem: str
    row: Mapping[str, object] | str
    file: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True)
class ScoredChunk:
    """The outcome of one chunk; every row of it is in one of the two lists.

    Attributes:
        rows: The rows that all tasks scored: the columns of the input, then the predictions.
        bad: The others.
        truncated: Places in the chunk, from 0, of good rows longer than all their windows.
        predicted: The columns of the predictions.
        replayed: The versions of tasks that were computed from kept features.
        encoded: Those that the encoder ran for.
        part: The number of the part of the output that it belongs to.
    """

    rows: tuple[dict[str, object], ...]
    bad: tuple[RejectedRow, ...]
    truncated: tuple[int, ...]
    predicted: tuple[str, ...]
    replayed: frozenset[str] = frozenset()
    encoded: frozenset[str] = frozenset()
    part: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class PreparedChunk:
    """A chunk whose rows were read.

    Attributes:
        rows: All of them.
        bad: Those that cannot be read and written as requested, by index.
        places: The indices of those that could be read.
        prepared: These rows, ready for the encoder.
    """

    rows: Sequence[SourceRow]
    bad: Mapping[int, RejectedRow]
    places: tuple[int, ...]
    prepared: Prepared


@dataclass(frozen=True, slots=True, eq=False)
class ComputedChunk:
    """A chunk with logits.

    Attributes:
        chunk: The chunk.
        computed: The logits.
    """

    chunk: PreparedChunk
    computed: Computed


class RowStages:
    """The three stages of a call on rows of a source; bad rows never stop the others."""

    def __init__(self, call: ResidentCall, request: Request) -> None:
        """Takes a call whose tasks are the versions of a request."""
        self.call = call
        self.request = request

    @classmethod
    def open(cls, hub: ScoringHub, request: Request) -> RowStages:
        """Returns the stages of a request, with its tasks resident.

        Raises:
            AdapterHubError: As `Hub.load`.
        """
        versions = list(dict.fromkeys(request.versions.values()))
        fields = {name: own for name, own in request.fields.items() if name in versions}
        call = hub.open_call(versions, fields=fields, **asdict(request.answers))
        return cls(call, request)

    def prepare(self, rows: Sequence[SourceRow], find: FindKept | None = None) -> PreparedChunk:
        """Returns a chunk ready for the encoder; `find` as in `ResidentCall.prepare`."""
        bad: dict[int, RejectedRow] = {}
        places: list[int] = []
        for index, row in enumerate(rows):
            problem = row.problem or misfit(row.values, self.request)
            if problem is not None:
                bad[index] = RejectedRow(row.place, problem, row.values or row.raw, row.file, index)
            # A row that does not fit some tasks runs with the others, so that the batches of these
            # do not depend on which tasks are beside them: the bits and the kept features are
            # those of a run without them.
            if row.problem is None:
                places.append(index)
        prepared = self.call.prepare([rows[index].values for index in places], find=find)
        return PreparedChunk(rows, bad, tuple(places), prepared)

    def compute(
        self, chunk: PreparedChunk, watch: Watch | None = None, keep: Keep | None = None
    ) -> ComputedChunk:
        """Returns a chunk with its logits; see `ResidentCall.compute`."""
        unread = len(chunk.rows) - len(chunk.places)
        if watch is not None and unread:
            watch(unread, 0)
        return ComputedChunk(chunk, self.call.compute(chunk.prepared, watch=watch, keep=keep))

    def decode(self, computed: ComputedChunk) -> ScoredChunk:
        """Returns a chunk with the predictions of all tasks.

        Raises:
            NonFiniteError: The logits of a task contain NaN or infinity.
        """
        chunk = computed.chunk
        rows, places = chunk.rows, chunk.places
        try:
            scores = self.call.decode(computed.computed)
        except NonFiniteError as error:
            # The call counts the good rows of this chunk; a user counts lines.
            raise NonFiniteError(error.task, rows[places[error.row]].place) from error
        bad = dict(chunk.bad)
        for found in scores.errors:
            index, row = places[found.row], rows[places[found.row]]
            rejected = RejectedRow(row.place, found.problem, row.values, row.file, index)
            bad.setdefault(index, rejected)
        cut = list(map(any, zip(*(task.truncated for task in scores.values()), strict=True)))
        own_rows = zip(places, cut, _named(scores, self.request).rows(), strict=True)
        good = [one for one in own_rows if one[0] not in bad]
        request, mark = self.request, self.request.truncated
        return ScoredChunk(
            rows=tuple(
                {
                    **request.kept(rows[index].values),
                    **({} if mark is None else {mark: is_cut}),
                    **own,
                }
                for index, is_cut, own in good
            ),
            bad=tuple(bad[index] for index in sorted(bad)),
            truncated=tuple(index for index, is_cut, _ in good if is_cut),
            predicted=request.written,
            replayed=chunk.prepared.replayed,
            encoded=chunk.prepared.encoded,
        )


def missing_column(column: str, columns: Sequence[str]) -> str:
    """Returns the words for a column that is not there, with the nearest one that is."""
    hint = nearest(column, columns)
    have = ", ".join(columns[:8]) + (", …" if len(columns) > 8 else "")
    meant = f" Did you mean '{hint}'?" if hint else ""
    if len(columns) == 1:
        # Spreadsheets write CSV with semicolons where numbers have a comma.
        other = next((sign for sign in ";\t|," if column in columns[0].split(sign)), None)
        meant = (
            f" Its cells stand between {other!r}; CSV has ',' and TSV a tab." if other else meant
        )
    return f"there is no column '{column}'; columns are {have}.{meant}"


def _named(scores: Scores, request: Request) -> Scores:
    return Scores(
        {name: scores[request.versions[reference]] for reference, name in request.names.items()}
    )


def misfit(values: Mapping[str, object], request: Request) -> str | None:
    """Returns why a row cannot be read and written as asked, or None."""
    for version, own in request.fields.items():
        for column in () if version in request.choices else own.values():
            if column not in values:
                return missing_column(column, [str(name) for name in values])
    for name in request.written:
        if name in values and (request.keep is None or name in request.keep):
            return f"its column '{name}' has the name of a prediction"
    return None
