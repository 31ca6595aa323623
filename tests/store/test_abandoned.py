"""Temporary files: those of running processes stay, those of dead ones are removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapterhub.store.atomic import OLD_SUFFIXES, stray_files, sweep
from adapterhub.store.owners import TEMP_SUFFIX, is_abandoned, owned_name, owner_of

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX processes")

LAST_YEAR = (1_600_000_000, 1_600_000_000)
WITHOUT_LOCKS = """
import errno, fcntl
def refuse(descriptor, operation):
    raise OSError(errno.ENOSYS, "no locks here")
fcntl.flock = refuse
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts code in a process of its own, and waits until it prints a line."""
    running: list[subprocess.Popen[str]] = []

    def start(code: str, *words: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in running:
        process.kill()
        with process:  # closes its pipes
            pass


HOLD = """
import sys
from pathlib import Path
from adapterhub.store.atomic import held_temp, take_name
path = Path(sys.argv[1])
with held_temp(path, is_folder="folder" in sys.argv) as temp:
    print("ready", flush=True)
    sys.stdin.readline()
    if temp.is_dir():
        temp.rename(path)
    else:
        temp.write_text("whole")
        take_name(temp, path, replace=False)
"""


def only(folder: Path) -> Path:
    (found,) = stray_files(folder)
    os.utime(found, LAST_YEAR)
    return found


@pytest.mark.parametrize("before", ["", pytest.param(WITHOUT_LOCKS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["file", pytest.param("folder", marks=pytest.mark.slow)])
def test_a_writer_that_lives_keeps_its_file_however_old(
    start: Start, tmp_path: Path, before: str, kind: str
) -> None:
    writer = start(before + HOLD, tmp_path / "out", kind)
    temp = only(tmp_path)
    sweep(tmp_path)
    assert temp.exists()
    assert owner_of(temp) == f"process {writer.pid} on this machine"
    os.kill(writer.pid, signal.SIGSTOP)  # as a laptop that sleeps
    sweep(tmp_path)
    assert not is_abandoned(temp)
    os.kill(writer.pid, signal.SIGCONT)
    writer.communicate("\n")
    assert writer.returncode == 0
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("before", ["", pytest.param(WITHOUT_LOCKS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["file", pytest.param("folder", marks=pytest.mark.slow)])
def test_what_a_dead_writer_left_is_removed_at_once(
    start: Start, tmp_path: Path, before: str, kind: str
) -> None:
    writer = start(before + HOLD, tmp_path / "out", kind)
    (temp,) = stray_files(tmp_path)
    writer.kill()
    writer.wait()
    assert is_abandoned(temp)
    sweep(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_zombie_is_dead(start: Start, tmp_path: Path) -> None:
    writer = start(HOLD, tmp_path / "out")
    writer.kill()
    os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)
    sweep(tmp_path)
    assert stray_files(tmp_path) == []


def test_a_forked_child_still_writes_for_its_dead_parent(start: Start, tmp_path: Path) -> None:
    code = """
        import os, sys
        from pathlib import Path
        from adapterhub.store.atomic import held_temp
        with held_temp(Path(sys.argv[1])) as temp:
            if os.fork():
                sys.stdin.readline()
                os._exit(0)
            print("ready", flush=True)
            sys.stdin.readline()
            sys.stdin.readline()
            os._exit(0)
    """
    parent = start(code, tmp_path / "out")
    parent.kill()
    parent.wait()
    temp = only(tmp_path)
    sweep(tmp_path)
    assert temp.exists()
    assert parent.stdin is not None
    parent.stdin.close()
    assert parent.stdout is not None
    assert parent.stdout.read() == ""  # the child has ended
    sweep(tmp_path)
    assert not temp.exists()


@pytest.mark.parametrize("is_old", [False, True])
def test_another_machine_has_a_day(tmp_path: Path, is_old: bool) -> None:
    own = owned_name("out")
    place = own.split(".")[2].partition("-")[0]
    temp = tmp_path / own.replace(place, "0" * len(place))
    temp.write_bytes(b"")
    if is_old:
        os.utime(temp, LAST_YEAR)
    sweep(tmp_path)
    assert temp.exists() is not is_old
    assert owner_of(temp).endswith("on another machine")


def test_a_number_that_another_process_has_by_now_is_dead(tmp_path: Path) -> None:
    own = owned_name("out")
    pid, start = own.split("-")[1:3]
    if start == "0":
        pytest.skip("this system does not say when a process started")
    temp = tmp_path / own.replace(f"-{pid}-{start}-", f"-{pid}-{int(start) - 1}-")
    temp.write_bytes(b"")
    assert is_abandoned(temp)


@pytest.mark.parametrize("suffix", [*OLD_SUFFIXES, TEMP_SUFFIX])
def test_a_file_without_an_owner_stays(tmp_path: Path, suffix: str) -> None:
    temp = tmp_path / f".out.0123456789abcdef{suffix}"
    temp.write_bytes(b"")
    os.utime(temp, LAST_YEAR)
    sweep(tmp_path)
    assert temp.exists()
    assert owner_of(temp) == "an unknown process"


@pytest.mark.parametrize("name", ["x", "é" * 120, "中" * 80, "a b", "-", "a\nb", ".."])
def test_names_fit_and_are_read_back(tmp_path: Path, name: str) -> None:
    own = owned_name(name)
    (tmp_path / own).write_bytes(b"")
    assert len(os.fsencode(own)) <= 255
    assert owner_of(Path(own)).startswith(f"process {os.getpid()} ")
