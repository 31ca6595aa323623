from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from adapterhub import Hub
from adapterhub.decoding import BEST
from adapterhub.rows.source_row import SourceRow
from adapterhub.scoring.pipeline import windows
from adapterhub.scoring.pipeline.chunks import Request, RowStages
from adapterhub.scoring.pipeline.stages import RowWindow, run_stages, score_windows

Check = Callable[[], None]


class Fault(Exception):
    pass


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def same(value: int) -> int:
    return value


def slow(value: int, check: Check) -> int:
    for _ in range(400):
        check()
        time.sleep(0.005)
    return value


def failing(*places: int) -> Callable[[int], int]:
    def run(value: int) -> int:
        if value in places:
            raise Fault(value)
        return value

    return run


def source(count: int, *, fails_at: int | None = None) -> Iterator[int]:
    for value in range(count):
        if value == fails_at:
            raise Fault(value)
        yield value


def test_results_come_in_order_from_three_threads() -> None:
    seen: set[tuple[str, int]] = set()

    def stage(name: str) -> Callable[..., int]:
        def run(value: int, *_: object) -> int:
            seen.add((name, threading.get_ident()))
            return value

        return run

    names = ("prepare", "compute", "finish")
    stages = {name: stage(name) for name in names}
    found = list(run_stages(source(9), **stages))
    assert found == list(range(9))
    assert sorted(name for name, _ in seen) == sorted(names)
    assert len({thread for _, thread in seen}) == 3


def test_no_more_than_two_are_under_way() -> None:
    started, taken, most = 0, 0, 0

    def prepare(value: int) -> int:
        nonlocal started, most
        started += 1
        most = max(most, started - taken)
        return value

    for _ in run_stages(source(8), prepare=prepare, compute=lambda v, _: v, finish=same):
        taken += 1
    assert most == 2


@pytest.mark.parametrize("stage", ["source", "prepare", "compute", "finish"])
def test_the_first_error_wins_and_nothing_behind_it_is_finished(stage: str) -> None:
    finished: list[int] = []
    fails = {name: failing() for name in ("prepare", "compute", "finish")}
    fails |= {stage: failing(3, 4)} if stage != "source" else {}

    def finish(value: int) -> int:
        finished.append(fails["finish"](value))
        return value

    results = run_stages(
        source(9, fails_at=3 if stage == "source" else None),
        prepare=fails["prepare"],
        compute=lambda value, _: fails["compute"](value),
        finish=finish,
    )
    found: list[int] = []
    with pytest.raises(Fault, match="3"):
        found.extend(results)
    assert found == finished == [0, 1, 2]


def test_an_error_that_stands_first_comes_before_one_that_was_seen_first() -> None:
    """The source fails at once, while an earlier item is still computed and fails later."""

    def compute(value: int, _: Check) -> int:
        time.sleep(0.05)
        raise Fault(f"computing {value}")

    with pytest.raises(Fault, match="computing 0"):
        list(run_stages(source(2, fails_at=1), prepare=same, compute=compute, finish=same))


def test_closing_and_ctrl_c_end_what_is_computed() -> None:
    began = time.monotonic()
    computing = threading.Event()

    def compute(value: int, check: Check) -> int:
        if value == 0:
            return value
        computing.set()
        return slow(value, check)

    with closing(run_stages(source(9), prepare=same, compute=compute, finish=same)) as results:
        assert next(results) == 0
        assert computing.wait(5)

    def interrupted() -> Iterator[int]:
        yield 0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_stages(interrupted(), prepare=same, compute=slow, finish=same))
    assert time.monotonic() - began < 1


def test_a_source_that_has_nothing_yet_gets_results_first() -> None:
    order: list[str] = []

    def arriving() -> Iterator[int | None]:
        for value in range(2):
            order.append(f"read {value}")
            yield value
            yield None

    for value in run_stages(arriving(), prepare=same, compute=lambda v, _: v, finish=same):
        order.append(f"result {value}")
    assert order == ["read 0", "result 0", "read 1", "result 1"]


def rows(*texts: object) -> list[SourceRow]:
    return [SourceRow(place, {"review": text}) for place, text in enumerate(texts, start=1)]


def test_windows_end_by_rows_or_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_ROWS", 3)
    monkeypatch.setattr(windows, "WINDOW_CHARACTERS", 10)
    given = rows("a", "b", "c", "d" * 10, 5, None, "e" * 9, "f")
    taken = list(windows.take_windows(iter(given), 5))
    assert [[row.place for row in one.rows] for one in taken] == [[1, 2, 3], [4], [5], [6, 7, 8]]
    assert [one.ends_part for one in taken] == [False, False, True, True]
    assert [one.rows for one in windows.take_windows(iter(()), 5)] == [()]


@pytest.mark.slow
def test_rows_and_bad_rows_add_up_and_are_watched(hub: Hub) -> None:
    request = Request(
        names={"sentiment": "mood", "rating": "rating"},
        versions={"sentiment": "sentiment", "rating": "rating"},
        columns=("mood", "rating"),
        fields={"sentiment": {"text": "review"}, "rating": {"text": "review"}},
        answers=BEST,
    )
    stages = RowStages.open(hub, request)
    assert len(stages.call.plan.trunks) == 1
    given = rows("good", None, "a bad day", "", "fine " * 200, 5)
    watched: list[tuple[int, int]] = []
    handed: list[int] = []
    two = [RowWindow(given[:3], part=4), RowWindow(given[3:], part=5)]
    first, second = score_windows(
        stages,
        two,
        watch=lambda rows, tokens: watched.append((rows, tokens)),
        hand_on=lambda chunk: handed.append(chunk.part),
    )
    assert handed == [4, 5] == [first.part, second.part]
    assert [row["review"] for row in first.rows] == ["good", "a bad day"]
    assert [bad.place for bad in (*first.bad, *second.bad)] == [2, 4, 6]
    assert len(second.rows) == 1
    assert sum(count for count, _ in watched) == 6
    assert sum(tokens for _, tokens in watched) > 200
    alone = hub.score(["good", "a bad day"], "rating")["rating"]
    found = [value for row in first.rows for key, value in row.items() if key.startswith("rating")]
    assert found == [answer["value"] for answer in alone.answers]  # type: ignore[index, call-overload]
