"""Tasks that are added to a finished folder, or replaced by another version."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapterhub import Hub
from adapterhub.errors import DataError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.scoring.parts import parts
from adapterhub.scoring.pipeline import windows
from adapterhub.scoring.state import folder as job_folder
from tests.scoring.test_parts import (
    ROWS,
    TASKS,
    Killed,
    files,
    killed,
    read,
    read_lines,
    score,
    write,
)
from tests.tiny import add_task, tiny_task

pytestmark = pytest.mark.slow

OTHER = {"text_pair": "early"}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(windows, "WINDOW_ROWS", 3)
    write("in.jsonl", ROWS)


def new_version(hub: Hub, backbone: Backbone) -> None:
    """Adds another version of `sentiment`."""
    spec = tiny_task(backbone, "single_label", task="sentiment")
    add_task(hub.registry_path, spec, encoder=hub.encoder, tokenizer=hub.tokenizer, seed=9)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_task_is_added_as_if_it_had_been_there(hub: Hub, form: Any) -> None:
    score(
        hub, "whole", part_format=form, tasks=["sentiment", "rating", "topics", "entities", "trees"]
    )
    score(hub, part_format=form)
    done = score(hub, part_format=form, tasks=["topics", "entities", "trees"])
    assert (done.new_rows, done.resumed_rows, done.plan.tasks) == (10, 0, 3)
    assert list(done.made_by or {}) == ["sentiment", "rating", "topics", "entities", "trees"]
    one, other = files(), files("whole")
    assert one.keys() == other.keys()
    same = {name for name in one if name.startswith(("part", "_job/job"))}
    assert {name: one[name] for name in same} == {name: other[name] for name in same}
    assert read() == read("whole")
    # Again, by all names and by those of before: nothing is to be done.
    for tasks in (["sentiment", "rating", "topics", "entities", "trees"], ["rating"]):
        assert score(hub, part_format=form, tasks=tasks).new_rows == 0


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_new_version_rewrites_its_columns_alone(
    hub: Hub, tiny_backbone: Backbone, form: Any
) -> None:
    score(hub, part_format=form)
    before = read()
    new_version(hub, tiny_backbone)
    done = score(hub, part_format=form)
    assert (done.plan.tasks, done.new_rows) == (1, 10)
    score(hub, "whole", part_format=form)
    after = read()
    assert after == read("whole")
    assert list(after[0]) == list(before[0])
    assert [row["rating.value"] for row in after] == [row["rating.value"] for row in before]
    assert [row["sentiment.score"] for row in after] != [row["sentiment.score"] for row in before]
    success = json.loads(Path("out/_SUCCESS").read_text())
    assert [task["version"] for task in success["tasks"]] == [2, 1]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_row_is_cut_if_it_is_for_any_task(hub: Hub, form: Any) -> None:
    write("in.jsonl", [*ROWS[:5], {"id": 5, "text": "long " * 2_000}, *ROWS[6:]])
    for name, steps in (("whole", [["rating", "topics"]]), ("out", [["rating"], ["topics"]])):
        for tasks in steps:
            done = score(hub, name, part_format=form, tasks=tasks, mark_truncated=True)
            assert done.truncated == 1
    assert [row["truncated"] for row in read()] == [row["id"] == 5 for row in ROWS]
    assert read() == read("whole")


def test_the_rows_that_a_new_task_cannot_read_go_to_the_others(hub: Hub) -> None:
    rows: list[Any] = [{**row, **OTHER} for row in ROWS]
    rows[1] = "no json"
    rows[4] = {"id": 4, "text": "late"}
    rows[6] = {"id": 6, "text": "late", "text_pair": None}
    rows[7] = {"id": 7, "text": None, "text_pair": "late"}
    write("in.jsonl", rows)
    tasks = ["sentiment", "entails"]
    for form in ("parquet", "jsonl"):
        skip: dict[str, Any] = {"on_error": "skip", "part_format": form}
        score(hub, f"whole-{form}", tasks=tasks, **skip)
        done = score(hub, form, tasks=["sentiment"], **skip)
        assert (done.scored, done.bad) == (8, 2)
        with pytest.raises(DataError, match=r"in\.jsonl, line 5: .*text_pair"):
            score(hub, form, tasks=["entails"], part_format=form)
        done = score(hub, form, tasks=["entails"], **skip)
        assert (done.rows, done.scored, done.bad) == (10, 6, 4)
        assert read(form) == read(f"whole-{form}")
        errors = read_lines(f"{form}/_errors.jsonl")
        assert [row["line"] for row in errors] == [2, 5, 7, 8]
        assert errors == read_lines(f"whole-{form}/_errors.jsonl")


@pytest.mark.parametrize("window", [0, 1, 2, 4])
def test_a_killed_update_goes_on(hub: Hub, tiny_backbone: Backbone, window: int) -> None:
    score(hub)
    new_version(hub, tiny_backbone)
    score(hub, "whole", tasks=["sentiment", "rating", "topics"])
    before = files()
    killed(hub, window, tasks=["sentiment", "topics"])
    assert not Path("out/_SUCCESS").exists()
    assert (
        sum(files()[f"part-0000{n}.parquet"] != before[f"part-0000{n}.parquet"] for n in range(3))
        == window // 2
    )
    with pytest.raises(DataError, match="task 'topics' was there and is not now"):
        score(hub, tasks=["sentiment", "rating"])
    done = score(hub, tasks=["sentiment", "topics"])
    assert done.new_rows == 10 - 4 * (window // 2)
    assert read() == read("whole")


@pytest.mark.parametrize("place", ["before", "after"])
def test_an_update_that_is_killed_while_a_part_is_replaced(
    hub: Hub, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old part and its manifest stay together, or the new ones."""
    write("in.jsonl", [{**row, **(OTHER if row["id"] != 2 else {})} for row in ROWS])
    skip: dict[str, Any] = {"on_error": "skip"}
    score(hub, "whole", tasks=["sentiment", "entails"], **skip)
    score(hub, tasks=["sentiment"], **skip)
    what = {"before": "write_record", "after": "place_staged"}[place]

    def die(*_: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, what, die)
        with pytest.raises(Killed):
            score(hub, tasks=["entails"], **skip)
    assert any(name.startswith("00000.1.") for name in os.listdir("out/_job"))
    done = score(hub, tasks=["entails"], **skip)
    assert done.new_rows == {"before": 10, "after": 6}[place]
    assert read() == read("whole")
    assert set(os.listdir("out/_job")) == set(os.listdir("whole/_job"))


def test_other_changes_are_no_update(hub: Hub) -> None:
    write("in.jsonl", [{**row, "other": "good"} for row in ROWS])
    score(hub)
    before = files()
    with pytest.raises(DataError, match="'rating' read the column 'text' and reads 'other' now"):
        score(hub, text_column="other")
    with pytest.raises(DataError, match=r"finished job .* part_rows was 4 and is 5 now"):
        score(hub, tasks=["topics"], part_rows=5)
    assert files() == before


def test_a_missing_part_needs_all_tasks(hub: Hub) -> None:
    score(hub)
    killed(hub, 2, tasks=["topics"])
    Path("out/part-00002.parquet").unlink()
    with pytest.raises(DataError, match=r"part-00002\.parquet: .*name sentiment, rating too"):
        score(hub, tasks=["topics"])
    assert score(hub, tasks=["sentiment", "rating", "topics"]).scored == 10


def test_a_changed_part_of_equal_size_is_refused(hub: Hub) -> None:
    score(hub, part_format="jsonl")
    part = Path("out/part-00001.jsonl")
    part.write_text("x" * (part.stat().st_size - 1) + "\n")
    with pytest.raises(DataError, match=r"part-00001\.jsonl: it was changed since"):
        score(hub, tasks=["topics"], part_format="jsonl")


def test_types_of_all_columns_stay(hub: Hub) -> None:
    table = pa.table({"text": ["good", "bad"], "n": pa.array([1, None], pa.int16())})
    pq.write_table(table, "in.parquet")
    score(hub, source="in.parquet")
    before = pq.read_schema("out/part-00000.parquet")
    score(hub, source="in.parquet", tasks=["topics"])
    after = pq.read_schema("out/part-00000.parquet")
    assert list(after)[: len(before)] == list(before)
    assert job_folder.read_state(Path("out").absolute()).is_finished


def test_columns_keep_their_types_in_parts_that_are_made_again(hub: Hub) -> None:
    # Without a second text a row is bad from the begin, so that its values have no type.
    rows = [{**row, "n": 1, **OTHER} for row in ROWS[:6]]
    write("in.jsonl", [{"m": "x", **ROWS[6], "n": "x"}, *rows])
    score(hub, tasks=["entails"], on_error="skip")
    before = pq.read_schema("out/part-00000.parquet").names
    assert score(hub, on_error="skip").bad == 1
    os.unlink("out/part-00001.parquet")
    score(hub, tasks=["entails", *TASKS], on_error="skip")
    one, other = (pq.read_schema(f"out/part-0000{number}.parquet") for number in (0, 1))
    assert (one.names[: len(before)], one) == (before, other)


def test_an_update_that_fails_before_its_first_part_leaves_the_folder(hub: Hub) -> None:
    write("in.jsonl", [ROWS[0], *({**row, **OTHER} for row in ROWS[1:])])
    score(hub)
    before = files()
    with pytest.raises(DataError, match=r"has no field 'text_pair'"):
        score(hub, tasks=["entails"])
    assert files() == before
    assert score(hub).new_rows == 0
