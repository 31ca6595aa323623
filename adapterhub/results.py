"""Results of a call: Scores with one TaskScores per task, and their columns in a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypedDict, overload

from adapterhub.by_task import ByTask
from adapterhub.errors import MissingExtraError
from adapterhub.kinds import KINDS, ArrowType, Kind, What
from adapterhub.specs import Pooling

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa


def prediction_columns(name: str, kind: Kind, *, top_k: int | None) -> dict[str, What]:
    """Returns what each column of a task's predictions holds, by the column's name, in order.

    The columns of different tasks never have one name, because what they hold has no dot.

    Args:
        name: Name of the task in the output.
        kind: Kind of the task.
        top_k: Number of labels per row; None for all.
    """
    return {f"{name}.{what}": what for what in _columns(kind, top_k)}


def _columns(kind: Kind, top_k: int | None) -> Mapping[What, ArrowType]:
    row = KINDS[kind]
    return row.columns if row.best_columns is None or top_k != 1 else row.best_columns


def column_types(name: str, kind: Kind, *, top_k: int | None) -> dict[str, pa.DataType]:
    """Returns the type of each column of a task's predictions; see `prediction_columns`."""
    return {f"{name}.{what}": _type(held) for what, held in _columns(kind, top_k).items()}


_LIST = "list<"


def _type(held: ArrowType) -> pa.DataType:
    import pyarrow as pa

    if isinstance(held, str):
        of_list = held.startswith(_LIST)
        one = pa.type_for_alias(held.removeprefix(_LIST).removesuffix(">"))
        return pa.list_(one) if of_list else one
    return pa.list_(pa.struct([(name, _type(alias)) for name, alias in held]))


def task_columns(
    name: str, kind: Kind, answers: Sequence[object], *, top_k: int | None
) -> dict[str, list[object]]:
    """Returns the columns of a task's predictions by name; None in rows that were not scored."""
    return {
        column: [_item(answer, what) for answer in answers]
        for column, what in prediction_columns(name, kind, top_k=top_k).items()
    }


def _item(answer: object, what: What) -> object:
    """Returns what a column holds of a prediction: a part of a mapping, or a list as it is."""
    held = answer.get(what) if isinstance(answer, Mapping) else answer
    if isinstance(held, Mapping):  # Their names are not those of columns: tasks have other ones.
        return [{"name": name, "value": value} for name, value in held.items()]
    return held


class LabelScore(TypedDict):
    """A label and its probability in [0, 1].

    The label is None where that is the most probable one's, and under the minimum of confidence.
    """

    label: str | None
    score: float


class TreeLabel(TypedDict):
    """A label of a tree, its probability in [0, 1], and the labels from the root down to it.

    Where the most probable leaf is under the minimum of confidence, it is one that stands above it;
    None, with an empty path, where that is under it too.
    """

    label: str | None
    score: float
    path: list[str]


class Value(TypedDict):
    """A regression output in the unit of the task."""

    value: float


class NamedValues(TypedDict):
    """Several numbers by name, each in its own unit."""

    values: dict[str, float]


class Entity(TypedDict):
    """An entity: type, mean probability of its tags, text, and first and end code point."""

    entity_group: str
    score: float
    word: str
    start: int
    end: int


class Choice(TypedDict):
    """A choice: its text, its place among the choices of the row from 0, and its probability.

    Text and place are None where it is under the minimum of confidence.
    """

    choice: str | None
    index: int | None
    score: float


class ParsedWord(TypedDict):
    """A word of a dependency tree.

    Attributes:
        word: Its text.
        start: Its first code point.
        end: The code point after its last.
        head: Place of its head among the words of the text, from 1; 0 for the root of the tree.
        relation: Its relation to the head.
        score: The probability of head and relation, of all parts of a word that has several.
    """

    word: str
    start: int
    end: int
    head: int
    relation: str
    score: float


class ExtractedAnswer(TypedDict):
    """An answer to a question: its probability, first and end code point in the context, and text.

    An empty one, from 0 to 0, says that the context has no answer, or none over the minimum of
    confidence.
    """

    score: float
    start: int
    end: int
    answer: str


class Vector(TypedDict):
    """The vector of a text: K numbers, whose squares sum to 1."""

    vector: list[float]


Answer = (
    LabelScore
    | list[LabelScore]
    | TreeLabel
    | list[TreeLabel]
    | Value
    | NamedValues
    | list[Entity]
    | list[ParsedWord]
    | Choice
    | list[Choice]
    | ExtractedAnswer
    | list[ExtractedAnswer]
    | Vector
    | None
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """The version of a task that made a result.

    Attributes:
        task: Name of the task.
        version: Version in the registry; None for a head file opened directly.
        sha256: Digest of the head file's bytes.
        fingerprint: Fingerprint of the backbone.
        origin: Repository and commit on the Hub, `owner/name@commit`; None for a local task.
    """

    task: str
    version: int | None
    sha256: str
    fingerprint: str
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """The newest version of a task in a registry.

    Attributes:
        name: Name of the task; with its place where several registries in use have one so named.
        version: The newest version.
        kind: Kind of its output.
        languages: The languages that it is for.
        description: One or two sentences.
        depths: The depths that its head reads.
        pooling: The pooling of its head.
        aliases: Version by alias.
        metrics: Value by metric name, as recorded in the registry.
        size: Size of the head file in bytes.
        resident: Whether any version of it is on the device.
        measured_on: The split that the metrics are of, where it is recorded.
        deprecated: Why it should not be used any more; None where it may be.
    """

    name: str
    version: int
    kind: Kind
    languages: tuple[str, ...]
    description: str
    depths: tuple[int, ...]
    pooling: Pooling
    aliases: Mapping[str, int]
    metrics: Mapping[str, float]
    size: int
    resident: bool
    measured_on: str | None = None
    deprecated: str | None = None


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that could not be scored.

    Attributes:
        row: Its index in the input.
        problem: What was found and what was expected.
        tasks: The tasks that therefore have no prediction for it.
    """

    row: int
    problem: str
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TaskScores(Sequence[Answer]):
    """The predictions of one task for N input rows; None in rows that were not scored.

    Attributes:
        kind: Kind of the task.
        answers: The predictions in input order.
        made_by: Version and digest of the task.
        windows: Number of windows of each row; 0 in rows that were not scored.
        truncated: Whether each row was truncated.
        logits: Raw fp32 head outputs, if requested: (N, K) with NaN in rows that were not scored,
            or one array per row: for tagging (tokens, K), for multiple choice (choices, 1), for
            parsing (units, K),
            log p(head) + log p(relation | head) at the head of each unit; units are words before
            those with the relation `_` are joined to the word before them. For question answering
            (tokens, 2), start and end: of each window its first token, then those of the context.
        top_k: Number of labels per row; None for all.
    """

    kind: Kind
    answers: tuple[Answer, ...]
    made_by: Provenance
    windows: tuple[int, ...]
    truncated: tuple[bool, ...]
    logits: np.ndarray | tuple[np.ndarray, ...] | None = None
    top_k: int | None = 1

    @overload
    def __getitem__(self, index: int) -> Answer: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Answer, ...]: ...

    def __getitem__(self, index: int | slice) -> Answer | tuple[Answer, ...]:
        """Returns the prediction of a row, or those of a slice of rows."""
        return self.answers[index]

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.answers)


@dataclass(frozen=True, slots=True, eq=False)
class Scores(ByTask[TaskScores]):
    """The predictions of one call by task name, as the names were given to the call.

    Attributes:
        tasks: The predictions of each task.
        errors: Rows that were skipped; empty unless `on_error="skip"`.
    """

    errors: tuple[RowError, ...] = ()

    what: ClassVar[str] = "task in these scores"

    def rows(self) -> Iterator[dict[str, object]]:
        """Yields one flat record per input row.

        Columns are `<task>.label` and `<task>.score` for one label per text, `<task>.labels` for
        several (a list of labels with their scores), `<task>.value`, `<task>.values` for several
        numbers (a list with their names), `<task>.entities`, `<task>.words`; `<task>.choice`,
        `<task>.index` and `<task>.score` for one choice per row, `<task>.choices` for several;
        `<task>.answer`, `<task>.start`, `<task>.end` and `<task>.score` for one answer per
        question, `<task>.answers` for several; `<task>.vector`, a list of numbers. Labels in a
        tree have `<task>.path` too, the labels from the root down.
        """
        columns = self.to_columns()
        names = list(columns)
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(names, values, strict=True))

    def to_columns(self) -> dict[str, list[object]]:
        """Returns the predictions as columns of equal length, named as in `rows`."""
        columns: dict[str, list[object]] = {}
        for name, scores in self.tasks.items():
            columns |= task_columns(name, scores.kind, scores.answers, top_k=scores.top_k)
        return columns

    def to_arrow(self) -> pa.Table:
        """Returns the predictions as a pyarrow table, with the columns of `rows`."""
        import pyarrow as pa

        fields: dict[str, pa.DataType] = {}
        for name, task in self.tasks.items():
            fields |= column_types(name, task.kind, top_k=task.top_k)
        return pa.table(self.to_columns(), schema=pa.schema(fields))

    def to_pandas(self) -> pd.DataFrame:
        """Returns the predictions as a pandas data frame, with the columns of `rows`.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("pandas", "pandas") from error
        return pd.DataFrame(self.to_columns())
