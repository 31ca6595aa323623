"""Rows that arrive in their own time are handed out as they come, and not read ahead."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from itertools import count

import pytest

from adapterhub.scoring.sources.arriving import arriving
from adapterhub.scoring.sources.open_source import open_source
from tests.rows.texts import values


def test_what_is_there_is_handed_out_without_waiting_for_more() -> None:
    first, more = threading.Event(), threading.Event()

    def rows() -> Iterator[int]:
        yield 1
        assert first.wait(5)
        yield from (2, 3)
        more.set()
        yield 4

    found = []
    with arriving(rows()) as batches:
        for batch in batches:
            found += batch
            first.set()
            assert batch
            if len(found) == 1:
                assert more.wait(5)
    assert found == [1, 2, 3, 4]


def test_an_error_comes_after_the_rows_before_it() -> None:
    def rows() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    found = []

    def read() -> None:
        with arriving(rows()) as batches:
            for batch in batches:
                found.extend(batch)

    with pytest.raises(OSError, match="gone"):
        read()
    assert found == [1]


def test_no_more_is_read_than_the_limit_and_nothing_after_the_end() -> None:
    read: list[int] = []
    before = threading.active_count()
    with arriving((read.append(i) or i for i in count()), limit=8) as batches:
        assert next(batches)[0] == 0
        taken = next(batches)
        assert 1 <= len(taken) <= 8
    for thread in threading.enumerate():
        if thread.name == "adapterhub-arriving":
            thread.join(5)
    assert threading.active_count() == before
    assert len(read) <= taken[-1] + 10
    with arriving(iter([])) as batches:
        assert list(batches) == []


@pytest.mark.parametrize(
    ("form", "head", "row"),
    [
        ("text", b"", {"text": "a"}),
        ("csv", b"text\n", {"text": "a"}),
        ("tsv", b"text\n", {"text": "a"}),
        ("jsonl", b'bad\n{"text": "0"}\n', {"text": "a"}),
    ],
)
def test_a_pipe_is_read_no_further_than_it_must(form: str, head: bytes, row: object) -> None:
    """It would wait for ever: the other end stays open."""
    readable, writable = os.pipe()
    with open(readable, "rb") as reader, open(writable, "wb", buffering=0) as writer:
        writer.write(head)
        source = open_source(reader, form)  # type: ignore[arg-type]
        assert source.is_stream
        assert source.columns == ("text",)
        assert (source.count(), source.digest(), source.row_bound()) == (None, None, None)
        if form == "jsonl":
            assert [next(source.rows).problem is None for _ in range(2)] == [False, True]
        writer.write(b'{"text": "a"}\n' if form == "jsonl" else b"a\n")
        assert values([next(source.rows)]) == [row]


def test_what_is_whole_is_no_stream() -> None:
    assert not open_source(io.BytesIO(b"a\n")).is_stream
    assert not open_source(iter(["a"])).is_stream
    live = open_source((row for row in [{"text": "a"}, {"text": "b"}]), live=True)
    assert live.is_stream
    assert len(list(live.rows)) == 2
