"""Files that are scored in parts: killed, stopped, on a full disk, and two jobs that want one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import pyarrow.parquet as pq

from adapterhub.errors import DataError
from adapterhub.hub import Hub
from adapterhub.store.atomic import stray_files
from adapterhub.store.registry import shipped_registry
from tests.soak.figures import Effort, Figure, exactly, none, processes
from tests.soak.writers import small_disk
from tests.tiny import save_registry

SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
ROWS = 2_400
PART_ROWS = 200
OUTPUTS = ("out.jsonl", "out-added", "out.parquet", "out")
BAD_EVERY = 1_000
KILLS = 2
"""Of one output, before it goes on to its end."""


def _write_rows(path: Path, count: int) -> Path:
    lines = (
        "no json" if row % BAD_EVERY == 7 else json.dumps({"id": row, "text": f"a good day {row}"})
        for row in range(count)
    )
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def score(
    registry: Path,
    source: Path,
    out: str,
    tasks: tuple[str, ...] = ("rating",),
    started: Event | None = None,
) -> None:
    """Scores a file, or goes on with it, unless that has been done."""
    options = {"part_rows": PART_ROWS, "on_error": "skip"}
    hub = Hub(registry, device="cpu")
    if started is not None:
        started.set()
    if Path(out).is_file() and not Path(f"{out}.parts").exists():
        return
    hub.score_file(source, out, tasks=tasks, options=options)


def _rows(out: Path) -> list[dict[str, object]]:
    """Returns the rows of an output, with the bad ones at the end."""
    found: list[dict[str, object]] = []
    for path in sorted(out.glob("part-*")) if out.is_dir() else [out]:
        if path.suffix == ".jsonl":
            found += map(json.loads, path.read_text().splitlines())
        else:
            found += pq.read_table(path).to_pylist()
    errors = out / "_errors.jsonl" if out.is_dir() else out.with_name(f"{out.name}.errors.jsonl")
    return [*found, *map(json.loads, errors.read_text().splitlines())]


def _tasks(out: Path) -> tuple[str, ...]:
    return ("rating", "sentiment") if out.name == "out-added" else ("rating",)


def _is_whole(out: Path, tasks: tuple[str, ...] = ("rating",)) -> bool:
    """Returns whether an output looks finished."""
    if out.suffix != "":
        # With parts beside it, it has its name, but its bad rows may not have theirs.
        return out.exists() and not Path(f"{out}.parts").exists()
    success = out / "_SUCCESS"
    if not success.exists():
        return False
    return [task["name"] for task in json.loads(success.read_text())["tasks"]] == list(tasks)


def files_kills(folder: Path, effort: Effort) -> list[Figure]:
    """Kills jobs at random moments and goes on: folders, files, and a task that is added later."""
    registry = save_registry(folder / "registry")
    source = _write_rows(folder / "in.jsonl", ROWS)
    for name in ("whole", "killed"):
        (folder / name).mkdir()
    expected, seconds = {}, 0.0
    for name in OUTPUTS:
        whole = folder / "whole" / name
        start = time.monotonic()
        score(registry, source, str(whole), _tasks(whole))
        seconds = time.monotonic() - start
        expected[name] = _rows(whole)
    pick, kills, ended, wrong, left = random.Random(0), 0, 0, 0, 0
    places = _new_places(folder / "killed", registry, source)
    for _ in effort.steps():
        place = next(places)
        tasks = _tasks(place)
        job = (registry, source, str(place), tasks)
        for _ in range(min(KILLS, (effort.rounds or KILLS) - kills)):
            kills += _killed(job, pick.uniform(0.0, seconds))
            ended += _is_whole(place, tasks)
            wrong += _is_whole(place, tasks) and _rows(place) != expected[place.name]
        score(*job)
        wrong += _rows(place) != expected[place.name]
        strays = [*stray_files(place), *stray_files(place.parent), *place.parent.glob("*.parts")]
        left += len(strays)
        if effort.rounds is not None and kills >= effort.rounds:
            break
    return [
        effort.done("jobs killed", kills),
        Figure("of these before they came to an end", kills - ended, at_least=kills // 3),
        none("outputs that are not those of a run without kills, row for row", wrong),
        none("temporary files left", left),
    ]


def _killed(job: tuple[object, ...], seconds: float) -> int:
    """Starts a job and kills it some time after it has opened its hub."""
    started = processes().Event()
    process = processes().Process(target=score, args=(*job, started))
    process.start()
    started.wait(60)
    process.join(seconds)
    process.kill()
    process.join()
    return 1


def _new_places(folder: Path, registry: Path, source: Path) -> Iterator[Path]:
    """Yields outputs, each in a folder of its own; some are finished and get another task."""
    number = 0
    while True:
        name = OUTPUTS[number % len(OUTPUTS)]
        place = folder / str(number) / name
        place.parent.mkdir()
        if name == "out-added":
            score(registry, source, str(place))
        yield place
        number += 1


def files_disk_full(folder: Path, effort: Effort) -> list[Figure]:
    """Fills the disk at part 3 of 9, and while parts are joined; then there is room again."""
    registry = save_registry(folder / "registry")
    hub = Hub(registry, device="cpu")
    source = folder / "in.jsonl"
    source.write_text("".join(json.dumps({"text": "a good day " * 80}) + "\n" for _ in range(90)))
    place = folder / "disk"
    place.mkdir()
    found = Counter[str]()
    for _ in effort.steps():
        for out, size in (("out", "48k"), ("out.jsonl", "192k")):
            with small_disk(place, size):
                _fill(hub, source, place / out, found)
                _make_room(place)
                done = hub.score_file(source, place / out, tasks="rating", options=_options(out))
                found["rows"] += done.rows
                found["resumed"] += done.resumed_rows
                found["left"] += (place / "out.jsonl.parts").exists()
        found["rounds"] += 1
    return [
        effort.done("rounds", found["rounds"]),
        exactly("jobs refused by a full disk", found["refused"], 2 * found["rounds"]),
        exactly("parts of the first that were whole", found["out parts"], 2 * found["rounds"]),
        exactly("parts of the file that was not joined", found["out.jsonl parts"], 9),
        none("outputs that look whole and are not", found["whole"]),
        none("temporary files left", found["strays"] + found["left"]),
        exactly("rows in the end", found["rows"], 180 * found["rounds"]),
        exactly("rows that were not scored again", found["resumed"], 110 * found["rounds"]),
    ]


def _options(out: str) -> dict[str, object]:
    return {"part_rows": 10} if out.endswith(".jsonl") else {"part_rows": 10, **_LINES}


_LINES = {"part_format": "jsonl"}


def _fill(hub: Hub, source: Path, out: Path, found: Counter[str]) -> None:
    """Scores until the disk is full."""
    try:
        hub.score_file(source, out, tasks="rating", options=_options(out.name))
    except DataError as error:
        found["refused"] += "No space left on device" in str(error)
    parts = out if out.suffix == "" else out.with_name(f"{out.name}.parts")
    found[f"{out.name} parts"] += len(list(parts.glob("_job/0*.json")))
    found["whole"] += _is_whole(out)
    found["strays"] += len(stray_files(parts)) + len(stray_files(out.parent))


def _make_room(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=8m", str(place)], check=True)


def _command(registry: Path, source: Path, out: Path) -> list[str]:
    words = ["score", "-r", registry, "-t", "rating", "-f", source, "-o", out]
    words += ["--on-error", "skip", "--part-rows", PART_ROWS]
    return [sys.executable, "-m", "adapterhub", *map(str, words)]


def start_job(command: list[str]) -> subprocess.Popen[bytes]:
    """Starts a job whose signals are not ignored."""
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


def _wait_for_part(out: Path, job: subprocess.Popen[bytes]) -> None:
    """Waits until a job has finished a part, or has ended."""
    before = time.monotonic()
    while job.poll() is None and time.monotonic() < before + 60:
        if any(out.glob("_job/0*.json")):
            return
        time.sleep(0.01)


def files_signals(folder: Path, effort: Effort) -> list[Figure]:
    """Stops jobs with SIGTERM, SIGINT and SIGHUP at random moments; then they go on."""
    registry = save_registry(folder / "registry")
    source_rows = 20_000 if (effort.rounds or 0) <= len(SIGNALS) else 200_000
    source = _write_rows(folder / "in.jsonl", source_rows)
    out = folder / "out"
    pick, found, slowest = random.Random(0), Counter[str](), 0.0
    for step in effort.steps():
        number, code = list(SIGNALS.items())[step % len(SIGNALS)]
        if _is_whole(out):
            out = folder / f"out-{step}"
        job = start_job(_command(registry, source, out))
        if step < len(SIGNALS):
            _wait_for_part(out, job)
        # Torch takes the first two seconds.
        time.sleep(pick.uniform(0.0, 6.0 if step >= len(SIGNALS) else 0.3))
        job.send_signal(number)
        start = time.monotonic()
        errors = job.communicate(timeout=120)[1].decode()
        slowest = max(slowest, time.monotonic() - start)
        ended = job.returncode if job.returncode >= 0 else 128 - job.returncode
        found["jobs"] += 1
        if ended == 0 and _is_whole(out):
            continue
        found["codes"] += ended != code
        if ended != code:
            print(f"exit code {ended} instead of {code}: {errors[-2_000:]}")
        found["tracebacks"] += "Traceback" in errors and job.returncode >= 0
        if out.is_dir():
            found["strays"] += len([*stray_files(out), *stray_files(out / "_job")])
            found["strays"] += (out / "_SUCCESS").exists()
    parts = len(list(out.glob("_job/0*.json")))
    options = {"part_rows": PART_ROWS, "on_error": "skip"}
    done = Hub(registry, device="cpu").score_file(source, out, tasks="rating", options=options)
    return [
        effort.done("jobs stopped", found["jobs"]),
        none("other exit codes than 143, 130, 129", found["codes"]),
        none("tracebacks", found["tracebacks"]),
        none("temporary files, or marks of an end that was not", found["strays"]),
        Figure("slowest end, s", round(slowest, 2), at_most=5),
        exactly("rows in the end", done.rows, source_rows),
        exactly("bad rows in the end", done.bad, source_rows // BAD_EVERY),
        exactly("rows that were not scored again", done.resumed_rows, parts * PART_ROWS),
    ]


def files_two_jobs(folder: Path, effort: Effort) -> list[Figure]:
    """Starts a second job with the output of one that runs: a folder, and one file."""
    registry = save_registry(folder / "registry")
    source = _write_rows(folder / "in.jsonl", 10 * ROWS)
    found = Counter[str]()
    for step in effort.steps():
        for name in (f"out-{step}", f"out-{step}.jsonl"):
            out = folder / name
            first = processes().Process(target=score, args=(registry, source, str(out)))
            first.start()
            work = out if out.suffix == "" else out.with_name(f"{name}.parts")
            while first.is_alive() and not any(work.glob("_job/0*.json")):
                time.sleep(0.01)
            try:
                score(registry, source, str(out))
            except DataError as error:
                refusal = str(error)
                found["refused"] += f"process {first.pid}" in refusal and "\n" not in refusal
            found["running"] += first.is_alive()
            first.join()
            found["rows"] += len(_rows(out))
        found["rounds"] += 1
    return [
        effort.done("rounds", found["rounds"]),
        exactly(
            "second jobs refused in a line that names the first",
            found["refused"],
            2 * found["rounds"],
        ),
        exactly("refused while the first still ran", found["running"], 2 * found["rounds"]),
        exactly("rows of the first jobs", found["rows"], 20 * ROWS * found["rounds"]),
    ]
