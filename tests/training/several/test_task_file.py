"""Files that list tasks: what they may say, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapterhub.errors import AdapterHubError, DataError, UsageError
from adapterhub.training.adapter_options import AdapterOptions
from adapterhub.training.options import TrainingOptions
from adapterhub.training.several.entries import TaskEntry
from adapterhub.training.several.prepare_tasks import TaskList, list_tasks

TASKS = """
data: rows.jsonl
registry: mine/registry.yaml
backbone: ./backbone
learning_rates: [1e-3]   # a text to YAML
languages: en,zh
mixes: no
cache_max_bytes: 2GiB
adapter: lora
tasks:
  - name: stars
    target: stars
    adapter: {rank: 4, from_depth: "2,4"}
    max_rows: null
  - name: spam
    data: /other/messages.csv
    validation: held-out.csv
    adapter: null
    adapter_of: ../other/registry.yaml:mood
    languages: [de]
    depths: 2
"""


def listed(folder: Path, text: str, **given: Any) -> TaskList:
    path = folder / "tasks.yaml"
    path.write_text(text, encoding="utf-8")
    return list_tasks(path, **given)


def options_of(tasks: TaskList) -> dict[str, TrainingOptions]:
    return {entry.name: entry.training_options() for entry in tasks.entries}


def test_a_file_has_options_for_all_tasks_and_for_each(tmp_path: Path) -> None:
    tasks = listed(tmp_path, TASKS)
    assert tasks.registry == tmp_path / "mine/registry.yaml"
    assert tasks.backbone == str(tmp_path / "backbone")
    stars, spam = tasks.entries
    assert (stars.data, spam.data) == (str(tmp_path / "rows.jsonl"), "/other/messages.csv")
    found = options_of(tasks)
    assert found["stars"] == TrainingOptions(
        learning_rates=(0.001,),
        languages=("en", "zh"),
        mixes=False,
        cache_max_bytes=2 * 2**30,
        target="stars",
        max_rows=None,
        adapter=AdapterOptions(method="lora", rank=4, from_depths=(2, 4)),
    )
    assert (found["spam"].languages, found["spam"].depths) == (("de",), (2,))
    assert (found["spam"].adapter, found["spam"].mixes) == (None, False)
    assert found["spam"].validation == tmp_path / "held-out.csv"
    other = Path(str(found["spam"].adapter_of)).resolve()
    assert other == tmp_path.parent / "other/registry.yaml:mood"


def test_tasks_may_be_a_mapping_or_the_whole_file(tmp_path: Path) -> None:
    tasks = listed(tmp_path, "data: a.csv\ntasks:\n  one: {seed: 3}\n  two:\n  3:\n    seed: 4\n")
    found = options_of(tasks)
    assert {name: options.seed for name, options in found.items()} == {"one": 3, "two": 0, "3": 4}
    (only,) = listed(tmp_path, "- name: one\n  data: a.csv\n").entries
    assert (only.name, only.data) == ("one", str(tmp_path / "a.csv"))


def test_options_of_the_call_overrule_those_of_the_file(tmp_path: Path) -> None:
    text = "epochs: 9\ntasks:\n- {name: a, epochs: 8, adapter: lora}\n- {name: b, epochs: 7}\n"
    given = listed(tmp_path, text, options={"epochs": 2, "seed": 5}, data=[("x", "y")])
    found = options_of(given)
    assert all(options.seed == 5 for options in found.values())
    # As on the command line, the epochs are the adapter's where there is one.
    assert found["a"].adapter == AdapterOptions(epochs=2)
    assert (found["b"].epochs, found["b"].adapter) == (2, None)
    assert [entry.data for entry in given.entries] == [[("x", "y")]] * 2
    named = listed(tmp_path, "registry: a\ntasks: [{name: a}]", registry="mine", backbone="b")
    assert (named.registry, named.backbone) == ("mine", "b")


def test_a_list_of_targets_is_one_task_per_column(tmp_path: Path) -> None:
    text = "tasks:\n- name: reviews\n  target: [stars, Is Spam?]\n- name: topic\n"
    tasks = listed(tmp_path, text)
    assert [entry.name for entry in tasks.entries] == ["reviews-stars", "reviews-is-spam", "topic"]
    assert [entry.other_targets for entry in tasks.entries] == [("Is Spam?",), ("stars",), ()]
    assert options_of(tasks)["reviews-is-spam"].target == "Is Spam?"
    assert [entry.name for entry in tasks.only(["topic", "reviews-stars"]).entries] == [
        "reviews-stars",
        "topic",
    ]
    with pytest.raises(UsageError, match=r"no task 'topics'; .* Did you mean 'topic'"):
        tasks.only(["topics"])


@pytest.mark.parametrize(
    ("text", "message", "kind"),
    [
        ("tasks: [", "tasks.yaml, line 2: it is not valid YAML", DataError),
        ("seed: 1\n", "it lists no tasks; expected `tasks:`", DataError),
        ("tasks: stars\n", "line 1: `tasks` is no list", DataError),
        ("tasks:\n- target: a\n", "line 2: task 1 of the list has no `name`", DataError),
        ("tasks:\n- stars\n", "line 1: task 1 of the list has no `name`", DataError),
        ("tasks:\n- name: Stars\n", "line 2: The task 'Stars' is not allowed", DataError),
        ("tasks:\n  a: 3\n", "line 2: task 'a' has no options, but 3", DataError),
        ("name: a\ntasks: []\n", "line 1: `name` belongs to one task", DataError),
        ("tasks:\n- name: a\n  registry: x\n", "line 3: `registry` is one for all", DataError),
        ("a: &x 1\ntasks: []\n", "line 1: anchors", DataError),
        ("tasks: []\n", "There is no task to train", UsageError),
        ("tasks:\n- name: a\n- name: a\n", "line 3, task 'a': Another task of this", UsageError),
        ("tasks:\n- name: a\n  target: []\n", "line 2, task 'a': Option target is", UsageError),
        ("memory_bytes: much\ntasks:\n- name: a\n", "line 1: Option memory_bytes", UsageError),
        (
            "tasks:\n- name: a\n  rank: 4\n",
            "line 3: rank is no option here; write `adapter: {rank:",
            UsageError,
        ),
        ("target_column: x\ntasks:\n- name: a\n", "is no option here; write `target`.", UsageError),
    ],
)
def test_what_is_no_list_of_tasks_says_where(
    tmp_path: Path, text: str, message: str, kind: type[AdapterHubError]
) -> None:
    with pytest.raises(kind) as caught:
        listed(tmp_path, text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\ntasks:\n- name: a\n  epoch: 3\n", "line 4, task 'a': Option epoch: there is"),
        ("epochs: x\ntasks:\n- name: a\n", "line 1, task 'a': Option epochs: Input should be"),
        ("tasks:\n- name: a\n  folds: 1\n", "line 2, task 'a': The options: folds are 2"),
        ("tasks:\n- name: a\n  adapter:\n    rank: 0\n", "line 4, task 'a': Option adapter.rank"),
    ],
)
def test_a_wrong_option_is_named_with_its_task_and_line(
    tmp_path: Path, text: str, message: str
) -> None:
    (entry,) = listed(tmp_path, text).entries
    with pytest.raises(UsageError) as caught, entry.named_in_errors():
        entry.training_options()
    assert f"{tmp_path / 'tasks.yaml'}, {message}" in str(caught.value)
    assert "Did you mean 'epochs'?" in str(caught.value) or "epoch:" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it cannot be read"):
        list_tasks(tmp_path / "tasks.yml")


def test_tasks_of_python(tmp_path: Path) -> None:
    common = TrainingOptions(seed=2, epochs=3, adapter=AdapterOptions(rank=4))
    tasks = list_tasks(
        {"a": {"epochs": 5}, "b": TrainingOptions(adapter=None), "c": None},
        data="rows.csv",
        options=common,
        registry=tmp_path,
    )
    found = options_of(tasks)
    assert [options.epochs for options in found.values()] == [5, 3, 3]
    assert found["c"] == common
    assert found["b"].adapter is None
    assert {entry.data for entry in tasks.entries} == {"rows.csv"}
    (one,) = list_tasks([{"name": "a", "data": [1], "target": "x"}], data="rows.csv").entries
    assert (one.name, one.data, one.options) == ("a", [1], {"target": "x"})


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ("rows.jsonl", "The tasks to train are 'rows.jsonl'; expected a .yaml file, options by"),
        (7, "The tasks to train are 7"),
        (["a"], "Task 1 of those to train is 'a'"),
        ([{"target": "a"}], "Task 1 of those to train is"),
        ({"A": {}}, "The task 'A' is not allowed"),
        ({"a": 3}, "The options are 3; expected TrainingOptions or a dictionary."),
        ({"a": {"target": ["评分"]}}, "Task 'a': The column '评分' makes no name of a task"),
        ({"a": {"target": 3}}, "Task 'a': Option target is 3; expected a column"),
        ({}, "There is no task to train"),
    ],
)
def test_what_are_no_tasks(tasks: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        list_tasks(tasks)
    assert str(caught.value).startswith(message)


def test_an_entry_is_named_in_an_error_of_any_kind() -> None:
    entry = TaskEntry("mood", None, {})
    with pytest.raises(DataError) as caught, entry.named_in_errors():
        raise DataError("a.csv", "it is bad", 3)
    assert str(caught.value) == "Task 'mood': a.csv, line 3: it is bad"
    assert caught.value.line == 3
