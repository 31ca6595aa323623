"""`Scorer`: tasks as a callable on batches, for the engines that people run already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import Field

from adapterhub.choices.columns import columns_read
from adapterhub.decoding import AnswerOptions
from adapterhub.inputs import read_names
from adapterhub.option_models import Option, Options, parse_options
from adapterhub.results import Provenance, Scores, column_types
from adapterhub.scoring.assign_columns import check_columns
from adapterhub.scoring.batches.batches import batch_columns, batch_rows, read_columns, with_columns
from adapterhub.scoring.batches.pinned import PinnedTask, PinnedTasks, pin_tasks
from adapterhub.store.registries import Registries, locate_registries

if TYPE_CHECKING:
    import pyarrow as pa

_Batch = TypeVar("_Batch")


class ScorerOptions(Options):
    """Options of a `Scorer`."""

    device: str = "auto"
    """As in `Hub`; `auto` and `cuda` are those that the process sees which scores."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """As in `Hub`."""
    max_windows: int = Field(default=16, ge=1)
    """As in `Hub`."""
    text_column: str | None = None
    """Column of the text, or prompt, if not the tasks' own name."""
    pair_column: str | None = None
    """Column of the second text, of tasks on pairs, or of the choices."""
    prefix: str = ""
    """Put before the names of the added columns."""
    top_k: Annotated[int | None, Option()] = Field(default=1, ge=1)
    """Number of labels per text; None for all."""
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    """As in `Hub.score`."""
    on_error: Literal["raise", "skip"] = "raise"
    """At a bad row: raise an error, or leave its predictions empty and put the reason into a
    column `error`."""


class Scorer:
    """Scores batches with many tasks in one pass; made once, used in any number of processes.

        scorer = Scorer(["sentiment-en", "topic-en"])
        dataset.map(scorer, batched=True)          # datasets
        dataset.map_batches(scorer)                # Ray Data
        frame.pipe(scorer)                         # pandas, polars

    The versions of the tasks are looked up when it is made, which needs no torch. It pickles to
    about a kilobyte; every process that receives it opens the backbone at the first batch, once
    for all Scorers of one configuration, and loads exactly these versions, or refuses. The
    registry and the backbone must be there under the same paths. Safe to use from any thread.

    Attributes:
        options: How it scores.
    """

    def __init__(
        self,
        tasks: str | Sequence[str],
        *,
        registry: str | Path | Sequence[str | Path] | None = None,
        backbone: str | Path | None = None,
        **options: Any,
    ) -> None:
        """Looks up the tasks; the backbone is not opened.

        Args:
            tasks: Names as in `Hub.load`.
            registry: As in `Hub`.
            backbone: As in `Hub`; None for that of the tasks.
            options: Of `ScorerOptions`: `device`, `dtype`, `max_windows` as in `Hub`;
                `text_column`, `pair_column`, `prefix`, `top_k`, `min_confidence` and `on_error`.

        Raises:
            UsageError: An option is not valid, or the tasks belong to different backbones.
            AdapterHubError: As `Hub.spec`.
        """
        self.options = parse_options(ScorerOptions, options)
        self._tasks: PinnedTasks = pin_tasks(
            read_names(tasks),
            Registries(locate_registries(registry)),
            backbone=backbone,
            device=self.options.device,
            dtype=self.options.dtype,
            max_windows=self.options.max_windows,
        )

    def __repr__(self) -> str:
        """Returns the versions that it runs."""
        return f"Scorer({list(self.references)})"

    @property
    def references(self) -> tuple[str, ...]:
        """Returns the names of the versions that it runs; another Scorer made of them runs these.

        Of a head file this is the path, whose content may change.
        """
        return tuple(task.reference for task in self._tasks.tasks)

    @property
    def made_by(self) -> Mapping[str, Provenance]:
        """Returns version and digest of each task by its name in the columns."""
        return {task.name: task.made_by for task in self._tasks.tasks}

    @property
    def schema(self) -> pa.Schema:
        """Returns the names and types of the columns that it adds, in order."""
        import pyarrow as pa

        return pa.schema(self._types())

    def __call__(self, batch: _Batch) -> _Batch:
        """Returns a batch of the same type, with the columns of `schema` after its own.

        Rows are neither dropped nor reordered. Arrow and polars get exactly the types of `schema`;
        NumPy and pandas have NaN where a score is missing.

        Args:
            batch: A mapping of columns (lists or arrays), a data frame of pandas or polars, an
                Arrow table or record batch.

        Raises:
            InputError: It is no batch; or a row is bad and `on_error` is `raise`.
            DataError: A column is missing, or one has the name of a column to be added.
            ResidentError: A task has other bytes here than where the Scorer was made.
            AdapterHubError: As `Hub()` and `Hub.load`.
        """
        columns = batch_columns(batch)
        types = self._types()
        check_columns(columns, list(types))
        count = batch_rows(batch)
        # Engines pass batches without rows, and without columns, to learn the type of the result.
        added = self._score(batch, columns, count) if count else {name: [] for name in types}
        return with_columns(batch, added, types)  # type: ignore[no-any-return]

    def _score(self, batch: object, columns: Sequence[str], count: int) -> dict[str, list[object]]:
        named = (self.options.text_column, self.options.pair_column)
        read = {task.name: task.columns(named, columns) for task in self._tasks.tasks}
        readings = (
            columns_read(tuple(read[task.name].values()), columns, has_choices=task.has_choices)
            for task in self._tasks.tasks
        )
        needed = dict.fromkeys(chain.from_iterable(readings))
        values = read_columns(batch, needed)
        rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        found = self._predict(rows, read)
        added = Scores(
            {self._name(task): found[task.name] for task in self._tasks.tasks}
        ).to_columns()
        if self.options.on_error == "skip":
            reasons: dict[int, str] = {}
            for error in found.errors:
                reasons.setdefault(error.row, error.problem)
            added[self._error_column] = [reasons.get(row) for row in range(count)]
        return added

    def _predict(self, rows: Sequence[object], read: Mapping[str, Mapping[str, str]]) -> Scores:
        # Imported here: they import torch, and a Scorer may be made where nothing is scored.
        from adapterhub.model.execution.call import make_request
        from adapterhub.scoring.batches.process_tasks import open_pinned

        options = self.options
        answers = AnswerOptions(options.top_k, options.min_confidence)
        request = make_request(tuple(rows), answers, on_error=options.on_error, logits=False)
        return open_pinned(self._tasks, read, answers=answers).score(request)

    def _types(self) -> dict[str, pa.DataType]:
        import pyarrow as pa

        types: dict[str, pa.DataType] = {}
        for task in self._tasks.tasks:
            types |= column_types(self._name(task), task.kind, top_k=self.options.top_k)
        return types | (
            {self._error_column: pa.string()} if self.options.on_error == "skip" else {}
        )

    def _name(self, task: PinnedTask) -> str:
        return self.options.prefix + task.name

    @property
    def _error_column(self) -> str:
        return f"{self.options.prefix}error"
