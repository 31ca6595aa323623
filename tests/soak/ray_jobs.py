"""`adapterhub score --engine ray` whose workers are killed, and which is interrupted itself."""

from __future__ import annotations

import importlib.util
import json
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil

from tests.scoring.closeness import is_close
from tests.soak.figures import Effort, Figure, Unavailable, exactly, none
from tests.soak.jobs import start
from tests.tiny import save_registry

KILLS = 5
ROWS = 60_000
PART_ROWS = 1_000
TEXT = (
    "the film was good and the food was bad and she was late and it is a very bad day in the city"
)
LATEST = 4.0
"""Seconds from one kill to the next at most."""


def _command(registry: Path, source: Path, out: Path, *engine: str) -> list[str]:
    words = ["-r", registry, "-t", "rating,entities", "-f", source, "-o", f"{out}/"]
    return [
        "score",
        *map(str, words),
        "--part-rows",
        str(PART_ROWS),
        "--part-format",
        "jsonl",
        *engine,
    ]


def _rows_of(out: Path) -> list[object]:
    parts = sorted(out.glob("part-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


def _workers(job: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Returns the actors of a job that live, in whatever state."""
    found = []
    for process in psutil.Process(job.pid).children(recursive=True):
        try:
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::MapWorker"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _kill_one(job: subprocess.Popen[bytes], pick: random.Random) -> bool:
    """Kills a worker as soon as there is one; returns whether the job has ended before."""
    while job.poll() is None:
        workers = _workers(job)
        if workers:
            pick.choice(workers).kill()
            return True
        time.sleep(0.05)
    return False


def ray_kills(folder: Path, effort: Effort) -> list[Figure]:
    """Kills workers of Ray at random moments; the output is that of a job that nobody disturbed."""
    if importlib.util.find_spec("ray") is None:
        raise Unavailable("Ray is not installed (extra ray)")
    registry = save_registry(folder / "registry")
    source = folder / "in.jsonl"
    source.write_text("".join(f'{{"text": "{TEXT} {n}", "n": {n}}}\n' for n in range(ROWS)))
    whole = start(_command(registry, source, folder / "local"))
    whole.communicate()
    expected = _rows_of(folder / "local")
    pick, kills, wrong, codes, words = random.Random(0), 0, 0, 0, 0
    for step in effort.steps():
        out = folder / f"ray-{step}"
        job = start(_command(registry, source, out, "--engine", "ray", "--workers", "2"))
        for _ in range(KILLS):
            time.sleep(pick.uniform(0.0, LATEST))
            kills += _kill_one(job, pick)
        errors = job.communicate(timeout=600)[1].decode()
        codes += job.returncode != 0
        words += "Traceback" in errors
        if job.returncode != 0 or "Traceback" in errors:
            print(errors[-2_000:])
        wrong += not is_close(_rows_of(out), expected)
    return [
        exactly("rows of the local engine", len(expected), ROWS),
        effort.done("workers killed", kills / KILLS),
        none("jobs that failed", codes),
        none("jobs with other rows", wrong),
        none("tracebacks", words),
    ]


def ray_stops(folder: Path, effort: Effort) -> list[Figure]:
    """Interrupts jobs on Ray at random moments; the next one goes on, and no process is left."""
    if importlib.util.find_spec("ray") is None:
        raise Unavailable("Ray is not installed (extra ray)")
    registry = save_registry(folder / "registry")
    source = folder / "in.jsonl"
    source.write_text("".join(f'{{"text": "{TEXT} {n}", "n": {n}}}\n' for n in range(ROWS)))
    pick, slowest, left, codes = random.Random(0), 0.0, 0, 0
    command = _command(registry, source, folder / "out", "--engine", "ray", "--workers", "2")
    for _ in effort.steps():
        job = start(command)
        time.sleep(pick.uniform(0.0, 15.0))
        family = [] if job.poll() is not None else psutil.Process(job.pid).children(recursive=True)
        job.send_signal(signal.SIGINT)
        begun = time.monotonic()
        job.communicate(timeout=60)
        alive = psutil.wait_procs(family, timeout=5)[1]
        slowest = max(slowest, time.monotonic() - begun)
        codes += job.returncode not in (0, 130, -signal.SIGINT)
        left += len(alive)
    last = start(_command(registry, source, folder / "out"))
    last.communicate(timeout=600)
    return [
        none("other exit codes than 130", codes),
        none("processes left", left),
        Figure("slowest end, s", round(slowest, 2), at_most=5),
        exactly("exit code of the local engine afterwards", last.returncode, 0),
        exactly("rows", len(_rows_of(folder / "out")), ROWS),
    ]
