"""`score` on a pipe that stays open, its progress, and its summary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from adapterhub.cli import app
from tests.commands.conftest import Run
from tests.commands.test_process import command, environment


class Pipe:
    """The command line in a thread, whose stdin and stdout are pipes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
        read, write = os.pipe()
        out, self._out = os.pipe()
        self.stdin = os.fdopen(write, "w", encoding="utf-8")
        self.stdout = os.fdopen(out, encoding="utf-8")
        self._stdout = os.fdopen(self._out, "w", encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", os.fdopen(read, encoding="utf-8"))
        monkeypatch.setattr(sys, "stdout", self._stdout)
        self.code: Any = None
        self._thread = threading.Thread(target=self._run, args=(words,), daemon=True)
        self._thread.start()

    def _run(self, words: tuple[str, ...]) -> None:
        try:
            app(list(words))
        except SystemExit as ended:
            self.code = ended.code
        finally:
            self._stdout.close()

    def ask(self, line: str) -> dict[str, Any]:
        self.stdin.write(f"{line}\n")
        self.stdin.flush()
        found: dict[str, Any] = json.loads(self.stdout.readline())
        return found

    def end(self) -> None:
        self.stdin.close()
        self._thread.join(30)


@pytest.fixture
def warm(tiny_registry: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tiny_registry.parent)
    return tiny_registry


FORMS = [
    ("text", "", ["good", "bad film", "a day"]),
    ("jsonl", "", ['{"text": "good"}', '{"text": "bad", "id": 7}', '{"text": "a day"}']),
    ("csv", "id,text", ["1,good", '2,"bad, film"', "3,a day"]),
    ("tsv", "id\ttext", ["1\tgood", "2\tbad film", "3\ta day"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("form", "header", "lines"), FORMS, ids=[form for form, _, _ in FORMS])
def test_each_line_is_answered_before_the_next_one_comes(
    warm: Path, monkeypatch: pytest.MonkeyPatch, form: str, header: str, lines: list[str]
) -> None:
    pipe = Pipe(monkeypatch, "score", "-t", "sentiment", "--format", form)
    if header:
        pipe.stdin.write(f"{header}\n")
    found = [pipe.ask(line) for line in lines]
    assert [row["text"][:3] for row in found] == ["goo", "bad", "a d"]
    assert all(row["sentiment.label"] for row in found)
    pipe.end()
    assert pipe.code == 0


@pytest.mark.slow
def test_a_bad_line_on_a_pipe_is_told_and_the_next_one_answered(
    warm: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("score", "-t", "sentiment", "--format", "jsonl", "--on-error", "skip")
    pipe = Pipe(monkeypatch, *words)
    assert pipe.ask('{"text": "good"}')["text"] == "good"
    pipe.stdin.write("{broken\n")
    assert pipe.ask('{"text": "bad"}')["text"] == "bad"
    pipe.end()
    assert pipe.code == 0


def write_rows(path: Path, count: int, bad: int = 0) -> Path:
    rows = [{"text": f"good {n}"} for n in range(count)] + [{"text": ""}] * bad
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.mark.slow
def test_lines_of_progress_and_a_summary_for_programs(score: Run) -> None:
    write_rows(Path("in.jsonl"), 50, bad=2)
    words = ("-f", "in.jsonl", "-o", "out", "-t", "sentiment", "--on-error", "skip", "--json")
    ran = score(*words, "--part-rows", "20", "--progress", "json")
    lines = [json.loads(line) for line in ran.err.splitlines()]
    assert (lines[0]["rows"], lines[0]["done"], lines[-1]["done"]) == (0, False, True)
    assert (lines[-1]["rows"], lines[-1]["total"]) == (52, 52)
    assert lines[-1]["tokens"] == ran.value["tokens"] > 100
    assert {"rows_per_second", "tokens_per_second", "seconds_left"} <= lines[-1].keys()
    assert lines[-1]["passes_per_text"] == ran.value["plan"]["passes"]
    assert (ran.value["rows"], ran.value["scored"], ran.value["bad"]) == (52, 50, 2)
    assert (ran.value["parts"], ran.value["resumed_rows"]) == (3, 0)
    assert ran.value["errors"].endswith("_errors.jsonl")
    # A part is gone, so that the job goes on there.
    Path("out/_SUCCESS").unlink()
    Path("out/_job/00001.json").unlink()
    again = score(*words, "--part-rows", "20", "--progress", "json")
    lines = [json.loads(line) for line in again.err.splitlines()]
    assert (lines[0]["rows"], lines[0]["resumed_rows"], lines[-1]["rows"]) == (32, 32, 52)
    assert again.value["resumed_rows"] == 32
    done = score(*words, "--part-rows", "20", "--progress", "json")
    assert json.loads(done.err.splitlines()[-1])["resumed_rows"] == 52
    assert (done.value["resumed_rows"], done.value["tokens"]) == (52, 0)


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--no-progress",), ("--progress",), ("--progress", "off"), ()])
def test_it_is_quiet_but_for_the_summary(score: Run, words: tuple[str, ...]) -> None:
    write_rows(Path("in.jsonl"), 3)
    ran = score("-f", "in.jsonl", "-o", "out.csv", "-t", "sentiment", *words)
    assert ran.code == 0
    first, second = ran.err.splitlines()
    assert first.startswith("adapterhub: scored 3 rows, ")
    assert " rows/s, " in first
    assert first.endswith(" tokens/s, in out.csv")
    assert "passes per text" in second


def test_a_mode_that_there_is_not_is_refused(score: Run) -> None:
    ran = score("good", "-t", "sentiment", "--progress", "jsn")
    assert (ran.code, "Did you mean 'json'?" in ran.err) == (2, True)


@pytest.mark.slow
def test_a_process_ends_while_it_waits_for_a_line(tiny_registry: Path) -> None:
    # Python itself aborts where a thread holds the reader of its stdin.
    words = command("score", "-t", "sentiment", "--format", "jsonl", "-r", tiny_registry)
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(words, text=True, env=environment(), **pipes) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for text in ("good", ""):
            running.stdin.write(f"{json.dumps({'text': text})}\n")
            running.stdin.flush()
            if text:
                assert json.loads(running.stdout.readline())["text"] == text
        assert running.wait(60) == 3
        assert running.stderr is not None
        assert running.stderr.read().count("\n") == 1
