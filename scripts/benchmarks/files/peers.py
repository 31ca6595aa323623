"""The same file scored with transformers' pipeline, in a loop and in the datasets library."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, pipeline
from transformers.utils import logging as transformers_logging

from benchmarks.files.findings import Findings, lines_of
from benchmarks.files.inputs import TASKS, Setting, write_rows
from benchmarks.timing import medians

BATCH = 32
LOOP = f"json and pipeline in a loop, batch {BATCH}"
FRAME = f"pandas and pipeline, batch {BATCH}"
MAP = f"datasets.map with pipeline, batch {BATCH}"
OURS = "adapterhub, score_file"


def measure_peers(
    setting: Setting, texts: list[str], rows: int, *, rounds: int, folder: Path
) -> Findings:
    """Returns rows per second of reading, scoring and writing a file in three ways.

    Args:
        setting: The encoder.
        texts: Of which rows are made.
        rows: Rows of the file.
        rounds: Rounds in which they alternate.
        folder: For files.
    """
    source = write_rows(folder / f"peers-{rows}.jsonl", texts, rows)
    out = folder / "peers-scored.jsonl"
    pipe = _pipeline(setting)
    hub = setting.open()
    options = {"force": True, "progress": False}
    runs: dict[str, Callable[[], object]] = {LOOP: lambda: _loop(pipe, source, out)}
    notes = []
    others = {"pandas": (FRAME, _frame), "datasets": (MAP, _map)}
    for library, (system, run) in others.items():
        if importlib.util.find_spec(library) is None:
            notes.append(f"{system}: not measured, {library} is not installed")
        else:
            runs[system] = lambda run=run: run(pipe, source, out)  # type: ignore[misc]
    runs[OURS] = lambda: hub.score_file(source, out, tasks=TASKS[0], options=options)
    seconds = medians(runs, repeats=rounds, device="cpu")
    workload = f"{rows:,} rows, {setting.title}"
    return Findings(lines_of(workload, rows, seconds), notes=tuple(notes))


def _pipeline(setting: Setting) -> Any:
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    folder, tokenizer = str(setting.backbone.folder), setting.backbone.tokenizer
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=3, dtype=torch.float32
    )
    return pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")


def _loop(pipe: Any, source: Path, out: Path) -> None:
    with source.open(encoding="utf-8") as rows, out.open("w", encoding="utf-8") as file:
        while lines := list(islice(rows, BATCH)):
            records = [json.loads(line) for line in lines]
            found = pipe([row["text"] for row in records], batch_size=BATCH)
            for row, own in zip(records, found, strict=True):
                file.write(json.dumps({**row, **own}, ensure_ascii=False) + "\n")


def _frame(pipe: Any, source: Path, out: Path) -> None:
    import pandas as pd

    frame = pd.read_json(source, lines=True)
    found = pd.DataFrame(pipe(frame["text"].tolist(), batch_size=BATCH))
    frame.join(found).to_json(out, orient="records", lines=True, force_ascii=False)


def _map(pipe: Any, source: Path, out: Path) -> None:
    # By its name: the library has no types.
    datasets = importlib.import_module("datasets")
    datasets.disable_progress_bars()

    def score(batch: dict[str, list[str]]) -> dict[str, list[object]]:
        found = pipe(batch["text"], batch_size=BATCH)
        return {name: [one[name] for one in found] for name in ("label", "score")}

    with source.open(encoding="utf-8") as lines:
        rows = datasets.Dataset.from_list([json.loads(line) for line in lines])
    rows.map(score, batched=True, batch_size=BATCH).to_json(out)
