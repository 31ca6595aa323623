"""Rows without end: reading them in constant memory, measured."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from adapterhub.rows.formats import FileFormat, Format
from adapterhub.rows.reading import SourceRow, read_file
from adapterhub.scoring.sources.open_source import open_source
from adapterhub.store.registry import shipped_registry
from tests.soak.figures import MIB, Effort, Figure, exactly, none, peak_bytes, processes
from tests.soak.rows import BLOCK, TEXT

WARM_UP = 5_000
LIMIT = 200.0
FORMATS: tuple[Format, ...] = ("text", "jsonl", "csv", "tsv")


@contextmanager
def endless(form: Format, rows: int) -> Iterator[IO[bytes]]:
    """Yields a pipe through which another process sends rows of 1 kB."""
    command = [sys.executable, "-m", "tests.soak.rows", form, str(rows)]
    folder = shipped_registry().parent
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE) as sender:
        assert sender.stdout is not None
        yield sender.stdout


def rows_read(folder: Path, effort: Effort) -> list[Figure]:
    """Reads rows of 1 kB of every format, from pipes and from a Parquet file."""
    figures = []
    rows = effort.rounds or BLOCK
    for form in (*FORMATS, "parquet"):
        here, there = processes().Pipe()
        reader = processes().Process(target=_read, args=(form, folder, effort, there))
        reader.start()
        there.close()
        found, bad, growth = here.recv()
        reader.join()
        figures += [
            exactly(f"{form}: rows", found, rows),
            none(f"{form}: bad rows", bad),
            Figure(f"{form}: growth of memory, MB", round(growth / MIB, 1), at_most=LIMIT),
        ]
    return figures


def _read(form: Format, folder: Path, effort: Effort, out: Connection) -> None:
    rows, end = effort.rounds or BLOCK, time.monotonic() + effort.seconds
    if form == "parquet":
        path = folder / "rows.parquet"
        _write_parquet(path, rows)
        out.send(_count(read_file(path, FileFormat("parquet")), end))
        return
    with endless(form, rows) as stream:
        out.send(_count(open_source(stream, form).rows, end))


def _write_parquet(path: Path, rows: int) -> None:
    block = pa.table({"text": [TEXT] * BLOCK})
    with pq.ParquetWriter(path, block.schema) as writer:
        for _ in range(rows // BLOCK):
            writer.write_table(block)


def _count(rows: Iterator[SourceRow], end: float) -> tuple[int, int, int]:
    """Returns the rows, the bad ones, and by how many bytes the peak grew after the first.

    Args:
        rows: What is read.
        end: When reading ends at the latest, by the monotonic clock.
    """
    count = bad = before = 0
    for row in rows:
        count += 1
        bad += row.problem is not None
        if count == WARM_UP:
            before = peak_bytes()
        if count % BLOCK == 0 and time.monotonic() > end:
            break
    return count, bad, peak_bytes() - before
