"""Whatever goes wrong on purpose ends in one line on stderr and an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapterhub.cli import app
from adapterhub.commands import list_tasks
from tests.commands.conftest import Run

TYPOS = [
    (("lst",), 2, "Did you mean 'list'?"),
    (("score", "--tsak", "a"), 2, "Did you mean --task?"),
    (("show",), 2, "Missing argument"),
    (("score", "x", "--top-k", "0"), 2, "--top-k"),
    (("score", "x", "--on-error", "skp"), 2, "Did you mean 'skip'?"),
    (("score", "x", "--top-k", "2", "--all"), 2, "give one"),
    (("score", "x", "--file", "a.csv"), 2, "There are texts, and --file"),
    (
        ("score", "--file", "a.csv", "-f", "b.csv"),
        2,
        "'--file' / '-f': it takes one value and has 2",
    ),
    (("score", "--file", "a.cvs"), 2, "Did you mean '.csv'?"),
    (("score", "--file", "missing.csv"), 3, "there is no such file"),
    (("score", "--format", "jsnl"), 2, "Did you mean 'jsonl'?"),
    (("score", "--format", "parquet"), 2, "use --file"),
    (("train", "missing.csv", "-t", "a"), 3, "missing.csv"),
    (("train", "x.csv", "-t", "a", "--depths", "1,x"), 2, "whole numbers"),
    (("train", "x.csv", "-t", "a", "--metric", "acuracy"), 2, "Did you mean 'accuracy'?"),
    (("train", "x.csv", "-t", "a", "--poolings", "mean,clss"), 2, "Did you mean 'cls'?"),
    (("train", "x.csv", "-t", "a", "--memory-bytes", "lots"), 2, "500MB, 2GB or 1GiB"),
    (("train", "x.csv", "-t", "a", "--validation-fraction", "2"), 2, "--validation-fraction"),
    (("list", "--registry", "missing.yaml"), 5, "there is no such file"),
    (("info", "./missing"), 5, "no such folder"),
]

WITH_REGISTRY = [
    (("list", "--kind", "taging"), 2, "Did you mean 'tagging'?"),
    (("list", "--language", ""), 2, "The language is empty"),
    (("show", "sentimant"), 2, "Did you mean 'sentiment'?"),
    (("show", "sentiment@prd"), 2, "Did you mean 'prod'?"),
    (("show", "sentiment:7"), 2, "Unknown version of 'sentiment' '7'"),
    (("show", "./missing.safetensors"), 5, "it cannot be read"),
    (("explain", "sentiment,topic"), 2, "Did you mean 'topics'?"),
    (("score", "good", "-t", "sentimant"), 2, "Did you mean 'sentiment'?"),
    (("score", "good", "-t", "entails"), 3, "plain texts have one field"),
    (("score", "good", "--text-column", "x"), 2, "plain texts have none"),
    (("score", "good", "-t", "rating", "--device", "gpu"), 2, "Device 'gpu'"),
    (("score", "good", "-t", "rating", "--dtype", "float23"), 2, "Did you mean 'float32'?"),
    (("score", "good", "", "-t", "rating"), 3, "text 2: "),
]


@pytest.mark.parametrize(("words", "code", "part"), TYPOS)
def test_faults_are_one_line_and_an_exit_code(
    run: Run, words: tuple[str, ...], code: int, part: str
) -> None:
    ran = run(*words)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("adapterhub: ")
    assert ran.err.count("\n") == 1
    assert part in ran.err


def test_a_terminal_is_not_told_what_to_do(run: Run) -> None:
    ran = run("info", "./\x1b[31mred")
    assert (ran.code, ran.err.count("\n")) == (5, 1)
    assert ran.err.strip().isprintable()


@pytest.mark.parametrize(("words", "code", "part"), WITH_REGISTRY)
def test_faults_with_a_registry(
    run: Run, tiny_registry: Path, words: tuple[str, ...], code: int, part: str
) -> None:
    ran = run(*words, "--registry", tiny_registry)
    assert (ran.code, ran.out) == (code, "")
    last = ran.err.splitlines()[-1]
    assert last.startswith("adapterhub: ")
    assert part in last


def test_faults_are_json_where_json_was_asked_for(run: Run, tiny_registry: Path) -> None:
    ran = run("show", "sentimant", "--registry", tiny_registry, "--json")
    error = json.loads(ran.err)
    assert error["error"] == "UnknownTaskError"
    assert "sentiment" in error["message"]
    ran = run("show", "--jsn", "--json")
    assert json.loads(ran.err)["error"] == "UsageError"


def test_usage_errors_say_where_to_read_on(run: Run) -> None:
    assert run("score", "--nope").err.rstrip().endswith("score --help`.")


def test_without_a_verb_the_help_is_shown(run: Run) -> None:
    ran = run()
    assert ran.code == 0
    assert "score" in ran.out
    assert "doctor" in ran.out


def test_interrupting_is_130_without_a_traceback(
    run: Run, tiny_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(list_tasks, "_cells", interrupt)
    ran = run("list", "--registry", tiny_registry)
    assert ran.code == 130
    assert "Traceback" not in ran.err


def test_a_bug_shows_its_traceback(tiny_registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> object:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(list_tasks, "_cells", fail)
    result = CliRunner().invoke(app, ["list", "--registry", str(tiny_registry)])
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    "words",
    [
        ("score", "-t", "sentiment", "--file", "~nobodyhere/a.jsonl"),
        ("score", "-t", "sentiment", "--file", "x" * 300 + ".jsonl"),
        ("score", "good", "-t", "sentiment", "--out", "x" * 300 + ".jsonl"),
        ("list", "--registry", "~nobodyhere/registry.yaml"),
        ("list", "--registry", "x" * 300),
        ("info", "--backbone", "~nobodyhere/model"),
        ("info", "--backbone", "./" + "x" * 300),
    ],
)
def test_paths_that_cannot_be_end_in_one_line(words: tuple[str, ...], run: Run) -> None:
    ran = run(*words)
    assert ran.code in (2, 3, 5), ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert ran.err.startswith("adapterhub: ")


def test_out_is_in_the_home_folder_where_it_says_so(
    run: Run, tiny_registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ("score", "good", "-t", "sentiment", "--registry", tiny_registry, "--out", "~/a.jsonl")
    ran = run(*words)
    assert ran.code == 0, ran.err
    assert (tmp_path / "a.jsonl").is_file()
