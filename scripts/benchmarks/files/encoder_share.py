"""The time of a job beside that of the encoder alone on the same batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from adapterhub.hub import Hub
from benchmarks.files.findings import Findings
from benchmarks.files.inputs import TASKS, Setting, write_rows
from benchmarks.outside_encoder import outside_encoder
from benchmarks.report import Check, Line


def measure_share(
    setting: Setting,
    texts: list[str],
    rows: int,
    *,
    most: float,
    rounds: int,
    folder: Path,
) -> Findings:
    """Returns the time of a job over that of its encoder.

    Args:
        setting: The encoder.
        texts: Of which rows are made.
        rows: Rows of the file.
        most: The target.
        rounds: Rounds in which the two alternate.
        folder: For files.
    """
    source = write_rows(folder / f"share-{rows}.jsonl", texts, rows)
    return _compare(setting.open(), source, TASKS[0], setting.title, most=most, rounds=rounds)


def measure_shipped_task(texts: list[str], rows: int, *, rounds: int, folder: Path) -> Findings:
    """Returns the same for a task that ships: fewer passes, and n-grams beside them."""
    source = write_rows(folder / f"task-{rows}.jsonl", texts, rows)
    task = "sentiment-en"
    hub = Hub(device="cpu")
    hub.load(task)
    title = f"{task}, {hub.explain(task).passes} passes"
    found = _compare(hub, source, task, title, most=1.0, rounds=rounds)
    return replace(found, checks=())


def _compare(
    hub: Hub, source: Path, task: str, title: str, *, most: float, rounds: int
) -> Findings:
    found = outside_encoder(hub, source, [task], repeats=rounds)
    workload = f"{title}, {found.tokens:.0f} tokens"
    rows = found.rows
    lines = (
        Line(workload, "encoder alone", found.encoder, rows / found.encoder, 1.0),
        Line(workload, "job", found.whole, rows / found.whole, 1 / found.ratio),
    )
    check = Check(f"{title}: job / encoder alone", found.ratio, most, True)
    note = f"{title}: processor time, job / encoder alone: {found.processor:.2f}"
    return Findings(lines, (check,), (note,))
