"""A folder of files with rows of 1 kB, scored into a folder of parts: its memory, measured."""

from __future__ import annotations

import json
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

from adapterhub.hub import Hub
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.score_file import ScoredFile
from tests.soak.figures import MIB, Effort, Figure, exactly, none, peak_bytes, processes
from tests.soak.rows import SCORED, TEXT
from tests.tiny import save_registry

FILE_ROWS = 2_500
LIMIT = 200.0
OPTIONS = ScoringOptions(part_rows=2 * FILE_ROWS, progress=False)
LEFT = 0.8
"""Share of the time that is planned for, so that what is planned is done in time."""


def files_memory(folder: Path, effort: Effort) -> list[Figure]:
    """Scores a folder of files with rows of 1 kB into a folder of parts."""
    registry = save_registry(folder / "registry")
    here, there = processes().Pipe()
    scorer = processes().Process(target=_score_files, args=(folder, registry, effort, there))
    scorer.start()
    there.close()
    rows, bad, parts, growth = here.recv()
    scorer.join()
    return [
        Figure("rows scored", rows, at_least=effort.rounds or FILE_ROWS),
        none("bad rows", bad),
        exactly("parts", parts, -(-rows // OPTIONS.part_rows)),
        Figure("growth of memory, MB", round(growth / MIB, 1), at_most=LIMIT),
    ]


def _score_files(folder: Path, registry: Path, effort: Effort, out: Connection) -> None:
    hub = Hub(registry, device="cpu")
    file = _write_file(folder / "rows.jsonl")
    begun = time.monotonic()
    first = _score(hub, file, folder / "first", 2)
    spent = time.monotonic() - begun
    before = peak_bytes()
    most = int(LEFT * (effort.seconds - spent) / spent * first.rows / FILE_ROWS)
    wanted = -(-(effort.rounds or FILE_ROWS) // FILE_ROWS)
    done = _score(hub, file, folder / "all", max(1, min(wanted, most)))
    out.send((done.scored, done.bad, done.parts, peak_bytes() - before))


def _write_file(path: Path) -> Path:
    """Writes rows of a short text and a long one, which is carried along; no two are equal."""
    with path.open("w") as file:
        for row in range(FILE_ROWS):
            note = f"{row} {TEXT[row % 40 :]}"
            file.write(json.dumps({"text": f"{SCORED} {row}", "note": note}) + "\n")
    return path


def _score(hub: Hub, file: Path, folder: Path, files: int) -> ScoredFile:
    """Scores a folder in which one file stands many times, which takes no place on the disk."""
    shards = folder / "shards"
    shards.mkdir(parents=True)
    for number in range(files):
        os.link(file, shards / f"{number:05}.jsonl")
    return hub.score_file(shards, folder / "scored", tasks="rating", options=OPTIONS)
