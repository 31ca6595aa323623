"""Progress: what it counts, that it moves by itself, and where it is quiet."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from adapterhub.errors import DataError
from adapterhub.scoring import progress
from adapterhub.scoring.progress import ProgressMode, watching


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr(progress, "_INTERVAL", 0.01)
    stderr = Terminal()
    # Not sys.stderr itself, which pytest changes between fixture and test.
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=stderr))
    return stderr


def lines(stderr: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.getvalue().splitlines()]


def threads() -> set[str]:
    return {one.name for one in threading.enumerate() if one.name.startswith("adapterhub")}


def wait_for_lines(stderr: io.StringIO, count: int) -> None:
    deadline = time.monotonic() + 10
    while stderr.getvalue().count("\n") < count and time.monotonic() < deadline:
        time.sleep(0.002)


def test_lines_come_while_nothing_is_finished_and_one_at_the_end(terminal: Terminal) -> None:
    with watching("json", total=400, resumed_rows=100, passes_per_text=4) as run:
        run.advance(tokens=900)
        wait_for_lines(terminal, 4)
        run.advance(rows=100, tokens=100)
        wait_for_lines(terminal, 6)
        run.advance(rows=150)
    found = lines(terminal)
    first, middle, last = found[0], found[-2], found[-1]
    assert first["rows"] == 100
    assert first["seconds_left"] is None
    assert (middle["rows"], middle["tokens"], middle["total"]) == (200, 1000, 400)
    # The rows of earlier runs count for no speed.
    assert middle["rows_per_second"] == pytest.approx(100 / middle["elapsed"], rel=0.1)
    assert middle["tokens_per_second"] == pytest.approx(1000 / middle["elapsed"], rel=0.1)
    expected = 200 / middle["rows_per_second"]
    assert middle["seconds_left"] == pytest.approx(expected, abs=0.1)
    assert middle["passes_per_text"] == 4
    # The count of rows may have been an estimate.
    assert (last["rows"], last["total"], last["seconds_left"]) == (350, 350, 0)
    assert [one["done"] for one in found] == [False] * (len(found) - 1) + [True]
    assert threads() == set()


def test_counting_rows_does_not_hold_it_up(terminal: Terminal) -> None:
    release = threading.Event()

    def count() -> int:
        release.wait(10)
        return 7

    with watching("json", total=count):
        wait_for_lines(terminal, 3)
        assert lines(terminal)[-1]["total"] is None
        release.set()
        before = len(lines(terminal))
        wait_for_lines(terminal, before + 3)
        assert lines(terminal)[-1]["total"] == 7


def test_what_is_wrong_with_the_rows_is_not_raised_by_counting_them(terminal: Terminal) -> None:
    def count() -> int:
        raise DataError("rows.csv", "it cannot be read")

    with watching("json", total=count):
        wait_for_lines(terminal, 2)
    assert lines(terminal)[-1]["done"]


def test_an_estimate_that_is_too_low_grows_with_the_rows(terminal: Terminal) -> None:
    with watching("json", total=5) as run:
        run.advance(rows=9)
        wait_for_lines(terminal, 3)
    assert lines(terminal)[-2]["total"] == 9


def test_a_run_that_fails_says_that_it_is_not_done(terminal: Terminal) -> None:
    def stopped() -> None:
        with watching("json") as run:
            run.advance(rows=3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert (lines(terminal)[-1]["rows"], lines(terminal)[-1]["done"]) == (3, False)
    assert threads() == set()


@pytest.mark.parametrize("mode", ["auto", "bar"])
def test_a_bar_starts_where_the_run_is(terminal: Terminal, mode: ProgressMode) -> None:
    with watching(mode, total=200, resumed_rows=50, passes_per_text=2.5) as run:
        time.sleep(0.03)
        run.advance(rows=50, tokens=2_000)
        time.sleep(0.03)
        run.advance(rows=100)
    shown = terminal.getvalue().split("\r")
    assert any("50/200" in one for one in shown)
    assert any("100/200" in one and "tokens/s, 2.5 passes/text" in one for one in shown)
    assert "200/200" in shown[-1]
    assert "0row/s" not in shown[-1].replace(" ", "").partition("200/200")[0]
    assert threads() == set()


@pytest.mark.parametrize("mode", ["auto", "bar", "off"])
def test_it_is_quiet_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, mode: ProgressMode
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with watching(mode, total=2) as run:
        run.advance(rows=2)
        assert threads() == set()
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["auto", "json"])
def test_a_process_without_stderr_runs(monkeypatch: pytest.MonkeyPatch, mode: ProgressMode) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with watching(mode) as run:
        run.advance(rows=2)
        assert run.snapshot().rows == 2


def test_a_reader_that_goes_away_stops_the_display_and_not_the_run(
    terminal: Terminal,
) -> None:
    with watching("json") as run:
        wait_for_lines(terminal, 2)
        terminal.close()
        run.advance(rows=2)
    assert run.snapshot().rows == 2


def test_many_threads_may_add(terminal: Terminal) -> None:
    with watching("json") as run:
        adders = [
            threading.Thread(target=lambda: [run.advance(rows=1, tokens=2) for _ in range(500)])
            for _ in range(4)
        ]
        for one in adders:
            one.start()
        for one in adders:
            one.join()
    assert (lines(terminal)[-1]["rows"], lines(terminal)[-1]["tokens"]) == (2_000, 4_000)
