"""The loop of `adapterhub score`: chunk in, chunk out, files whole at the end."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass

from tqdm import tqdm

from adapterhub.commands.printing import is_screen
from adapterhub.commands.score_output import BadRows, Target, bad_rows, open_writer
from adapterhub.commands.score_tasks import Assignment
from adapterhub.hub import Hub
from adapterhub.rows.reading import count_rows
from adapterhub.scoring.chunks import score_chunk, take_chunks
from adapterhub.scoring.sources import CHUNK_ROWS, Source
from adapterhub.scoring.writing import Writer


@dataclass(slots=True)
class Tally:
    """What a run did.

    Attributes:
        scored: Rows that all tasks answered.
        bad: The other rows.
        truncated: Rows that were longer than all their windows.
        seconds: Time spent on reading, scoring and writing.
    """

    scored: int = 0
    bad: int = 0
    truncated: int = 0
    seconds: float = 0.0


def run(hub: Hub, source: Source, assigned: Assignment, target: Target) -> Tally:
    """Scores all rows and writes them.

    Raises:
        DataError: A row is bad and shall not be skipped, or a file cannot be written.
        AdapterHubError: As `Hub.score`.
    """
    with ExitStack() as stack:
        writer = stack.enter_context(open_writer(target, source, assigned))
        account = stack.enter_context(bad_rows(target, source))
        bar = stack.enter_context(_progress(source, target))
        return _score_all(hub, source, assigned, writer, account, bar)


def _score_all(
    hub: Hub,
    source: Source,
    assigned: Assignment,
    writer: Writer,
    account: BadRows,
    bar: tqdm[None],
) -> Tally:
    tally = Tally()
    started = time.perf_counter()
    for rows in take_chunks(source.rows, CHUNK_ROWS):
        chunk = score_chunk(hub, rows, assigned.request)
        account.write(chunk.bad)
        writer.write(chunk.rows)
        tally.scored += len(chunk.rows)
        tally.bad += len(chunk.bad)
        tally.truncated += chunk.truncated
        bar.update(len(rows))
    tally.seconds = time.perf_counter() - started
    return tally


def _progress(source: Source, target: Target) -> tqdm[None]:
    """Returns a bar on stderr; none where nobody looks, or where answers fill the screen."""
    shown = is_screen(sys.stderr) and (target.path is not None or not is_screen(sys.stdout))
    total = count_rows(source.path, source.form) if shown and source.path is not None else None
    return tqdm(total=total, unit="row", disable=not shown)
