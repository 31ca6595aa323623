"""Rows that come in their own time -> predictions in order, each as soon as it is there."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from adapterhub.errors import InputError, NonFiniteError, UsageError
from adapterhub.inputs import Record
from adapterhub.results import Answer, Scores
from adapterhub.rows.tables import is_table, table_rows
from adapterhub.scoring.pipeline.stages import (
    IN_FLIGHT,
    Check,
    Features,
    RowWindow,
    run_stages,
)
from adapterhub.scoring.pipeline.windows import take_windows
from adapterhub.scoring.sources.arriving import arriving
from adapterhub.scoring.sources.row_source import RowSource

if TYPE_CHECKING:
    from adapterhub.model.execution.stages import Computed, Prepared, ResidentCall


@contextlib.contextmanager
def row_windows(
    source: RowSource, features: Callable[[], Features | None]
) -> Iterator[Iterable[RowWindow | None]]:
    """Yields the rows of a source in windows; those that come in their own time as they come.

    Args:
        source: The rows.
        features: Returns where the features of the next window are kept.
    """
    if not source.is_stream:
        windows = take_windows(source.rows, sys.maxsize)
        yield (RowWindow(one.rows, features=features()) for one in windows if one.rows)
        return
    with arriving(source.rows, idle=IN_FLIGHT) as lists:
        yield (None if rows is None else RowWindow(rows, features=features()) for rows in lists)


def stream_answers(
    call: ResidentCall,
    rows: Record | Iterable[Record],
    *,
    on_error: Literal["raise", "skip"] = "raise",
) -> Generator[dict[str, Answer], None, None]:
    """Returns an iterator over the predictions of rows: `{task: answer}` for each.

    Rows that have arrived while the encoder was busy are scored together. When the iterator is
    closed, the computation ends with its batch and nothing more is read.

    Args:
        call: The tasks.
        rows: As in `Hub.stream`.
        on_error: As in `Hub.stream`.

    Raises:
        UsageError: `on_error` is not valid.
        InputError: `rows` is no iterable of rows.
    """
    if on_error not in ("raise", "skip"):
        raise UsageError(f"on_error is {on_error!r}; expected 'raise' or 'skip'.")
    return _answers(call, _iterable(rows), strict=on_error == "raise")


def _iterable(rows: Record | Iterable[Record]) -> Iterable[object]:
    if isinstance(rows, str | Mapping):
        return (rows,)
    if is_table(rows):
        return (row.values for row in table_rows(rows, "rows"))
    # Bytes are iterable too, but over numbers.
    if isinstance(rows, bytes | bytearray | memoryview) or not isinstance(rows, Iterable):
        raise InputError(
            f"Rows are of type {type(rows).__name__}; expected an iterable of strings or records."
        )
    return rows


def _answers(
    call: ResidentCall, rows: Iterable[object], *, strict: bool
) -> Generator[dict[str, Answer], None, None]:
    with arriving(rows, idle=IN_FLIGHT) as lists:
        windows = _run(call, _counted(lists))
        with contextlib.closing(windows):
            for first, scores in windows:
                yield from _rows(scores, first, strict=strict)


def _counted(
    lists: Iterable[list[object] | None],
) -> Iterator[tuple[int, list[object]] | None]:
    """Yields lists of rows with the index of their first one."""
    first = 0
    for rows in lists:
        yield None if rows is None else (first, rows)
        first += len(rows or ())


def _run(
    call: ResidentCall, windows: Iterable[tuple[int, list[object]] | None]
) -> Generator[tuple[int, Scores], None, None]:
    """Yields the scores of each list of rows, with the index of its first one."""

    def prepare(window: tuple[int, list[object]]) -> tuple[int, Prepared]:
        return window[0], call.prepare(window[1])

    def compute(prepared: tuple[int, Prepared], check: Check) -> tuple[int, Computed]:
        return prepared[0], call.compute(prepared[1], watch=lambda *_: check())

    def finish(computed: tuple[int, Computed]) -> tuple[int, Scores]:
        first = computed[0]
        try:
            return first, call.decode(computed[1])
        except NonFiniteError as error:
            raise NonFiniteError(error.task, first + error.row) from error

    return run_stages(windows, prepare=prepare, compute=compute, finish=finish)


def _rows(scores: Scores, first: int, *, strict: bool) -> Iterator[dict[str, Answer]]:
    bad = {error.row: error.problem for error in scores.errors}
    for index, answers in enumerate(zip(*scores.values(), strict=True)):
        if strict and index in bad:
            raise InputError(bad[index], row=first + index)
        yield dict(zip(scores, answers, strict=True))
