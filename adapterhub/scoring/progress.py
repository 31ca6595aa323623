"""How far a run is: a bar on a terminal, or lines of JSON for programs; at least once a second."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Literal, Protocol

from tqdm import tqdm

from adapterhub.errors import AdapterHubError

ProgressMode = Literal["auto", "bar", "json", "off"]

_INTERVAL = 0.8
"""Seconds between two renderings, so that there is one in every second on a busy machine too."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a run is.

    Attributes:
        rows: Rows that are done, those of earlier runs included.
        resumed_rows: Rows that earlier runs did.
        total: All rows, as far as they can be counted; None where they cannot.
        tokens: Tokens that this run gave to the encoder.
        elapsed: Seconds since its start.
        passes_per_text: Passes through the block that the plan takes per text.
        done: Whether the run has come to its end.
    """

    rows: int
    resumed_rows: int
    total: int | None
    tokens: int
    elapsed: float
    passes_per_text: float
    done: bool = False

    @property
    def rows_per_second(self) -> float:
        """Returns the rows of this run per second."""
        return (self.rows - self.resumed_rows) / max(self.elapsed, 1e-9)

    @property
    def tokens_per_second(self) -> float:
        """Returns the tokens of this run per second."""
        return self.tokens / max(self.elapsed, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Returns the seconds to the end at this speed; None where that is not known."""
        if self.done:
            return 0.0
        if self.total is None or self.rows <= self.resumed_rows:
            return None
        return max(self.total - self.rows, 0) / self.rows_per_second

    def line(self) -> str:
        """Returns it as one line of JSON."""
        left = self.seconds_left
        values = {
            **asdict(self),
            "elapsed": round(self.elapsed, 3),
            "rows_per_second": round(self.rows_per_second, 1),
            "tokens_per_second": round(self.tokens_per_second, 1),
            "seconds_left": None if left is None else round(left, 1),
        }
        return json.dumps(values)


class Progress:
    """Counts of a run, which any thread may add to."""

    def __init__(self, *, resumed_rows: int = 0, passes_per_text: float = 0) -> None:
        self._lock = threading.Lock()
        self._started = time.perf_counter()
        self._now = Snapshot(resumed_rows, resumed_rows, None, 0, 0.0, passes_per_text)

    def advance(self, rows: int = 0, tokens: int = 0) -> None:
        """Adds what was done since the last call.

        Args:
            rows: Rows, bad ones included.
            tokens: Tokens that the encoder read.
        """
        with self._lock:
            now = self._now
            self._now = replace(now, rows=now.rows + rows, tokens=now.tokens + tokens)

    def resume(self, rows: int) -> None:
        """Adds rows that an earlier run did, which do not count for the speed."""
        with self._lock:
            now = self._now
            resumed = now.resumed_rows + rows
            self._now = replace(now, rows=now.rows + rows, resumed_rows=resumed)

    def expect(self, total: int | None) -> None:
        """Sets the number of all rows, which may be an estimate."""
        with self._lock:
            self._now = replace(self._now, total=total)

    def snapshot(self, *, done: bool = False) -> Snapshot:
        """Returns how far the run is now.

        Args:
            done: Whether it has come to its end, so that all rows are those that are done.
        """
        with self._lock:
            now = self._now
        elapsed = time.perf_counter() - self._started
        # An estimate may be too low.
        total = now.rows if done else None if now.total is None else max(now.total, now.rows)
        return replace(now, elapsed=elapsed, total=total, done=done)


class _Display(Protocol):
    def show(self, now: Snapshot) -> None: ...

    def close(self) -> None: ...


class _Lines:
    """Writes one JSON object per line to stderr."""

    def show(self, now: Snapshot) -> None:
        sys.stderr.write(f"{now.line()}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Does nothing: stderr stays open."""


class _QuietTqdm(tqdm):  # type: ignore[misc]
    monitor_interval = 0  # without a thread of its own, which would outlive the run


class _Bar:
    """A bar on stderr."""

    def __init__(self) -> None:
        self._bar: _QuietTqdm | None = None

    def show(self, now: Snapshot) -> None:
        if self._bar is None:
            # From where the run is: what was done before counts for no speed.
            self._bar = _QuietTqdm(
                total=now.total,
                initial=now.resumed_rows,
                unit="row",
                mininterval=0,
                file=sys.stderr,
            )
        self._bar.total = now.total
        speed = f"{now.tokens_per_second:,.0f} tokens/s"
        passes = f"{now.passes_per_text:g} passes/text"
        self._bar.set_postfix_str(f"{speed}, {passes}", refresh=False)
        self._bar.update(now.rows - self._bar.n)
        self._bar.refresh()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


@contextlib.contextmanager
def watching(
    mode: ProgressMode | bool = "auto",
    *,
    total: int | Callable[[], int | None] | None = None,
    resumed_rows: int = 0,
    passes_per_text: float = 0,
) -> Iterator[Progress]:
    """Yields what counts a run, and shows it from a thread of its own until the block ends.

    The last rendering is of the end of the block. What cannot be written stops the display, not
    the run.

    Args:
        mode: `auto` and `bar` show a bar if stderr is a terminal, `json` writes lines to stderr,
            `off` shows nothing; True is `auto`, False `off`.
        total: All rows, or what counts them, which is called in the thread; None if not known.
        resumed_rows: Rows that were done by earlier runs.
        passes_per_text: Of the plan.
    """
    progress = Progress(resumed_rows=resumed_rows, passes_per_text=passes_per_text)
    display = _display(mode)
    if display is None:
        yield progress
        return
    ended = threading.Event()
    # Counting the rows of a large file may take longer than the run.
    counting = threading.Thread(
        target=_count, args=(progress, total), name="adapterhub-count", daemon=True
    )
    showing = threading.Thread(
        target=_show, args=(progress, display, ended), name="adapterhub-progress", daemon=True
    )
    counting.start()
    showing.start()
    is_whole = False
    try:
        yield progress
        is_whole = True
    finally:
        ended.set()
        showing.join()
        with _until_unread(), contextlib.closing(display):
            display.show(progress.snapshot(done=is_whole))


def _display(mode: ProgressMode | bool) -> _Display | None:
    # Python has no stderr where the shell closed it.
    if mode in ("off", False) or sys.stderr is None:
        return None
    if mode == "json":
        return _Lines()
    return _Bar() if sys.stderr.isatty() else None


def _count(progress: Progress, total: int | Callable[[], int | None] | None) -> None:
    # What is wrong with the rows, the run itself meets and raises.
    with contextlib.suppress(AdapterHubError):
        progress.expect(total() if callable(total) else total)


def _show(progress: Progress, display: _Display, ended: threading.Event) -> None:
    with _until_unread():
        display.show(progress.snapshot())
        while not ended.wait(_INTERVAL):
            display.show(progress.snapshot())


def _until_unread() -> contextlib.suppress:
    """Returns what ends a block where nobody reads stderr any more, or it is closed."""
    return contextlib.suppress(OSError, ValueError)
