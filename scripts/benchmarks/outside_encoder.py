"""The time of scoring a file beside that of the encoder alone on the same batches."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from adapterhub import Hub, ScoringOptions
from adapterhub.model.encoder.tokens import TokenBatch
from adapterhub.scoring.pipeline.windows import take_windows
from adapterhub.scoring.sources.open_source import open_source
from benchmarks.timing import medians

_COLUMN = "text"


@dataclass(frozen=True, slots=True)
class OutsideEncoder:
    """What scoring a file costs beside its encoder.

    Attributes:
        rows: Rows of the file.
        tokens: Mean number of tokens, special ones included.
        encoder: Median seconds of the encoder alone, on batches that were made before.
        whole: Median seconds of reading, scoring and writing.
        processor: Seconds of the processor for the whole over those for the encoder, which other
            programs on the machine disturb less.
    """

    rows: int
    tokens: float
    encoder: float
    whole: float
    processor: float

    @property
    def ratio(self) -> float:
        """Returns the time of the whole over that of the encoder."""
        return self.whole / self.encoder


def batches_of(hub: Hub, source: Path, tasks: Sequence[str]) -> Iterator[tuple[int, TokenBatch]]:
    """Yields the batches that scoring a file runs, each with the depth that it runs to.

    Only for tasks without an adapter; rows are cut into windows as `score_file` does.
    """
    call = hub.open_call(tasks)
    for window in take_windows(open_source(source).rows, sys.maxsize):
        for piece in call.prepare([row.values for row in window.rows]).pieces:
            if piece.trunk is not None:
                for batch in piece.batches:
                    yield piece.trunk.stop, batch.to(hub.encoder.device)


def outside_encoder(
    hub: Hub, source: Path, tasks: Sequence[str], *, repeats: int = 3
) -> OutsideEncoder:
    """Measures a hub on a file in turns: the encoder alone, and the whole."""
    found = list(batches_of(hub, source, tasks))
    encoder = hub.encoder
    spent = {"encoder": 0.0, "whole": 0.0}
    rows = 0

    def compute() -> None:
        start = time.process_time()
        for stop, batch in found:
            encoder.run(encoder.embed(batch), batch, 0, stop)
        spent["encoder"] += time.process_time() - start

    def alone() -> None:
        # As in a job: what threads of OpenMP cost depends on the thread that starts them.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(compute).result()

    def whole() -> None:
        nonlocal rows
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            options = ScoringOptions(progress="off")
            out = Path(folder) / "out.jsonl"
            rows = hub.score_file(source, out, tasks=tasks, options=options).rows
        spent["whole"] += time.process_time() - start

    device = str(encoder.device)
    times = medians({"encoder": alone, "whole": whole}, repeats=repeats, device=device)
    return OutsideEncoder(
        rows=rows,
        tokens=sum(batch.tokens for _, batch in found) / rows,
        encoder=times["encoder"],
        whole=times["whole"],
        processor=spent["whole"] / spent["encoder"],
    )
