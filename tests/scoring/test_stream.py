"""`Hub.stream`: rows from any iterable, each answered as soon as it can be."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from adapterhub import Hub
from adapterhub.errors import InputError, UnknownTaskError, UsageError

TEXTS = ["the film was good", "a bad day", "good", "bad bad film"]


def threads() -> set[str]:
    return {one.name for one in threading.enumerate() if one.name.startswith("adapterhub")}


def wait_until_no_thread_is_left() -> None:
    deadline = time.monotonic() + 10
    while threads() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert threads() == set()


def as_scored(hub: Hub, rows: Any, tasks: Any, **options: Any) -> list[dict[str, Any]]:
    scores = hub.score(rows, tasks, **options)
    return [
        dict(zip(scores, one, strict=True))
        for one in zip(*(s.answers for s in scores.values()), strict=True)
    ]


def labels(rows: Iterable[dict[str, Any]], task: str = "sentiment") -> list[Any]:
    return [row[task] and row[task]["label"] for row in rows]


@pytest.mark.parametrize("top_k", [1, 2, None])
def test_it_predicts_what_score_does(hub: Hub, top_k: int | None) -> None:
    tasks = ["sentiment", "topics", "rating"]
    found = list(hub.stream(iter(TEXTS), tasks, top_k=top_k))
    expected = as_scored(hub, TEXTS, tasks, top_k=top_k)
    assert [list(row) for row in found] == [tasks] * 4
    assert labels(found) == labels(expected) if top_k == 1 else len(found) == 4
    assert [row["rating"]["value"] for row in found] == pytest.approx(
        [row["rating"]["value"] for row in expected], abs=1e-5
    )


@pytest.mark.parametrize(
    "rows",
    [
        TEXTS,
        tuple(TEXTS),
        (text for text in TEXTS),
        [{"text": text, "id": 1} for text in TEXTS],
        pd.DataFrame({"text": TEXTS}),
        pa.table({"text": TEXTS}),
        map(str, TEXTS),
    ],
    ids=["list", "tuple", "generator", "records", "pandas", "arrow", "map"],
)
def test_rows_come_from_anything(hub: Hub, rows: Any) -> None:
    assert labels(hub.stream(rows, "sentiment")) == labels(as_scored(hub, TEXTS, "sentiment"))


def test_one_text_is_one_row_and_none_are_none(hub: Hub) -> None:
    assert len(list(hub.stream("good", "sentiment"))) == 1
    assert list(hub.stream([], "sentiment")) == []


def test_each_row_is_answered_before_the_next_one_comes(hub: Hub) -> None:
    rows: queue.Queue[str | None] = queue.Queue()
    found = hub.stream(iter(rows.get, None), "sentiment")
    for text in TEXTS:
        rows.put(text)
        assert next(found)["sentiment"] is not None
    rows.put(None)
    assert list(found) == []
    wait_until_no_thread_is_left()


@pytest.mark.slow
def test_a_stream_without_an_end_is_read_a_little_ahead_only(hub: Hub) -> None:
    read = itertools.count()

    def endless() -> Iterator[str]:
        while True:
            next(read)
            yield "good"

    found = hub.stream(endless(), "sentiment")
    assert (
        labels(itertools.islice(found, 5)) == [labels(as_scored(hub, "good", "sentiment"))[0]] * 5
    )
    found.close()  # type: ignore[attr-defined]
    wait_until_no_thread_is_left()
    assert next(read) < 20_000


def test_nothing_starts_before_the_first_row_is_wanted(hub: Hub) -> None:
    started: list[int] = []
    found = hub.stream((started.append(1) or "good" for _ in range(1)), "sentiment")  # type: ignore[misc]
    assert (started, threads()) == ([], set())
    assert len(list(found)) == 1


def test_an_error_of_the_source_comes_behind_its_rows(hub: Hub) -> None:
    def broken() -> Iterator[str]:
        yield from TEXTS
        raise OSError("the line is dead")

    found = hub.stream(broken(), "sentiment")
    assert len(list(itertools.islice(found, 4))) == 4
    with pytest.raises(OSError, match="the line is dead"):
        next(found)
    wait_until_no_thread_is_left()


def test_a_bad_row_is_raised_behind_the_rows_before_it(hub: Hub) -> None:
    found = hub.stream(iter(["good", "bad", " ", "good"]), "sentiment")
    assert len(list(itertools.islice(found, 2))) == 2
    with pytest.raises(InputError) as refused:
        next(found)
    assert refused.value.row == 2
    wait_until_no_thread_is_left()


def test_bad_rows_that_are_skipped_have_no_prediction(hub: Hub) -> None:
    rows: list[Any] = ["good", "", {"title": "x"}, 7, None, "bad"]
    found = list(hub.stream(rows, ["sentiment", "rating"], on_error="skip"))
    assert [row["sentiment"] is not None for row in found] == [
        True,
        False,
        False,
        False,
        False,
        True,
    ]
    assert [row["rating"] is not None for row in found] == [True, False, False, False, False, True]


def test_what_is_wrong_with_the_call_is_raised_by_the_call(hub: Hub) -> None:
    with pytest.raises(UnknownTaskError, match="Did you mean 'sentiment'"):
        hub.stream(TEXTS, "sentimant")
    with pytest.raises(InputError, match="of type int; expected an iterable"):
        hub.stream(7, "sentiment")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="on_error is 'ignore'"):
        hub.stream(TEXTS, "sentiment", on_error="ignore")  # type: ignore[arg-type]


def test_the_versions_stay_those_of_the_call(hub: Hub) -> None:
    found = hub.stream(iter(TEXTS), "sentiment")
    next(found)
    hub.unload("sentiment")
    assert len(list(found)) == 3


@pytest.mark.slow
def test_two_streams_and_calls_do_not_disturb_one_another(hub: Hub) -> None:
    one, two = (hub.stream(itertools.cycle(TEXTS), task) for task in ("sentiment", "topics"))
    for _ in range(3):
        assert next(one).keys() == {"sentiment"}
        assert hub.score("good", "rating")["rating"][0] is not None
        assert next(two).keys() == {"topics"}
    for found in (one, two):
        found.close()  # type: ignore[attr-defined]
    wait_until_no_thread_is_left()


@pytest.mark.slow
def test_many_rows_take_about_as_long_as_in_one_call(hub: Hub) -> None:
    rows = [f"{text} {number}" for number, text in enumerate(TEXTS * 2_500)]
    best = {"score": float("inf"), "stream": float("inf")}
    hub.score(rows[:100], "sentiment")
    for _ in range(3):
        started = time.process_time()
        hub.score(rows, "sentiment")
        best["score"] = min(best["score"], time.process_time() - started)
        started = time.process_time()
        assert sum(1 for _ in hub.stream(rows, "sentiment")) == 10_000
        best["stream"] = min(best["stream"], time.process_time() - started)
        if best["stream"] * 0.8 <= best["score"]:
            break
    assert best["stream"] * 0.8 <= best["score"], best
