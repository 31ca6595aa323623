"""All parts of the benchmark of files, in one run."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch

from benchmarks.files.added_task import measure_added_tasks
from benchmarks.files.encoder_share import measure_share, measure_shipped_task
from benchmarks.files.findings import FULL, QUICK, Findings, Scale, joined
from benchmarks.files.growth import measure_growth
from benchmarks.files.inputs import Encoders, InputFormat, Setting, make_setting, sentences
from benchmarks.files.peers import measure_peers
from benchmarks.files.workers import measure_workers
from benchmarks.report import Report

MOST = {"base": 1.10, "shipped": 1.25}


class _Parts:
    """The parts of the benchmark; each method measures one, and is one of PARTS."""

    def __init__(self, scale: Scale, source: Path, form: InputFormat, folder: Path) -> None:
        self._scale, self._source, self._form, self._folder = scale, source, form, folder

    def growth(self) -> list[Findings]:
        """Memory and rows per second by the size of the file."""
        folder = self._own("growth")
        small = self.settings["small"]
        return [
            measure_growth(small, self.texts, self._scale.sizes, form=self._form, folder=folder)
        ]

    def encoder(self) -> list[Findings]:
        """Time beside the encoder."""
        folder, rounds = self._own("encoder"), self._scale.rounds
        sizes: dict[Encoders, int] = {
            "base": self._scale.base_rows,
            "shipped": self._scale.shipped_rows,
        }
        found = [
            measure_share(
                self.settings[name],
                self.texts,
                rows,
                most=MOST[name],
                rounds=rounds,
                folder=folder,
            )
            for name, rows in sizes.items()
        ]
        rows = self._scale.shipped_rows
        return [*found, measure_shipped_task(self.texts, rows, rounds=rounds, folder=folder)]

    def workers(self) -> list[Findings]:
        """Processes of Ray."""
        rows, folder = self._scale.worker_rows, self._own("workers")
        return [measure_workers(self.settings["shipped"], self.texts, rows, folder=folder)]

    def cache(self) -> list[Findings]:
        """A task that is added later."""
        base, rows, rounds = self.settings["base"], self._scale.base_rows, self._scale.rounds
        folder = self._own("cache")
        return [measure_added_tasks(base, self.texts, rows, rounds=rounds, folder=folder)]

    def peers(self) -> list[Findings]:
        """What others do."""
        folder, rounds = self._own("peers"), self._scale.rounds
        sizes: dict[Encoders, int] = {
            "base": self._scale.base_peer_rows,
            "shipped": self._scale.shipped_peer_rows,
        }
        return [
            measure_peers(self.settings[name], self.texts, rows, rounds=rounds, folder=folder)
            for name, rows in sizes.items()
        ]

    @cached_property
    def settings(self) -> dict[Encoders, Setting]:
        names: tuple[Encoders, ...] = ("small", "base", "shipped")
        return {name: make_setting(name, self._folder) for name in names}

    @cached_property
    def texts(self) -> list[str]:
        return sentences(self._source, self.settings["shipped"].backbone)

    def _own(self, name: str) -> Path:
        folder = self._folder / f"{name}-files"
        folder.mkdir()
        return folder


PARTS: dict[str, Callable[[_Parts], list[Findings]]] = {
    "growth": _Parts.growth,
    "encoder": _Parts.encoder,
    "workers": _Parts.workers,
    "cache": _Parts.cache,
    "peers": _Parts.peers,
}


def run(
    *,
    texts: Path,
    only: Sequence[str] = (),
    quick: bool = False,
    sizes: Sequence[int] = (),
    form: InputFormat = "jsonl",
) -> Report:
    """Returns the figures of scoring files on encoders with random weights and the shipped one.

    Args:
        texts: Where sentences are taken from.
        only: The parts to measure; none for all.
        quick: Whether to take few rows and one round.
        sizes: Rows of the files whose memory is compared.
        form: Format of these files.
    """
    scale = QUICK if quick else FULL
    if sizes:
        scale = replace(scale, sizes=tuple(sorted(sizes)))
    found: list[Findings] = []
    with tempfile.TemporaryDirectory(prefix="adapterhub-bench-") as folder:
        parts = _Parts(scale, texts, form, Path(folder))
        for name, measure in PARTS.items():
            if not only or name in only:
                found += measure(parts)
                print(f"{name}: measured", file=sys.stderr, flush=True)
    return joined(f"Files, fp32, cpu, {torch.get_num_threads()} threads", found)
