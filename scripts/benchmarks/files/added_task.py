"""A task that is added later: computed from the features cache, beside scoring all rows again."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from adapterhub.hub import Hub
from benchmarks.files.findings import Findings, lines_of
from benchmarks.files.inputs import TASKS, Setting, write_rows
from benchmarks.report import Check

LEAST_SPEEDUP = 20.0


def measure_added_tasks(
    setting: Setting, texts: list[str], rows: int, *, rounds: int, folder: Path
) -> Findings:
    """Returns the time of adding tasks from cached features, and of scoring all rows with them.

    Both write the same columns, to the folder of an earlier job and to a new one.

    Args:
        setting: The encoder.
        texts: Of which rows are made.
        rows: Rows of the file.
        rounds: How many tasks are added, one after the other.
        folder: For files.
    """
    source = write_rows(folder / f"added-{rows}.jsonl", texts, rows)
    hub = setting.open()
    hub.load(*TASKS)
    scored, cache = folder / "added-to", folder / "cache"
    _score(hub, source, scored, TASKS[0], cache=cache)
    added, anew = [], []
    equal = True
    for task in TASKS[1 : rounds + 1]:
        new = folder / f"anew-{task}"
        added.append(_score(hub, source, scored, task, cache=cache))
        anew.append(_score(hub, source, new, task, cache=None))
        equal &= _columns(scored, task).equals(_columns(new, task))
    seconds = {
        "all rows again": statistics.median(anew),
        "from the features cache": statistics.median(added),
    }
    again, cached = seconds.values()
    return Findings(
        lines_of(f"a task added later, {setting.title}", rows, seconds),
        (
            Check("a task added later, times scoring again", again / cached, LEAST_SPEEDUP, False),
            Check("its columns bit-equal (1 is yes)", float(equal), 1.0, False),
        ),
    )


def _score(hub: Hub, source: Path, out: Path, task: str, *, cache: Path | None) -> float:
    start = time.perf_counter()
    options = {"features_cache": cache, "progress": False}
    hub.score_file(source, out, tasks=task, options=options)
    return time.perf_counter() - start


def _columns(folder: Path, task: str) -> pa.Table:
    """Returns what a task predicted for all rows."""
    names = [f"{task}.label", f"{task}.score"]
    parts = sorted(folder.glob("part-*.parquet"))
    # Without the metadata, which names the tasks of each job.
    tables = [pq.read_table(part, columns=names).replace_schema_metadata() for part in parts]
    return pa.concat_tables(tables)
