"""Signals: every verb ends within a second, clean, with the exit code that shells expect."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adapterhub.store.atomic import stray_files
from tests.commands.conftest import Run
from tests.commands.test_process import command, environment

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
# A verb whose main thread computes for a minute, in Python or in one call of torch.
COMPUTE = """
import sys, time
from pathlib import Path
from adapterhub import cli
from adapterhub.scoring.output.whole_file import whole_file

def list_tasks() -> None:
    with whole_file(Path("out.csv")) as temp:
        temp.write_text("x" * 10_000)
        {work}

cli._VERBS["list"] = list_tasks
sys.argv = ["adapterhub", "list"]
cli.main()
"""
WORK = {
    "python": 'print("ready", flush=True); time.sleep(60)',
    "cleans slowly": """
        try:
            print("ready", flush=True); time.sleep(60)
        finally:
            time.sleep(60)""",
    "swallows": """
        class Loud:
            def __del__(self): time.sleep(60)
        print("ready", flush=True); loud = Loud(); del loud; time.sleep(60)""",
}
TORCH = """import torch
        torch.set_num_threads(1); many = torch.zeros(12_000, 12_000)
        print("ready", flush=True); many @ many @ many @ many"""


def defaults() -> None:
    """A shell starts what it puts in the background with SIGINT ignored, and so the tests."""
    for number in CODES:
        signal.signal(number, signal.SIG_DFL)


def start(words: list[str], folder: Path, prepare: Callable[[], None]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=prepare,
    )


def end(running: subprocess.Popen[str], number: int, *, times: int = 1) -> tuple[int, str, float]:
    started = time.monotonic()
    for _ in range(times):
        running.send_signal(number)
        time.sleep(0.01)
    _, errors = running.communicate(timeout=60)
    return running.returncode, errors, time.monotonic() - started


def check(folder: Path, work: str, number: signal.Signals, *, times: int = 1) -> None:
    words = [sys.executable, "-c", COMPUTE.format(work=work)]
    with start(words, folder, defaults) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        code, errors, seconds = end(running, number, times=times)
    assert (code, errors) == (CODES[number], "")
    assert seconds < 1.5, "a second, on a busy machine"
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGINT, signal.SIGHUP)),
    ],
)
@pytest.mark.slow
def test_a_signal_ends_what_waits(tmp_path: Path, number: signal.Signals) -> None:
    check(tmp_path, WORK["python"], number)


@pytest.mark.slow
@pytest.mark.parametrize("work", ["cleans slowly", "swallows"])
def test_a_signal_ends_what_does_not_want_to(tmp_path: Path, work: str) -> None:
    check(tmp_path, WORK[work], signal.SIGTERM)


@pytest.mark.slow
def test_a_signal_ends_a_long_call_of_torch(tmp_path: Path) -> None:
    check(tmp_path, TORCH, signal.SIGINT)


@pytest.mark.slow
def test_a_second_signal_changes_nothing(tmp_path: Path) -> None:
    check(tmp_path, WORK["python"], signal.SIGTERM, times=5)


@pytest.mark.slow
def test_what_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    def prepare() -> None:
        defaults()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    words = [sys.executable, "-c", COMPUTE.format(work=WORK["python"])]
    with start(words, tmp_path, prepare) as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.send_signal(signal.SIGHUP)
        time.sleep(0.7)  # longer than what ends a process late
        assert running.poll() is None
        assert end(running, signal.SIGTERM)[0] == 143


# What libraries do with an exception that is raised in the middle of them.
TURNED = {
    "before the verb": """
    from adapterhub.commands import stopping
    watch = stopping.Signals.watch
    def watch_and_stop(self):
        watch(self)
        os.kill(os.getpid(), {number})
    stopping.Signals.watch = watch_and_stop""",
    "into an error": """
    def verb():
        try:
            os.kill(os.getpid(), {number})
        except BaseException as error:
            raise SystemError("returned a result with an exception set") from error""",
    "into a failed import": """
    open("numpy_like.py", "w").write("import os; os.kill(os.getpid(), {number})")
    sys.path.insert(0, "")
    def verb():
        try:
            import numpy_like
        except BaseException:
            traceback.print_exc()
            raise ImportError("multiarray failed to import") from None""",
    "after the verb": """
    atexit.register(lambda: os.kill(os.getpid(), {number}))
    def verb():
        pass""",
}


@pytest.mark.slow
@pytest.mark.parametrize("when", TURNED)
@pytest.mark.parametrize("number", CODES)
def test_a_signal_at_a_bad_moment(tmp_path: Path, when: str, number: signal.Signals) -> None:
    lines = ["import atexit, os, sys, traceback", "from adapterhub import cli", "verb = print"]
    lines += textwrap.dedent(TURNED[when].format(number=int(number))).splitlines()
    lines += ['cli._VERBS["list"] = lambda: verb()', 'sys.argv = ["adapterhub", "list"]']
    words = [sys.executable, "-c", "\n".join([*lines, "cli.main()"])]
    with start(words, tmp_path, defaults) as running:
        _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (CODES[number], "")


@pytest.mark.slow
def test_an_interrupt_while_the_command_line_is_imported(tmp_path: Path) -> None:
    lines = """
import os, runpy, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == "adapterhub.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("adapterhub", run_name="__main__")
"""
    words = [sys.executable, "-c", lines]
    with start(words, tmp_path, defaults) as running:
        _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (-signal.SIGINT, "")


def test_python_callers_keep_their_handlers(run: Run, tiny_registry: Path) -> None:
    before = [signal.getsignal(number) for number in CODES]
    assert run("list", "-r", tiny_registry).code == 0
    assert [signal.getsignal(number) for number in CODES] == before


@pytest.mark.slow
def test_a_training(tiny_registry: Path, tmp_path: Path) -> None:
    """A job of scoring is stopped in tests/soak/jobs.py."""
    work = tmp_path / "work"
    work.mkdir()
    rows = tmp_path / "rows.jsonl"
    text = '{"text": "the film was good and the food was bad %d", "label": "%d"}\n'
    rows.write_text("".join(text % (i, i % 2) for i in range(20_000)))
    cache = tmp_path / "cache"
    words = command("train", rows, "-r", tiny_registry, "-t", "new")
    with start(["env", f"ADAPTERHUB_CACHE={cache}", *words], work, defaults) as running:
        give_up = time.monotonic() + 120
        while not list(cache.rglob("*.features.safetensors*")):  # in the middle of encoding
            assert running.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.02)
        code, errors, seconds = end(running, signal.SIGTERM)
    assert code == CODES[signal.SIGTERM], errors
    assert "Traceback" not in errors
    assert seconds < 2
    assert os.listdir(work) == []
    assert not stray_files(tiny_registry.parent)
    assert not [file for file in cache.rglob("*") if file.name.endswith("-temp")]
