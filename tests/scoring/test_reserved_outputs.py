"""One output has one writer, from the start on; nothing that was computed is thrown away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterhub.errors import DataError
from adapterhub.hub import Hub
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.output.whole_file import errors_path, whole_file
from adapterhub.store.versions import add_version
from tests.builders import backbone_entry, head_tensors, task_spec

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX processes")

WRITE = """
import sys, os
from pathlib import Path
from adapterhub.errors import DataError
from adapterhub.scoring.output.whole_file import whole_file
try:
    with whole_file(Path(sys.argv[1]), force="force" in sys.argv) as temp:
        print("ready", flush=True)
        temp.write_text(sys.stdin.readline())
except DataError as error:
    print(error)
"""
NO_LOCKS = """
import errno, fcntl
def refuse(descriptor, operation):
    raise OSError(errno.ENOSYS, "no locks here")
fcntl.flock = refuse
"""


class Job:
    """`whole_file` in a process of its own."""

    def __init__(self, path: object, *words: str, code: str = WRITE) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(path), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().rstrip("\n")

    def end(self, text: str = "") -> str:
        return self.process.communicate(text)[0]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path / "out.jsonl")
    assert job.said == "ready"
    yield job
    job.kill()


@pytest.mark.slow
def test_the_second_is_refused_at_its_start(
    first: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.jsonl").symlink_to("out.jsonl")
    (tmp_path / "folder").symlink_to(".", target_is_directory=True)
    for path in ("out.jsonl", "link.jsonl", "folder/out.jsonl", tmp_path / "out.jsonl"):
        with pytest.raises(DataError) as caught, whole_file(Path(path), force=True):
            pass
        said = f"{path}: it is being written: process {first.process.pid} on "
        assert str(caught.value).startswith(said)
    assert first.end("of the first") == ""
    assert (tmp_path / "out.jsonl").read_text() == "of the first"
    assert sorted(os.listdir(tmp_path)) == ["folder", "link.jsonl", "out.jsonl"]


@pytest.mark.slow
def test_another_name_is_free(first: Job, tmp_path: Path) -> None:
    with whole_file(tmp_path / "out.jsonl.gz") as temp:
        temp.write_text("x")
    with pytest.raises(DataError, match="being written"), whole_file(tmp_path / "out.jsonl"):
        pass
    assert first.end("a") == ""


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", NO_LOCKS])
def test_a_killed_job_blocks_nothing(tmp_path: Path, before: str) -> None:
    out = tmp_path / "out.jsonl"
    first = Job(out, code=before + WRITE)
    refused = Job(out, code=before + WRITE)
    refused.kill()
    assert f"it is being written: process {first.process.pid}" in refused.said
    first.kill()
    second = Job(out, code=before + WRITE)
    assert second.said == "ready"
    assert second.end("again") == ""
    assert os.listdir(tmp_path) == ["out.jsonl"]


@pytest.mark.slow
def test_a_stopped_job_keeps_its_name_and_its_work(first: Job, tmp_path: Path) -> None:
    registry = tmp_path / "registry.yaml"
    os.kill(first.process.pid, signal.SIGSTOP)
    for name in os.listdir(tmp_path):
        os.utime(tmp_path / name, (1_600_000_000, 1_600_000_000))
    spec = task_spec(task="spam")
    add_version(
        registry, spec, head_tensors(spec), backbone_key="small", backbone_entry=backbone_entry()
    )
    with whole_file(tmp_path / "other.csv") as temp:
        temp.write_text("x")
    os.kill(first.process.pid, signal.SIGCONT)
    assert first.end("of the first") == ""
    assert (tmp_path / "out.jsonl").read_text() == "of the first"


def test_a_folder_that_came_in_the_way_costs_no_work(tmp_path: Path) -> None:
    out = tmp_path / "out.csv.gz"

    def meet() -> None:
        with whole_file(out, force=True) as temp:
            temp.write_text("new")
            out.mkdir()

    with pytest.raises(DataError, match=r"cannot be written: .*out\.2\.csv\.gz$"):
        meet()
    assert (tmp_path / "out.2.csv.gz").read_text() == "new"


def test_what_cannot_stay_here_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    def meet() -> None:
        with whole_file(tmp_path / "out.csv") as temp:
            temp.write_text("new")
            monkeypatch.setattr(os, "link", refuse)
            monkeypatch.setattr(os, "replace", refuse)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(DataError, match=r"what was written is in .*out\.csv$") as caught:
        meet()
    assert Path(str(caught.value).rpartition(" is in ")[2]).read_text() == "new"


@pytest.mark.parametrize("forced", [False, True])
def test_a_link_is_written_through(tmp_path: Path, forced: bool) -> None:
    (tmp_path / "data").mkdir()
    target, link = tmp_path / "data" / "real.csv", tmp_path / "link.csv"
    link.symlink_to(target)
    if forced:
        target.write_text("old")
    with whole_file(link, force=forced) as temp:
        temp.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with (
        pytest.raises(DataError, match="circle"),
        whole_file(tmp_path / "a"),
    ):
        pass


def test_a_replaced_file_leaves_its_hard_link_as_it_was(tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    out.write_text("old")
    other.hardlink_to(out)
    with whole_file(out, force=True) as temp:
        temp.write_text("new")
    assert (out.read_text(), other.read_text()) == ("new", "old")


@pytest.mark.parametrize("name", ["x" * 250, "é" * 120, "中" * 80 + ".csv", "a b", "-r", "ä.jsonl"])
@pytest.mark.slow
def test_any_name_that_the_system_takes_can_be_reserved(tmp_path: Path, name: str) -> None:
    with whole_file(tmp_path / name) as temp:
        temp.write_text("x")
        with pytest.raises(DataError, match="being written"), whole_file(tmp_path / name):
            pass
    assert os.listdir(tmp_path) == [name]


@pytest.mark.slow
def test_a_hub_refuses_before_it_scores(first: Job, hub: Hub, tmp_path: Path) -> None:
    read: list[str] = []

    def texts() -> Iterator[str]:
        for text in ["good"] * 5_000:
            read.append(text)
            yield text

    with pytest.raises(DataError, match="being written"):
        hub.score_file(texts(), tmp_path / "out.jsonl", tasks="rating")
    assert len(read) < 5_000
    assert not any(task.resident for task in hub.tasks())


def test_the_file_of_bad_rows_is_reserved_too(hub: Hub, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    skip = ScoringOptions(on_error="skip")
    with whole_file(errors_path(out)) as temp:
        temp.write_text("of somebody else")
        with pytest.raises(DataError, match=r"errors\.jsonl: it is being written"):
            hub.score_file(["good"], out, tasks="rating", options=skip)
    assert not out.exists()
    hub.score_file(["good"], out, tasks="rating", options=skip.model_copy(update={"force": True}))
    assert not errors_path(out).exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.parquet"])
def test_a_hub_keeps_what_it_scored(hub: Hub, tmp_path: Path, name: str) -> None:
    out = tmp_path / name

    def texts() -> Iterator[str]:
        yield from ["good", "bad"] * 2_000
        out.write_text("of somebody else")

    with pytest.raises(DataError, match=r"what was written is in .*out\.2\."):
        hub.score_file(texts(), out, tasks="rating")
    assert out.read_text() == "of somebody else"
    assert (tmp_path / f"out.2{out.suffix}").stat().st_size > 500


@pytest.mark.slow
def test_two_jobs_that_race_for_a_name(tmp_path: Path) -> None:
    out = tmp_path / "out"
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, str(out)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [job.communicate("x" * 10)[0] for job in jobs]
    assert sum(text == "ready\n" for text in said) == 1
    assert out.read_text() == "x" * 10
