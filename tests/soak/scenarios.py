"""All scenarios, with how much the suite does of each and how much `scripts/soak`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.soak import (
    batches,
    clusters,
    damage,
    files,
    fuzz,
    long_rows,
    memory,
    publishers,
    serving,
    serving_processes,
    writers,
)
from tests.soak.figures import Effort, Figure

Run = Callable[[Path, Effort], list[Figure]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of fault.

    Attributes:
        run: Makes the fault in a folder and returns what it found.
        short: What the suite does; None where that takes too long, or the figure is not held yet.
        full: What `scripts/soak` does.
    """

    run: Run
    short: Effort | None
    full: Effort

    @property
    def name(self) -> str:
        return self.run.__name__.replace("_", "-")

    @property
    def about(self) -> str:
        return (self.run.__doc__ or "").splitlines()[0]


ONCE = Effort(1)
BRIEFLY, MINUTE = Effort(seconds=1), Effort(seconds=60)

SCENARIOS = (
    Scenario(writers.killed_writers, Effort(8), Effort(200)),
    Scenario(writers.dead_holders, Effort(5), Effort(50)),
    Scenario(writers.racing_tasks, Effort(16), Effort(50)),
    Scenario(writers.racing_versions, Effort(16), Effort(50)),
    Scenario(writers.full_disk, Effort(150), Effort(2_000)),
    Scenario(damage.bit_flips, Effort(1_000), Effort(10_000)),
    Scenario(damage.wrong_lengths, ONCE, ONCE),
    Scenario(damage.hostile_headers, ONCE, ONCE),
    Scenario(damage.many_small_tensors, ONCE, ONCE),
    Scenario(damage.hostile_registries, ONCE, ONCE),
    Scenario(serving.swap_under_load, Effort(4_000), Effort(1_000_000)),
    Scenario(serving.same_task_loads, Effort(8), Effort(1_024)),
    Scenario(serving.replaced_in_a_batch, Effort(20), Effort(1_000)),
    Scenario(serving.failed_reloads, Effort(30), Effort(1_000)),
    Scenario(serving_processes.load_cycles, Effort(150), Effort(10_000)),
    Scenario(serving_processes.forked_children, None, Effort(20)),
    Scenario(serving_processes.rows_scored, Effort(1_000), Effort(50_000)),
    Scenario(batches.same_texts, ONCE, Effort(50)),
    Scenario(publishers.many_publishers, Effort(10), Effort(50)),
    Scenario(publishers.many_publishers_in_trouble, Effort(8), Effort(50)),
    Scenario(publishers.killed_publishers, Effort(5), Effort(200)),
    Scenario(files.files_kills, Effort(4), Effort(20)),
    Scenario(files.files_signals, Effort(2), Effort(60)),
    Scenario(files.files_disk_full, ONCE, ONCE),
    Scenario(files.files_two_jobs, None, ONCE),
    Scenario(clusters.ray_kills, None, ONCE),
    Scenario(clusters.ray_stops, None, Effort(6)),
    Scenario(clusters.files_in_spark, None, ONCE),
    Scenario(memory.rows_read, Effort(30_000), Effort(10_000_000)),
    Scenario(long_rows.files_memory, Effort(10_000), Effort(1_000_000)),
    Scenario(fuzz.fuzz_heads, BRIEFLY, MINUTE),
    Scenario(fuzz.fuzz_registries, BRIEFLY, MINUTE),
    Scenario(fuzz.fuzz_rows, BRIEFLY, MINUTE),
    Scenario(fuzz.fuzz_names, BRIEFLY, MINUTE),
    Scenario(fuzz.round_trips, Effort(60), Effort(2_000)),
)
