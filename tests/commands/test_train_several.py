"""`train` of several tasks: of a file that lists them, and of several targets."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from adapterhub.store.registry import read_registry
from adapterhub.training.finalize import finalize
from tests.commands.conftest import Run
from tests.training.rows import rating_rows, sentiment_rows, write_rows

pytest.importorskip("sklearn")

QUICK = ("--epochs", "1", "--depths", "1", "--poolings", "mean", "--hidden-widths", "")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPTERHUB_CACHE", str(tmp_path / "cache"))


def rows_file(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    rows = zip(sentiment_rows(40), rating_rows(40), strict=True)
    return write_rows(path, [{**one, "stars": other["score"]} for one, other in rows])


@pytest.mark.slow
def test_a_file_of_tasks(run: Run, tiny_backbone_folder: Path) -> None:
    rows_file(Path("lists/rows.jsonl"))
    Path("lists/tasks.yaml").write_text(
        f"registry: ../mine/registry.yaml\nbackbone: {json.dumps(str(tiny_backbone_folder))}\n"
        "data: rows.jsonl\nseed: 4\n"
        "tasks:\n- name: mood\n- name: stars\n  target: stars\n- name: more\n"
    )
    ran = run("train", "lists/tasks.yaml", "--task", "mood,stars", *QUICK, "--max-rows", "30")
    assert ran.code == 0, ran.err
    assert "mood:1" in ran.out
    assert "stars:1" in ran.out
    assert "2 tasks: " in ran.out
    assert "adapterhub: Training task 2 of 2: stars." in ran.err
    assert "adapterhub: stars: Read as regression: columns text, stars" in ran.err
    assert ran.err.rstrip().endswith(
        "--task mood --task stars --registry lists/../mine/registry.yaml"
    )
    registry = read_registry(Path("mine/registry.yaml"))
    assert set(registry.tasks) == {"mood", "stars"}
    command = ran.err.rstrip().rpartition("--task mood")[2].split()
    assert run("score", "good", "--task", "mood", *command).rows[0]["stars.value"] > 0
    spec = run("show", "stars", *command[2:], "--json").value["spec"]
    assert (spec["training"]["seed"], spec["training"]["rows"]) == (4, 30)


@pytest.mark.slow
def test_several_targets_of_one_file(run: Run, tiny_backbone_folder: Path) -> None:
    data = rows_file(Path("here/rows.jsonl"))
    words = ("--backbone", tiny_backbone_folder, *QUICK, "--json")
    ran = run("train", data, "-t", "film", "--target", "label", "--target", "stars", *words)
    assert ran.code == 0, ran.err
    assert [one["task"] for one in ran.value["tasks"]] == ["film-label", "film-stars"]
    assert [one["version"] for one in ran.value["tasks"]] == [1, 1]
    assert (ran.value["passes"], ran.value["separate_passes"]) == (1, 8)
    one = run("train", data, "-t", "film", "--target", "label", *words)
    assert one.value["task"] == "film"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("tasks.yaml", "-t", "moods"), 2, "no task 'moods'; it has mood. Did you mean 'mood'?"),
        (("tasks.yaml",), 3, "tasks.yaml, line 2, task 'mood': rows.jsonl"),
        (("none.yml",), 3, "none.yml: it cannot be read"),
        (("rows.jsonl",), 2, "The new task has no name; give it with --task NAME."),
        (("rows.jsonl", "-t", "x", "--target", "a", "--target", "a"), 2, "has the same name"),
        (("rows.jsonl", "-t", "x", "--target", "a", "--target", "b"), 3, "Task 'x-a': rows.jsonl"),
    ],
)
def test_what_is_wrong_is_one_line(
    run: Run, words: tuple[str, ...], code: int, message: str
) -> None:
    Path("tasks.yaml").write_text("tasks:\n- name: mood\n  data: rows.jsonl\n")
    ran = run("train", *words)
    assert ran.code == code
    assert message in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.slow
def test_tasks_that_cannot_be_saved_are_written_here(
    run: Run, tiny_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rows_file(Path("here/rows.jsonl"))
    heads = tiny_registry.parent / "heads"

    def late(*words: Any, **options: Any) -> Any:
        if heads.is_dir():
            heads.rename(tiny_registry.parent / "away")
            heads.write_text("")
        return finalize(*words, **options)

    monkeypatch.setattr("adapterhub.training.train.finalize", late)
    words = ("-t", "film", "--target", "label", "--target", "stars", "-r", tiny_registry)
    ran = run("train", data, *words, *QUICK)
    assert ran.code == 5
    assert "2 tasks were trained, but cannot be saved: " in ran.err
    heads.unlink()
    (tiny_registry.parent / "away").rename(heads)
    assert "film-label" not in read_registry(tiny_registry).tasks
    for command in re.findall(r"`adapterhub (add [^`]+)`", ran.err):
        assert run(*shlex.split(command)).code == 0
    assert {"film-label", "film-stars"} <= set(read_registry(tiny_registry).tasks)
