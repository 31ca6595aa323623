"""Memory and rows per second of files of rising sizes, each in a fresh process."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.files.findings import Findings
from benchmarks.files.inputs import TASKS, InputFormat, Setting, write_rows
from benchmarks.report import Check, Line

MB = 1e6
MOST_GROWTH = 200.0
LEAST_RATE = 0.9

_ROWS_PER_SIZE = 200_000
_MOST_JOBS = 5
_FIRST_ROWS = 2_000


def measure_growth(
    setting: Setting, texts: list[str], sizes: tuple[int, ...], *, form: InputFormat, folder: Path
) -> Findings:
    """Returns rows per second and peak memory by size.

    Args:
        setting: The encoder.
        texts: Of which rows are made.
        sizes: Rows of the files, ascending.
        form: Format of the files.
        folder: For files.
    """
    first = write_rows(folder / f"first.{form}", texts, _FIRST_ROWS)
    workload = f"{form} to parquet parts, {setting.title}"
    lines: list[Line] = []
    for size in sizes:
        source = write_rows(folder / f"{size}.{form}", texts, size)
        seconds, peak = in_fresh_process(setting.registry, first, source, size)
        source.unlink()
        fastest = lines[0].texts_per_second if lines else size / seconds
        rate = size / seconds
        lines.append(
            Line(workload, f"{size:,} rows", seconds, rate, rate / fastest, peak_mb=peak / MB)
        )
    peaks = [line.peak_mb or 0.0 for line in lines]
    rates = [line.texts_per_second for line in lines]
    ends = f"{sizes[-1]:,} rows / {sizes[0]:,}"
    return Findings(
        tuple(lines),
        (
            Check(f"peak memory, {ends}, MB more", peaks[-1] - peaks[0], MOST_GROWTH, True),
            Check("rows/s, slowest size / fastest", min(rates) / max(rates), LEAST_RATE, False),
        ),
    )


def in_fresh_process(registry: Path, first: Path, source: Path, rows: int) -> tuple[float, int]:
    """Returns the median seconds of scoring a file, and the process's peak memory in bytes."""
    jobs = max(1, min(_MOST_JOBS, _ROWS_PER_SIZE // rows))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_score, registry, first, source, jobs).result()


def _score(registry: Path, first: Path, source: Path, jobs: int) -> tuple[float, int]:
    from adapterhub.hub import Hub

    hub = Hub(registry, device="cpu")
    seconds = []
    for job, rows in enumerate((first, *[source] * jobs)):
        out = source.parent / f"{source.stem}-{job}-scored"
        start = time.perf_counter()
        hub.score_file(rows, out, tasks=TASKS[0], options={"progress": False})
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:]), peak_bytes()


def peak_bytes() -> int:
    """Returns the most memory that this process has had at any time.

    Not `getrusage`: what that says of a child starts with the memory of its parent.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii").split("\n")
    peak = next(line for line in status if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024
