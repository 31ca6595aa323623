"""Draws what runs logged and what probes found, as PNG files. By matplotlib, from `[publish]`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot

from recipes.backbone.steering import Steering

matplotlib.use("Agg")
_SIZE = (8.0, 4.0)
_DPI = 110
_COLUMNS = 5


def draw_training(log: Path, out: Path) -> None:
    """Draws the losses of a `train` run over millions of tokens."""
    lines = _read(log)
    figure, axes = pyplot.subplots(1, 2, figsize=_SIZE, layout="constrained")
    for axis, key, name in (
        (axes[0], "mlm_loss", "masked tokens, nats"),
        (axes[1], "sop_loss", "sentence order, nats"),
    ):
        axis.plot(_millions(lines), _smooth([line[key] for line in lines]))
        axis.set(xlabel="million tokens", title=name)
        axis.grid(alpha=0.3)
    axes[1].axhline(np.log(2), color="grey", linestyle=":", label="chance")
    axes[1].legend()
    _save(figure, out)


def draw_tuning(log: Path, kinds: Mapping[str, str], out: Path) -> None:
    """Draws the mean loss of the sets of each kind in a `tune` run.

    Args:
        log: `log.jsonl` of the run.
        kinds: The kind of each set, by name; others count as corpus.
        out: PNG to write.
    """
    lines = _read(log)
    figure, axis = pyplot.subplots(figsize=_SIZE, layout="constrained")
    for kind in sorted({*kinds.values(), "corpus"}):
        points = [
            (line["tokens"] / 1e6, np.mean(losses))
            for line in lines
            if (losses := [v[0] for n, v in line["sets"].items() if kinds.get(n, "corpus") == kind])
        ]
        if points:
            places, values = zip(*points, strict=True)
            axis.plot(places, _smooth(values), label=kind)
    axis.set(xlabel="million tokens", ylabel="loss, 1 is a guess", title="tuning, by kind of set")
    axis.grid(alpha=0.3)
    axis.legend()
    _save(figure, out)


def draw_depths(steering: Steering, out: Path) -> None:
    """Draws the macro-F1 of each set over depth, beside TF-IDF and the other backbones' best."""
    rows = math.ceil(len(steering.sets) / _COLUMNS)
    figure, grid = pyplot.subplots(
        rows, _COLUMNS, figsize=(15, 3 * rows), layout="constrained", sharex=True, squeeze=False
    )
    for axis in grid.flat[len(steering.sets) :]:
        axis.set_visible(False)
    for axis, found in zip(grid.flat, steering.sets, strict=False):
        for number, (name, values) in enumerate(found.depths.items()):
            axis.plot(range(len(values)), values, label=name, color=f"C{number}", marker=".")
        axis.axhline(found.words, color="black", linestyle="--", label="TF-IDF")
        axis.set(title=f"{found.name} ({found.asks})")
        axis.grid(alpha=0.3)
    grid.flat[0].legend(fontsize="small")
    figure.supxlabel("depth")
    figure.supylabel("macro-F1 of a probe on frozen states")
    _save(figure, out)


def _read(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def _millions(lines: Sequence[dict[str, Any]]) -> list[float]:
    return [line["tokens"] / 1e6 for line in lines]


def _smooth(values: Sequence[float], window: int = 9) -> npt.NDArray[np.float64]:
    """Returns the mean over the nearest points, fewer at the ends."""
    count = np.convolve(np.ones(len(values)), np.ones(window), "same")
    sums = np.convolve(np.asarray(values, dtype=float), np.ones(window), "same")
    return np.asarray(sums[: len(values)] / count[: len(values)])


def _save(figure: Any, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=_DPI)
    pyplot.close(figure)
