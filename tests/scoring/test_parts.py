"""Folders of parts: what is in them, going on where a run stopped, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapterhub import Hub
from adapterhub.errors import DataError, UsageError
from adapterhub.rows.formats import find_format
from adapterhub.rows.reading import read_file
from adapterhub.scoring.engines import local_engine, run_job
from adapterhub.scoring.engines.local_engine import LocalEngine, refuse_bad
from adapterhub.scoring.engines.run_job import begin
from adapterhub.scoring.job.fingerprint import EncoderSettings
from adapterhub.scoring.job.target import find_target
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.parts import parts
from adapterhub.scoring.pipeline import windows
from adapterhub.scoring.pipeline.chunks import ScoredChunk
from adapterhub.scoring.score_file import ScoredFile, prepare
from adapterhub.scoring.sources import open_source as sources
from adapterhub.scoring.sources.open_source import open_source
from adapterhub.scoring.state.folder import hold_folder
from adapterhub.scoring.state.records import Record, write_record
from adapterhub.store.registries import Registries
from adapterhub.store.registry import read_registry

pytestmark = pytest.mark.slow

TEXTS = ["the film was good", "a bad day", "it is late", "not very good", "she was early"]
ROWS: list[dict[str, Any]] = [{"id": n, "text": f"{TEXTS[n % 5]} {n}"} for n in range(10)]
TASKS = ["sentiment", "rating"]
STATE = {"job.json", "00000.json", "00001.json", "00002.json"}


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(windows, "WINDOW_ROWS", 3)
    write("in.jsonl", ROWS)


def write(path: str, rows: list[Any]) -> None:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    Path(path).write_text("".join(f"{line}\n" for line in lines), "utf-8")


def score(hub: Hub, out: str = "out", *, source: Any = "in.jsonl", **options: Any) -> ScoredFile:
    tasks = options.pop("tasks", TASKS)
    return hub.score_file(source, out, tasks=tasks, options={"part_rows": 4, **options})


def kill_at(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    """Ends the run before a window is written, counted from 0."""
    written = iter(range(window + 1))

    def run(chunk: ScoredChunk, *args: Any, **named: Any) -> None:
        if next(written) == window:
            raise Killed
        refuse_bad(chunk, *args, **named)

    monkeypatch.setattr(local_engine, "refuse_bad", run)


def killed(hub: Hub, window: int, out: str = "out", **options: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, window)
        with pytest.raises(Killed):
            score(hub, out, **options)


def files(folder: str = "out") -> dict[str, bytes]:
    paths = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def read(out: str = "out") -> list[dict[str, Any]]:
    if Path(out).is_file():
        return list(pq.read_table(out).to_pylist())
    paths = sorted(Path(out).glob("part-*"))
    if paths[0].suffix == ".jsonl":
        return [json.loads(line) for path in paths for line in path.open(encoding="utf-8")]
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_folder_has_parts_state_and_its_end(hub: Hub, form: Any) -> None:
    done = score(hub, part_format=form)
    names = [f"part-0000{n}.{form}" for n in range(3)]
    assert set(os.listdir("out")) == {"_job", "_SUCCESS", *names}
    assert set(os.listdir("out/_job")) == STATE
    score(hub, "whole.jsonl")
    assert read() == read_lines("whole.jsonl")
    assert (done.path, done.parts, done.rows, done.resumed_rows) == (Path("out"), 3, 10, 0)
    success = json.loads(Path("out/_SUCCESS").read_text())
    assert [success[name] for name in ("rows", "scored", "bad", "parts")] == [10, 10, 0, 3]
    assert {one["name"]: one["version"] for one in success["tasks"]} == dict.fromkeys(TASKS, 1)
    assert done.made_by is not None
    assert success["tasks"][0]["sha256"] == done.made_by["sentiment"].sha256


def read_lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).open(encoding="utf-8")]


def test_schemas_and_a_file_beside_say_what_made_them(hub: Hub) -> None:
    score(hub)
    score(hub, "out.csv")
    found = json.loads((pq.read_schema("out/part-00001.parquet").metadata)[b"adapterhub"])
    assert found == json.loads(Path("out/_job/job.json").read_text())
    beside = json.loads(Path("out.csv.job.json").read_text())
    assert (beside["part_format"], found["part_format"]) == ("csv", "parquet")
    assert beside["tasks"] == found["tasks"]
    assert found["tasks"][0]["reference"] == "sentiment:1"
    assert found["backbone"]["fingerprint"] == hub.backbone.fingerprint
    assert found["inputs"][0]["bytes"] == Path("in.jsonl").stat().st_size


@pytest.mark.parametrize("window", range(6))
def test_a_killed_job_goes_on_and_ends_with_the_same_bytes(hub: Hub, window: int) -> None:
    """Windows of 3, 1, 3, 1, 2 rows in parts of 4."""
    score(hub, "whole")
    if window < 5:
        killed(hub, window)
    done = score(hub)
    assert files("out") == files("whole")
    assert done.resumed_rows == (window // 2) * 4 if window < 5 else not done.resumed_rows


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz", "a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_one_file_goes_on_too(hub: Hub, name: str) -> None:
    rows = [*ROWS[:5], {"id": 5, "text": None}, *ROWS[6:]]
    write("in.jsonl", rows)
    score(hub, f"whole-{name}", on_error="skip")
    killed(hub, 0, name, on_error="skip")
    killed(hub, 1, name, on_error="skip")
    assert not Path(f"{name}.parts").exists()
    killed(hub, 4, name, on_error="skip")
    assert not Path(name).exists()
    assert {path.name for path in Path(f"{name}.parts").glob("part-*")} == {
        f"part-0000{n}.{name.partition('.')[2]}" for n in range(2)
    }
    done = score(hub, name, on_error="skip")
    assert (done.rows, done.bad, done.resumed_rows) == (10, 1, 8)
    beside = [] if name == "a.parquet" else [f"{name}.job.json"]
    expected = [name, f"{name}.errors.jsonl", *beside]
    assert sorted(found for found in os.listdir() if found.startswith(name)) == expected
    if name == "a.parquet":
        assert read(name) == read(f"whole-{name}")
        assert pq.read_metadata(name).num_row_groups == 1
        score(hub, "one.parquet", on_error="skip", part_rows=100)
        assert pq.read_schema(name) == pq.read_schema("one.parquet")
    else:
        assert Path(name).read_bytes() == Path(f"whole-{name}").read_bytes()
    errors = read_lines(f"{name}.errors.jsonl")
    assert errors == read_lines(f"whole-{name}.errors.jsonl")
    assert [(row["file"], row["line"]) for row in errors] == [("in.jsonl", 6)]


@pytest.mark.parametrize("step", ["_write_errors", "_write_own_record", "_remove_work"])
@pytest.mark.parametrize("part_rows", [4, 100])
def test_a_file_that_lacks_only_what_stands_beside_it_goes_on(
    hub: Hub, step: str, part_rows: int
) -> None:
    write("in.jsonl", ["no json", *ROWS])

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_job, step, die)
        with pytest.raises(Killed):
            score(hub, "a.csv", on_error="skip", part_rows=part_rows)
    assert Path("a.csv").exists()
    done = score(hub, "a.csv", on_error="skip", part_rows=part_rows)
    assert (done.rows, done.resumed_rows) == (11, 11)
    beside = {"a.csv", "a.csv.errors.jsonl", "a.csv.job.json", "in.jsonl"}
    assert set(os.listdir()) == beside
    with pytest.raises(DataError, match="exists already"):
        score(hub, "a.csv", on_error="skip", part_rows=part_rows)


def test_what_is_done_is_not_done_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    score(hub)
    before = files()
    kill_at(monkeypatch, 0)
    done = score(hub, tasks=["rating"])
    assert (done.rows, done.resumed_rows, done.new_rows) == (10, 10, 0)
    assert files() == before


def remove_part(place: Path) -> None:
    (place / "part-00001.parquet").unlink()


def cut_part(place: Path) -> None:
    part = place / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-9])


def remove_manifest(place: Path) -> None:
    (place / "_job/00001.json").unlink()


@pytest.mark.parametrize("damage", [remove_part, cut_part, remove_manifest])
def test_a_part_that_is_not_whole_is_made_again(hub: Hub, damage: Callable[[Path], None]) -> None:
    score(hub)
    before = files()
    damage(Path("out"))
    done = score(hub)
    assert (done.resumed_rows, done.new_rows) == (6, 4)
    assert files() == before


def test_the_order_of_tasks_is_that_of_the_folder(hub: Hub) -> None:
    score(hub, "whole")
    killed(hub, 3)
    score(hub, tasks=["rating", "sentiment"])
    assert files("out") == files("whole")


def changed_input() -> None:
    write("in.jsonl", [*ROWS, {"id": 10, "text": "late"}])


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"tasks": ["sentiment"]}, "task 'rating' was there and is not now"),
    ({"tasks": [*TASKS, "topics"]}, "task 'topics' is new"),
    ({"top_k": 2}, "top_k was 1 and is 2 now"),
    ({"prefix": "p_"}, "prefix was '' and is p_ now"),
    ({"part_rows": 5}, "part_rows was 4 and is 5 now"),
    ({"part_format": "jsonl"}, "part_format was parquet and is jsonl now"),
    ({"keep_columns": ["id"]}, "keep_columns was all and is id now"),
    ({"mark_truncated": True}, "column of mark_truncated was none and is truncated now"),
    ({"text_column": "other"}, "read the column 'text' and reads 'other' now"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=lambda one: str(one)[:20])
def test_an_unfinished_job_refuses_another(hub: Hub, change: dict[str, Any], words: str) -> None:
    write("in.jsonl", [{**row, "other": "good"} for row in ROWS])
    killed(hub, 3)
    before = files()
    with pytest.raises(DataError, match="unfinished job that differs") as caught:
        score(hub, **change)
    assert words in str(caught.value)
    assert "--force (force=True)" in str(caught.value)
    assert files() == before
    score(hub, force=True, **change)
    assert Path("out/_SUCCESS").exists()


def test_a_changed_input_or_encoder_is_refused(hub: Hub, tiny_registry: Path) -> None:
    killed(hub, 3)
    size = Path("in.jsonl").stat().st_size
    for options, words in (
        ({"dtype": "bfloat16"}, "dtype was float32 and is bfloat16 now"),
        ({"max_windows": 2}, "max_windows was 16 and is 2 now"),
    ):
        with pytest.raises(DataError, match=words):
            score(Hub(tiny_registry, device="cpu", **options))
    changed_input()
    with pytest.raises(DataError, match=rf"in\.jsonl was {size} bytes with sha256 \w+… and it is"):
        score(hub)


def test_versions_of_libraries_are_compared(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(hub, 3)
    path = Path("out/_job/job.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "torch": "1.0", "adapterhub": "0.1"}))
    with pytest.raises(DataError, match=r"version of adapterhub was 0\.1 .*of torch was 1\.0 and"):
        score(hub)


def test_a_finished_folder_refuses_all_but_tasks(hub: Hub) -> None:
    score(hub)
    before = files()
    with pytest.raises(DataError, match=r"finished job that differs.*top_k was 1 and is 2 now"):
        score(hub, top_k=2)
    changed_input()
    with pytest.raises(DataError, match=r"finished job that differs.*Tasks may be added"):
        score(hub, tasks=["topics"])
    assert files() == before


def test_force_starts_anew_and_removes_nothing_else(hub: Hub) -> None:
    score(hub)
    Path("out/.mine").write_text("mine")
    Path("out/notes").mkdir()
    write("in.jsonl", ROWS[:3])
    assert score(hub, force=True, part_format="jsonl").resumed_rows == 0
    names = {"_job", "_SUCCESS", ".mine", "notes", "part-00000.jsonl"}
    assert set(os.listdir("out")) == names
    assert set(os.listdir("out/_job")) == {"job.json", "00000.json"}


def test_what_is_no_job_is_left_alone(hub: Hub) -> None:
    Path("other").mkdir()
    Path("other/data.csv").write_text("mine")
    Path("file").write_text("mine")
    for out, force, words in (
        ("other", False, r"not empty and holds no job of adapterhub \(data\.csv\)"),
        ("other", True, "not empty and holds no job"),
        ("file/sub", True, "file is no folder"),
        ("file", False, "it is no folder, as a name without an ending"),
        ("", True, "The output is ''; name a file or a folder"),
        ("-", False, "The output is '-'; name a file or a folder"),
        ("out.csv.x", False, r"ends in none of .* A folder of parts is named with '/' at the end"),
    ):
        with pytest.raises((DataError, UsageError), match=words):
            score(hub, out, force=force)
    with pytest.raises(UsageError, match=r"part_format .* is of a folder"):
        score(hub, "out.csv", part_format="jsonl")
    assert set(os.listdir()) == {"in.jsonl", "other", "file"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("job.json", "{", "it is damaged: .*Nothing was changed"),
        ("job.json", '{"format": 2, "new": 1}', r"newer adapterhub \(format 2; .*reads 1\)"),
        ("job.json", '{"format": 1, "new": 1}', "it is damaged: "),
        ("00000.json", "[]", "it is damaged: it is not an object"),
        ("00000.json", '{"format": 9}', "newer adapterhub"),
    ],
)
def test_state_that_cannot_be_read_is_refused(
    hub: Hub, name: str, content: str, words: str
) -> None:
    killed(hub, 3)
    Path(f"out/_job/{name}").write_text(content)
    before = files()
    with pytest.raises(DataError, match=words):
        score(hub)
    assert files() == before
    assert score(hub, force=True).scored == 10


def test_a_second_job_is_refused(hub: Hub) -> None:
    killed(hub, 3)
    options = ScoringOptions()
    words = f"another job is writing there: process {os.getpid()}"
    with hold_folder(find_target("out", options).folder), pytest.raises(DataError, match=words):
        score(hub)
    assert score(hub).scored == 10


def test_what_can_be_read_once_cannot_go_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "AHEAD_ROWS", 2)

    def texts(stop: int) -> Iterator[str]:
        yield from TEXTS[:stop]
        if stop < 5:
            raise Killed

    with pytest.raises(Killed):
        score(hub, source=texts(4), part_rows=2)
    with pytest.raises(DataError, match="unfinished job, and this input can be read only once"):
        score(hub, source=texts(5), part_rows=2)
    assert score(hub, source=texts(5), force=True).scored == 5
    with pytest.raises(Killed):
        score(hub, "a.csv", source=texts(4), part_rows=1)
    assert not list(Path().glob("a.csv*"))


def test_bad_rows_are_counted_across_runs(hub: Hub) -> None:
    bad = {2: "no json", 5: {"id": 5}, 9: {"id": 9, "text": 7}}
    write("in.jsonl", [bad.get(n, row) for n, row in enumerate(ROWS)])
    with pytest.raises(DataError, match=r"in\.jsonl, line 3: .*on_error='skip'"):
        score(hub)
    killed(hub, 2, on_error="skip")
    done = score(hub, on_error="skip")
    assert (done.rows, done.scored, done.bad) == (10, 7, 3)
    assert done.bad_path == Path("out/_errors.jsonl")
    errors = read_lines("out/_errors.jsonl")
    assert [row["line"] for row in errors] == [3, 6, 10]
    assert [row["row"] for row in errors] == ["no json", {"id": 5}, {"id": 9, "text": 7}]
    assert [row["id"] for row in read()] == [n for n in range(10) if n not in bad]


def test_no_rows_are_one_empty_part(hub: Hub) -> None:
    Path("in.csv").write_text("text,id\n")
    assert score(hub, source="in.csv").rows == 0
    table = pq.read_table("out")
    assert (table.num_rows, table.column_names[:2]) == (0, ["text", "id"])
    # The datasets library cannot read a group of no rows.
    assert pq.read_metadata("out/part-00000.parquet").num_row_groups == 0
    write("in.jsonl", ROWS[:8])
    assert score(hub, "two").parts == 2


def test_columns_may_be_chosen(hub: Hub) -> None:
    keep = ["id"]
    score(hub, keep_columns=keep)
    score(hub, "lines", keep_columns=keep, part_format="jsonl")
    score(hub, "a.csv", keep_columns=keep)
    columns = ["id", *(c for c in read()[0] if c not in ("id", "text"))]
    assert list(read()[0]) == list(read("lines")[0]) == columns
    assert Path("a.csv").read_text().splitlines()[0] == ",".join(columns)
    with pytest.raises(DataError, match=r"no column 'idd'.*Did you mean 'id'"):
        score(hub, "other", keep_columns=["idd"])


@pytest.mark.parametrize("name", ["a.arrow", "a.csv.zst"])
def test_other_formats_are_joined_too(hub: Hub, name: str) -> None:
    score(hub, f"one-{name}", part_rows=100)
    killed(hub, 4, name)
    assert score(hub, name).resumed_rows == 8
    found = read_file(Path(name), find_format(Path(name)))
    ids = [int(str(row.values["id"])) for row in found]
    assert ids == list(range(10))
    if name == "a.arrow":
        with pa.ipc.open_file(name) as one, pa.ipc.open_file(f"one-{name}") as other:
            assert one.schema.equals(other.schema, check_metadata=False)
            assert b"adapterhub" in one.schema.metadata
            assert one.num_record_batches == 1


def test_a_job_killed_while_its_parts_are_removed_is_made_good(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(hub, "whole.jsonl")

    class KilledError(BaseException):
        pass

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name == "part-00001.jsonl":
            raise KilledError
        if os.path.lexists(path):
            os.unlink(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(KilledError):
            score(hub, "a.jsonl")
    assert Path("a.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    assert Path("a.jsonl.parts").is_dir()
    score(hub, "a.jsonl")
    assert Path("a.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    assert not Path("a.jsonl.parts").exists()


def test_a_job_goes_to_other_processes(hub: Hub) -> None:
    """It is pickled and makes single parts, in any order."""
    options = ScoringOptions(part_rows=4)
    settings = EncoderSettings(None, hub.dtype, hub.max_windows)
    registries = Registries(hub.registry_paths)
    job = prepare(
        registries,
        open_source("in.jsonl"),
        out=find_target("out", options),
        tasks=TASKS,
        options=options,
        encoder=settings,
    )
    assert job.output is not None
    with hold_folder(job.output.target.folder):
        begin(job.output)
        sent = pickle.loads(pickle.dumps(job.part_job))
        for number in (2, 1, 3, 0):
            source = open_source("in.jsonl")
            engine = LocalEngine(hub, sent, source)
            rows = islice(source.rows, number * 4, None)
            part = engine.run_part(number, rows)
            assert (part is None) == (number == 3)
            again = engine.run_part(number, islice(open_source("in.jsonl").rows, number * 4, None))
            assert (again, engine.scored) == (part, 0 if part is None else part.rows)
    score(hub)
    score(hub, "whole")
    assert files("out") == files("whole")


def test_a_task_that_was_replaced_behind_the_job_is_refused(hub: Hub, tiny_registry: Path) -> None:
    registry = read_registry(tiny_registry)
    first, second = (registry.resolve(name).path for name in ("sentiment", "language"))
    head = Path("head.safetensors")
    shutil.copy(first, head)
    killed(hub, 3, tasks=["./head.safetensors"])
    shutil.copy(second, head)
    with pytest.raises(DataError, match=r"task 'sentiment' was there and is not now"):
        score(hub, tasks=["./head.safetensors"])
    shutil.copy(first, head)
    assert score(hub, tasks=["./head.safetensors"]).resumed_rows == 4


def test_a_read_only_folder_is_refused(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(hub, 3)
    monkeypatch.setattr(os, "access", lambda *_: False)
    for out in ("out", "new", "deep/new"):
        with pytest.raises(DataError, match="cannot be written to"):
            score(hub, out)


@pytest.mark.parametrize("out", ["out", "out.csv"])
def test_an_input_that_changes_meanwhile_is_refused(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    def cut(path: Path, record: Record) -> None:
        write_record(path, record)
        write("in.jsonl", ROWS[:4])

    monkeypatch.setattr(parts, "write_record", cut)
    with pytest.raises(
        DataError, match=r"in\.jsonl: it was changed while it was scored \(\d+ bytes"
    ):
        score(hub, out, on_error="skip")
    assert not Path("out/_SUCCESS").exists()
    assert not Path("out.csv").exists()
    monkeypatch.setattr(parts, "write_record", write_record)
    with pytest.raises(DataError, match=r"in\.jsonl was .* bytes"):
        score(hub, out, on_error="skip")
    assert score(hub, out, force=True).scored == 4
