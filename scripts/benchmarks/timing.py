"""Times several systems in turns, so that a slow spell of the machine meets all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

Run = Callable[[], object]


def medians(runs: Mapping[str, Run], *, repeats: int, device: str) -> dict[str, float]:
    """Returns the median seconds of each run, after one unmeasured turn."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(seconds_of(run, device))
    return {name: statistics.median(found) for name, found in times.items()}


def seconds_of(run: Run, device: str) -> float:
    """Returns the seconds of one run, until the device is done."""
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def matrix_rate(device: str, *, rows: int = 2048, inner: int = 768, columns: int = 3072) -> float:
    """Returns fp32 operations per second of one large matrix product."""
    left = torch.randn(rows, inner, device=device)
    right = torch.randn(inner, columns, device=device)
    out = torch.empty(rows, columns, device=device)
    seconds = medians({"mm": lambda: torch.mm(left, right, out=out)}, repeats=15, device=device)
    return 2 * rows * inner * columns / seconds["mm"]


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
