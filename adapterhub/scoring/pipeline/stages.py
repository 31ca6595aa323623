"""Rows in windows -> prepare -> compute -> finish, overlapped in three threads, in input order.

The caller's thread reads and prepares, one thread computes, one finishes; at most two windows are
between reading and the caller, so memory does not grow.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from adapterhub.rows.source_row import SourceRow
from adapterhub.scoring.pipeline.chunks import ComputedChunk, PreparedChunk, RowStages, ScoredChunk

if TYPE_CHECKING:
    from adapterhub.model.execution.passes import Kept, TapFeatures
    from adapterhub.model.execution.stages import Watch
    from adapterhub.plan import Reading, TapName, Trunk

IN_FLIGHT = 2
"""Items that may be under way in `run_stages`."""

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")
Computed = TypeVar("Computed")
Result = TypeVar("Result")

Check = Callable[[], None]
"""Called often while an item is computed; raises where the run has ended."""


class StoppedError(Exception):
    """Ends a computation whose result nobody waits for; no caller sees it."""


class Features(Protocol):
    """Where the pooled features of one window are found and kept."""

    def find(self, trunk: Trunk, inputs: Sequence[tuple[str, ...]]) -> Kept:
        """Returns what is known of its good rows; see `ResidentCall.prepare`."""
        ...

    def keep(self, reading: Reading, tap: TapName, features: TapFeatures) -> None:
        """Takes what was computed of them; see `ResidentCall.compute`."""
        ...

    def write(self) -> None:
        """Keeps what was taken, after the window was computed."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class RowWindow:
    """Rows that are scored together.

    Attributes:
        rows: The rows.
        part: The number of the part of the output that they belong to.
        features: Where their features are kept; None for nowhere.
    """

    rows: Sequence[SourceRow]
    part: int = 0
    features: Features | None = None


def score_windows(
    stages: RowStages,
    windows: Iterable[RowWindow | None],
    *,
    watch: Watch | None = None,
    hand_on: Callable[[ScoredChunk], None] | None = None,
) -> Generator[ScoredChunk, None, None]:
    """Yields the outcome of each window, in order; see `run_stages` for errors and threads.

    Args:
        stages: The tasks.
        windows: The rows; None as in `run_stages`.
        watch: Called after every batch of the encoder with the rows and tokens that were done.
        hand_on: Takes each outcome in the thread that decodes, for instance to write it.

    Raises:
        NonFiniteError: The logits of a task contain NaN or infinity.
    """

    def prepare(window: RowWindow) -> tuple[RowWindow, PreparedChunk]:
        find = None if window.features is None else window.features.find
        return window, stages.prepare(window.rows, find)

    def compute(
        prepared: tuple[RowWindow, PreparedChunk], check: Check
    ) -> tuple[RowWindow, ComputedChunk]:
        window, chunk = prepared

        def advance(rows: int, tokens: int) -> None:
            check()
            if watch is not None:
                watch(rows, tokens)

        keep = None if window.features is None else window.features.keep
        return window, stages.compute(chunk, advance, keep)

    def finish(computed: tuple[RowWindow, ComputedChunk]) -> ScoredChunk:
        window, chunk = computed
        scored = replace(stages.decode(chunk), part=window.part)
        if window.features is not None:
            window.features.write()
        if hand_on is not None:
            hand_on(scored)
        return scored

    return run_stages(windows, prepare=prepare, compute=compute, finish=finish)


def run_stages(
    source: Iterable[Item | None],
    *,
    prepare: Callable[[Item], Prepared],
    compute: Callable[[Prepared, Check], Computed],
    finish: Callable[[Computed], Result],
) -> Generator[Result, None, None]:
    """Yields the result of each item of a source, in its order.

    The first error in the order of the source wins: what stands before it is finished and yielded
    first, what stands behind it is not finished. Whatever ends the run, also the caller's Ctrl-C
    or closing the iterator, no thread is left when it has ended; a computation ends at its next
    `Check`.

    Args:
        source: Read in the caller's thread. None between items says that nothing is there yet: a
            result that is under way is awaited first.
        prepare: Runs in the caller's thread.
        compute: Runs in one thread for all items, one after the other.
        finish: Runs in another, likewise; it may hand the result on.
    """
    with _Threads(compute, finish) as threads:
        items = iter(source)
        failure: Exception | None = None
        while True:
            try:
                item = next(items)
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            if item is None or threads.is_full:
                yield from threads.oldest()
            if item is not None:
                try:
                    prepared = prepare(item)
                except Exception as error:
                    failure = error
                    break
                threads.submit(prepared)
                del prepared, item  # their memory is freed as soon as they are computed
        while threads.waiting:
            yield from threads.oldest()
        if failure is not None:
            raise failure


class _Threads(Generic[Prepared, Computed, Result]):
    """One thread that computes and one that finishes, and what is under way in them."""

    def __init__(
        self,
        compute: Callable[[Prepared, Check], Computed],
        finish: Callable[[Computed], Result],
    ) -> None:
        self._compute = compute
        self._finish = finish
        self._stopped = threading.Event()
        self._computing = ThreadPoolExecutor(1, "adapterhub-compute")
        self._finishing = ThreadPoolExecutor(1, "adapterhub-finish")
        self.waiting: deque[Future[Result]] = deque()

    def __enter__(self) -> _Threads[Prepared, Computed, Result]:
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for threads in (self._computing, self._finishing):
            threads.shutdown(wait=False, cancel_futures=True)
        for threads in (self._computing, self._finishing):
            threads.shutdown()

    @property
    def is_full(self) -> bool:
        """Returns whether no other item may be under way."""
        return len(self.waiting) >= IN_FLIGHT

    def submit(self, prepared: Prepared) -> None:
        """Starts an item that was prepared."""
        computed = self._computing.submit(self._run, prepared)
        self.waiting.append(self._finishing.submit(self._end, computed))

    def oldest(self) -> Iterator[Result]:
        """Yields the result of the item that has been under way longest, if there is one."""
        if self.waiting:
            yield self.waiting.popleft().result()

    def _run(self, prepared: Prepared) -> Computed:
        self._check()
        return self._compute(prepared, self._check)

    def _end(self, computed: Future[Computed]) -> Result:
        try:
            found = computed.result()
            self._check()
            return self._finish(found)
        except BaseException:
            # What comes behind it must not be handed on.
            self._stopped.set()
            raise

    def _check(self) -> None:
        if self._stopped.is_set():
            raise StoppedError
