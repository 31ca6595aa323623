"""Jobs on Ray whose workers are killed, or which are interrupted; and a data frame of Spark."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pyarrow as pa

from adapterhub.scoring import Scorer
from tests.scoring.closeness import is_close
from tests.soak.figures import Effort, Figure, Unavailable, exactly, none
from tests.soak.files import start_job
from tests.tiny import save_registry

KILLS = 5
ROWS = 40_000
PART_ROWS = 1_000
TEXT = (
    "the film was good and the food was bad and she was late and it is a very bad day in the city"
)
_LONG = 4.0
LATEST = 4.0
"""Seconds from one kill to the next at most."""


def _command(registry: Path, source: Path, out: Path, *engine: str) -> list[str]:
    words: list[object] = ["-r", registry, "-t", "rating,entities", "-f", source, "-o", f"{out}/"]
    words += ["--part-rows", PART_ROWS, "--part-format", "jsonl", *engine]
    return [sys.executable, "-m", "adapterhub", "score", *map(str, words)]


def _files(folder: Path) -> tuple[Path, Path]:
    """Writes a registry and rows to score."""
    if importlib.util.find_spec("ray") is None:
        raise Unavailable("Ray is not installed (extra ray)")
    source = folder / "in.jsonl"
    source.write_text("".join(f'{{"text": "{TEXT} {n}", "n": {n}}}\n' for n in range(ROWS)))
    return save_registry(folder / "registry"), source


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
    registry, source = _files(folder)
    whole = start_job(_command(registry, source, folder / "local"))
    whole.communicate()
    expected = _rows_of(folder / "local")
    pick, kills, wrong, codes, words = random.Random(0), 0, 0, 0, 0
    for step in effort.steps():
        out = folder / f"ray-{step}"
        job = start_job(_command(registry, source, out, "--engine", "ray", "--workers", "2"))
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
    registry, source = _files(folder)
    pick, slowest, left, codes = random.Random(0), 0.0, 0, 0
    command = _command(registry, source, folder / "out", "--engine", "ray", "--workers", "2")
    for _ in effort.steps():
        job = start_job(command)
        time.sleep(pick.uniform(0.0, 15.0))
        family = [] if job.poll() is not None else psutil.Process(job.pid).children(recursive=True)
        job.send_signal(signal.SIGINT)
        begun = time.monotonic()
        errors = job.communicate(timeout=60)[1].decode()
        alive = psutil.wait_procs(family, timeout=5)[1]
        slowest = max(slowest, time.monotonic() - begun)
        ended = job.returncode in (0, 130, -signal.SIGINT)
        codes += not ended
        if not ended or time.monotonic() - begun > _LONG:
            print(f"exit code {job.returncode} after {time.monotonic() - begun:.1f} s: {errors}")
        left += len(alive)
    last = start_job(_command(registry, source, folder / "out"))
    last.communicate(timeout=600)
    return [
        none("other exit codes than 130", codes),
        none("processes left", left),
        Figure("slowest end, s", round(slowest, 2), at_most=5),
        exactly("exit code of the local engine afterwards", last.returncode, 0),
        exactly("rows", len(_rows_of(folder / "out")), ROWS),
    ]


def files_in_spark(folder: Path, effort: Effort) -> list[Figure]:
    """Scores a data frame of Spark with a Scorer, as pandas and as Arrow."""
    if importlib.util.find_spec("pyspark") is None:
        raise Unavailable("pyspark is not installed")
    from pyspark.sql import SparkSession
    from pyspark.sql.pandas.types import from_arrow_schema
    from pyspark.sql.types import StructType

    scorer = Scorer(
        ["rating", "sentiment", "entities"],
        registry=save_registry(folder / "registry"),
        device="cpu",
        on_error="skip",
    )
    rows = [(n, None if n % 50 == 7 else f"{TEXT} {n}") for n in range(2_000)]
    texts = pa.table({"n": [n for n, _ in rows], "text": [text for _, text in rows]})
    expected = scorer(texts).to_pylist()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = spark.getOrCreate()
    found = Counter[str]()
    try:
        frame = session.createDataFrame(rows, "n long, text string").repartition(4)
        schema = StructType([*frame.schema, *from_arrow_schema(scorer.schema)])
        for _ in effort.steps():
            for name in ("mapInPandas", "mapInArrow"):
                scored = getattr(frame, name)(lambda batches: map(scorer, batches), schema)
                given = [row.asDict(recursive=True) for row in scored.collect()]
                given.sort(key=lambda row: row["n"])
                found["rows"] += len(given)
                found["other"] += not is_close(given, expected)
            found["rounds"] += 1
    finally:
        session.stop()
    return [
        effort.done("rounds", found["rounds"]),
        exactly("rows", found["rows"], 2 * len(rows) * found["rounds"]),
        none("frames with other predictions than here", found["other"]),
    ]
