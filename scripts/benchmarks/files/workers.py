"""Processes of Ray beside one another and beside the local engine."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import time
from collections.abc import Iterator
from pathlib import Path

from adapterhub.hub import Hub
from adapterhub.scoring.options import ScoringOptions
from benchmarks.files.findings import Findings, lines_of
from benchmarks.files.inputs import TASKS, Setting, write_rows

PART_ROWS = 512
LOCAL = "local engine"
_THREADS = "OMP_NUM_THREADS"


def measure_workers(setting: Setting, texts: list[str], rows: int, *, folder: Path) -> Findings:
    """Returns rows per second of the local engine and of one and two workers of Ray.

    The time of few rows is taken from that of many, so what is left is without the start of
    processes.

    Args:
        setting: The encoder.
        texts: Of which rows are made.
        rows: Rows of the larger file.
        folder: For files.
    """
    reason = _why_not()
    if reason:
        return Findings(notes=(f"workers of Ray: not measured, {reason}",))
    cores = len(os.sched_getaffinity(0))
    half = max(1, cores // 2)
    few = 2 * PART_ROWS
    small = write_rows(folder / "few.jsonl", texts, few)
    large = write_rows(folder / "many.jsonl", texts, rows)
    hub = setting.open()
    found = {LOCAL: _seconds(hub, (small, large), {}, None)}
    for workers, threads in ((1, half), (1, cores), (2, half)):
        words = f"Ray, {workers} worker{'s' * (workers > 1)} of {threads} cores"
        options = {"engine": "ray", "workers": workers}
        found[words] = _seconds(hub, (small, large), options, threads)
    return Findings(
        lines_of(f"engines, {setting.title}", rows - few, found),
        notes=(f"{cores} cores in all: without others, two workers share what one uses alone",),
    )


def _why_not() -> str:
    if importlib.util.find_spec("ray") is None:
        return "Ray is not installed (adapterhub[ray])"
    return "" if "engine" in ScoringOptions.model_fields else "there is no such engine"


def _seconds(
    hub: Hub, sources: tuple[Path, Path], options: dict[str, object], threads: int | None
) -> float:
    times = []
    with _environment(threads):
        for source in sources:
            out = source.parent / f"{source.stem}-{threads}-{options.get('workers', 0)}"
            given = {**options, "part_rows": PART_ROWS, "progress": False}
            start = time.perf_counter()
            hub.score_file(source, out, tasks=TASKS[0], options=given)
            times.append(time.perf_counter() - start)
    few, many = times
    return many - few


@contextlib.contextmanager
def _environment(threads: int | None) -> Iterator[None]:
    """Sets the number of threads of each worker."""
    before = os.environ.get(_THREADS)
    if threads is not None:
        os.environ[_THREADS] = str(threads)
    try:
        yield
    finally:
        os.environ.pop(_THREADS, None)
        if before is not None:
            os.environ[_THREADS] = before
