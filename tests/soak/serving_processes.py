"""A Hub in a process of its own: its memory over many loads and rows, and its forked children."""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adapterhub.errors import AdapterHubError
from adapterhub.hub import Hub
from adapterhub.model.heads.heads import Array
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.sources.row_source import AHEAD_ROWS
from tests.soak.figures import (
    MIB,
    Effort,
    Figure,
    none,
    peak_bytes,
    processes,
    resident_bytes,
)
from tests.soak.memory import LIMIT, endless
from tests.soak.serving import TEXTS, save_heads
from tests.tiny import save_registry

WARM_UP = 100
OUTPUTS = ("out.jsonl", "out.csv", "out.parquet")
CHILD_SECONDS = 10.0
FORKED_TEXTS = [f"{text} and {text}" for text in TEXTS for _ in range(100)]
"""Enough for torch to share the work among its threads."""


def in_own_process(target: Callable[..., None], *args: object) -> Any:
    """Returns what `target` sends when it runs in a new process."""
    here, there = processes().Pipe()
    process = processes().Process(target=target, args=(*args, there))
    process.start()
    there.close()
    result = here.recv()
    process.join()
    return result


def load_cycles(folder: Path, effort: Effort) -> list[Figure]:
    """Loads and unloads heads one after another, and watches the memory of the process."""
    registry = save_heads(folder, heads=16, versions=1, named=False)
    cycles, before, after, resident = in_own_process(_load_and_unload, registry, effort)
    return [
        effort.done("cycles of load, score and unload", cycles),
        Figure(
            f"growth after the first {WARM_UP} cycles, %",
            round(100 * (after - before) / before, 2),
            at_most=1,
        ),
        none("bytes resident at the end", resident),
    ]


def _load_and_unload(registry: Path, effort: Effort, out: Connection) -> None:
    hub = Hub(registry, device="cpu")
    cycles = before = 0
    for cycle in effort.steps():
        if cycle == WARM_UP:
            gc.collect()
            before = resident_bytes()
        name = f"head-{cycle % 16}"
        hub.load(name)
        hub.score(TEXTS[0], name)
        hub.unload(name)
        cycles += 1
    gc.collect()
    out.send((cycles, before, resident_bytes(), hub.resident_bytes))


def forked_children(folder: Path, effort: Effort) -> list[Figure]:
    """Forks children of a Hub that scored on two threads; each must answer or refuse."""
    registry = save_heads(folder, heads=2, versions=1, named=False)
    children, hung, wrong, slowest = in_own_process(_score_and_fork, registry, effort)
    return [
        effort.done("children", children),
        none("children that hung", hung),
        none("children with a wrong answer or a foreign error", wrong),
        Figure("slowest child, s", slowest, at_most=CHILD_SECONDS),
    ]


def _score_and_fork(registry: Path, effort: Effort, out: Connection) -> None:
    # A child inherits torch's pool of threads without the threads.
    torch.set_num_threads(2)
    hub = Hub(registry, device="cpu")
    expected = _logits(hub)
    context = multiprocessing.get_context("fork")
    children = hung = wrong = 0
    slowest = 0.0
    for _ in effort.steps():
        here, there = context.Pipe()
        child = context.Process(target=_score_in_child, args=(hub, there))
        start = time.monotonic()
        child.start()
        answered = here.poll(CHILD_SECONDS)
        slowest = max(slowest, round(time.monotonic() - start, 2))
        wrong += answered and not _is_right(here.recv(), expected)
        hung += not answered
        children += 1
        child.kill()
        child.join()
        if hung:
            break
    out.send((children, hung, wrong, slowest))


def _score_in_child(hub: Hub, out: Connection) -> None:
    try:
        # Reading a head file computes, too.
        hub.load("head-0")
        out.send(_logits(hub))
    except AdapterHubError:
        out.send("refused")
    except Exception as error:
        out.send(repr(error))


def _logits(hub: Hub) -> Array:
    found = hub.score(FORKED_TEXTS, "head-0", logits=True)["head-0"].logits
    assert isinstance(found, np.ndarray)
    return found


def _is_right(found: object, expected: Array) -> bool:
    # A child has one thread, which adds in another order.
    if isinstance(found, np.ndarray):
        return bool(np.allclose(found, expected, rtol=1e-5, atol=1e-5))
    return found == "refused"


def rows_scored(folder: Path, effort: Effort) -> list[Figure]:
    """Scores rows of 1 kB from a pipe, to a file of every format."""
    rows, growth = in_own_process(_score_rows, save_registry(folder), effort)
    expected = len(OUTPUTS) * (effort.rounds or 1)
    return [
        Figure("rows scored", rows, at_least=expected),
        Figure("growth of memory, MB", round(growth / MIB, 1), at_most=LIMIT),
    ]


def _score_rows(registry: Path, effort: Effort, out: Connection) -> None:
    hub = Hub(registry, device="cpu")
    options = ScoringOptions(format="csv", force=True)
    end = time.monotonic() + effort.seconds
    scored = before = 0
    for count, names in ((2 * AHEAD_ROWS, OUTPUTS[:1]), (effort.rounds or 1, OUTPUTS)):
        before, scored = peak_bytes(), 0
        for name in names:
            with endless("csv", count) as stream:
                path = registry.with_name(name)
                scored += hub.score_file(stream, path, tasks="rating", options=options).scored
            if time.monotonic() > end:
                break
    out.send((scored, peak_bytes() - before))
