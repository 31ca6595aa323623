"""The result of a run of probes as text: bits by depth and probe, controls, which depth to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from adapterhub.probing.conclusions import conclusions, fit_of
from adapterhub.probing.fit_settings import PROBES, Probe
from adapterhub.training.heads.table import as_text

if TYPE_CHECKING:
    from adapterhub.probing.result import ProbeFit, ProbeResult

_READS = {
    "text": "the mean over the tokens of a text",
    "word": "the first token of a word",
    "relation": "the first tokens of a word and of its head",
    "head": "the first token of each word of a sentence",
}
_BESIDE = {
    "new": "random labels of {} that no training row has; nothing can be known, so near 0",
    "known": "random labels of {} that training rows have, which a probe memorises",
    "random": "the labels, from an encoder of random weights",
}
_Column = tuple[str, Callable[[Probe, int | None], str]]


def render(result: ProbeResult) -> str:
    """Returns tables and conclusions as text, without colours."""
    return "\n".join(line.rstrip() for line in _lines(result)) + "\n"


def _lines(result: ProbeResult) -> Iterator[str]:
    labels = f", {len(result.labels):,} labels" if result.labels else ""
    counts = ", ".join(f"{size.items:,} {name}" for name, size in result.splits.items())
    yield f"{result.data}, {result.target}{labels}: a prediction reads {_READS[result.reads]}."
    base = next(fit.base_accuracy for fit in result.fits if fit.target == "labels")
    yield (
        f"Predictions: {counts}. Without input a label takes {result.entropy:.2f} bits, and "
        f"{base:.1%} are correct."
    )
    yield "bits: how many of these the states save; V: their share, from 0 to 1."
    yield ""
    yield from _table(result, _measured(result.fits))
    beside = _beside(result.fits)
    if beside:
        yield "Bits beside them, which are not of the labels or not of the backbone:"
        kind = "texts" if result.reads == "text" else "words"
        yield from (f"  {name}: {_BESIDE[name].format(kind)}" for name, _ in beside)
        yield ""
        yield from _table(result, beside)
    for one in conclusions(result.fits):
        yield from one.lines()
    yield from result.notes


def _table(result: ProbeResult, columns: Sequence[_Column]) -> Iterator[str]:
    """Yields a table with a row per depth, and the same columns for each probe."""
    table = Table(box=box.ASCII2)
    table.add_column("depth", justify="right")
    probes = [probe for probe in PROBES if any(fit.probe == probe for fit in result.fits)]
    for probe in probes:
        for place, (name, _) in enumerate(columns):
            table.add_column(f"{probe if place == 0 else ''}\n{name}", justify="right")
    depths = sorted({fit.depth for fit in result.fits if fit.depth is not None})
    for depth in (*depths, *([None] if any(fit.depth is None for fit in result.fits) else [])):
        cells = (cell(probe, depth) for probe in probes for _, cell in columns)
        table.add_row("mix" if depth is None else str(depth), *cells)
    yield from as_text(table, ()).splitlines()


def _measured(fits: Sequence[ProbeFit]) -> list[_Column]:
    def read(show: Callable[[ProbeFit], str]) -> Callable[[Probe, int | None], str]:
        return lambda probe, depth: _cell(fit_of(fits, probe, depth), show)

    return [
        ("bits", read(lambda fit: f"{fit.bits:.2f}")),
        ("V", read(lambda fit: "" if fit.coefficient is None else f"{fit.coefficient:.2f}")),
        ("correct", read(lambda fit: f"{fit.accuracy:.1%}")),
    ]


def _beside(fits: Sequence[ProbeFit]) -> list[_Column]:
    """Returns the columns of control tasks and random weights, as far as there are any."""

    def bits(fit: ProbeFit) -> str:
        return f"{fit.bits:.2f}"

    columns: list[_Column] = []
    if any(fit.target == "control" for fit in fits):
        columns.append(
            ("new", lambda probe, depth: _cell(fit_of(fits, probe, depth, target="control"), bits))
        )
    if any(fit.target == "memorised" for fit in fits):
        columns.append(
            (
                "known",
                lambda probe, depth: _cell(fit_of(fits, probe, depth, target="memorised"), bits),
            )
        )
    if any(fit.weights == "random" for fit in fits):
        columns.append(
            (
                "random",
                lambda probe, depth: _cell(fit_of(fits, probe, depth, weights="random"), bits),
            )
        )
    return columns


def _cell(fit: ProbeFit | None, show: Callable[[ProbeFit], str]) -> str:
    return "" if fit is None else show(fit)
