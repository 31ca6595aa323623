"""`adapterhub score` as a process that is stopped or killed, and two that want one file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from adapterhub.store.registry import shipped_registry
from tests.soak.figures import Effort, Figure, exactly, none
from tests.tiny import save_registry

SIGNALS = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}
ROWS = 400_000
"""More than a job scores before it is stopped."""
FEW_ROWS = 20_000
LATEST = 6.0
"""Seconds after its start when a job is stopped at the latest; it imports torch for two of them."""
STARTED = 3.5
"""Seconds after which a job without a file counts as one that has still to open it."""


def _command(registry: Path, source: Path, out: Path) -> list[str]:
    words = ["score", "-r", registry, "-t", "rating", "-f", source, "-o", out]
    return [sys.executable, "-m", "adapterhub", *map(str, words)]


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    root = str(Path(shipped_registry()).parent)
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        # What a shell starts in the background ignores SIGINT, and what nohup starts SIGHUP; and
        # so would their children.
        preexec_fn=_heed_signals,
    )


def _heed_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def _rows(path: Path, count: int) -> Path:
    path.write_text('{"text": "the film was good and the food was bad"}\n' * count)
    return path


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _wait_for_output(folder: Path, job: subprocess.Popen[bytes]) -> None:
    """Waits until a job has opened its output, or has ended."""
    before = time.monotonic()
    while job.poll() is None and time.monotonic() < before + 60:
        if any(name.startswith(".out") for name in _files(folder)):
            return
        time.sleep(0.01)


def stopped_jobs(folder: Path, effort: Effort) -> list[Figure]:
    """Ends jobs with SIGTERM, SIGHUP and SIGINT in turn, at random moments from the start on.

    A job that was stopped before it could set anything up ends by the signal itself, which a
    shell reports by the same exit code.
    """
    registry = save_registry(folder / "registry")
    place = folder / "work"
    place.mkdir()
    source = _rows(place / "in.jsonl", ROWS)
    pick, found, slowest = random.Random(0), Counter[str](), 0.0
    for step in effort.steps():
        number, code = list(SIGNALS.items())[step % len(SIGNALS)]
        job = _start(_command(registry, source, place / "out.jsonl"))
        if step < len(SIGNALS):
            _wait_for_output(place, job)
        time.sleep(pick.uniform(0.0, LATEST if step >= len(SIGNALS) else 0.5))
        job.send_signal(number)
        start = time.monotonic()
        errors = job.communicate(timeout=120)[1].decode()
        slowest = max(slowest, time.monotonic() - start)
        ended = job.returncode if job.returncode >= 0 else 128 - job.returncode
        found["jobs"] += 1
        found["codes"] += ended != code
        if ended != code:
            print(f"exit code {ended} instead of {code}: {errors[-2_000:]}")
        found["tracebacks"] += "Traceback" in errors and job.returncode >= 0
        left = _files(place) - {source.name}
        found["files"] += len(left)
        for name in left:
            (place / name).unlink()
    return [
        effort.done("jobs stopped", found["jobs"]),
        none("other exit codes than 143, 129, 130", found["codes"]),
        none("tracebacks", found["tracebacks"]),
        none("files left", found["files"]),
        Figure("slowest end, s", round(slowest, 2), at_most=5),
    ]


def killed_jobs(folder: Path, effort: Effort) -> list[Figure]:
    """Kills jobs at random moments; then one runs to its end beside what they left."""
    registry = save_registry(folder / "registry")
    place = folder / "work"
    place.mkdir()
    out = place / "out.jsonl"
    source = _rows(place / "in.jsonl", ROWS)
    pick, kills, half = random.Random(0), 0, 0
    for _ in effort.steps():
        job = _start(_command(registry, source, out))
        time.sleep(pick.uniform(0.0, LATEST))
        job.kill()
        job.communicate()
        kills += job.returncode == -signal.SIGKILL
        half += out.exists()
        out.unlink(missing_ok=True)
    _rows(source, FEW_ROWS)
    last = _start(_command(registry, source, out))
    last.communicate()
    lines = out.read_text().splitlines() if out.exists() else []
    return [
        effort.done("jobs killed", kills),
        none("files under the name of the output", half),
        exactly("exit code of a job afterwards", last.returncode, 0),
        exactly("its rows", len(lines), FEW_ROWS),
        exactly("different predictions for one text", len(set(lines)), 1),
    ]


def two_jobs(folder: Path, effort: Effort) -> list[Figure]:
    """Starts a second job with the output of one that runs."""
    registry = save_registry(folder / "registry")
    place = folder / "work"
    place.mkdir()
    out = place / "out.jsonl"
    source = _rows(place / "in.jsonl", ROWS // 4)
    first = _start(_command(registry, source, out))
    _wait_for_output(place, first)
    second = _start(_command(registry, source, out))
    refusal = second.communicate(timeout=600)[1].decode()
    was_running = first.poll() is None
    first.communicate(timeout=600)
    rows = sum(1 for _ in out.open()) if out.exists() else 0
    return [
        exactly("exit code of the first", first.returncode, 0),
        exactly("its rows", rows, ROWS // 4),
        exactly("exit code of the second", second.returncode, 3),
        exactly("refused while the first still ran", was_running, 1),
        exactly("lines of its message", len(refusal.splitlines()), 1),
        none("files left", len(_files(place) - {source.name, out.name})),
    ]
