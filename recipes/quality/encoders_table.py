"""The figures of two encoders as a section of the page."""

from __future__ import annotations

from collections.abc import Iterator

from recipes.quality.encoders import (
    MINILM,
    MINILM_PACKAGE,
    OTHER,
    OWN,
    SYSTEMS,
    TFIDF,
    VECTORS,
    EncoderComparison,
    MeasuredSet,
)
from recipes.quality.resampling import DRAWS, Figure

_MISSING = "–"


def render(found: EncoderComparison) -> str:
    """Returns the section: how it was measured, the counts, a row per set, what heads read."""
    systems = [name for name in SYSTEMS if found.other is not None or name in (TFIDF, OWN)]
    lines = ["## Encoders, on sets that had no part in the backbone", "", _method(found), ""]
    lines += [*_summary(found), "", *_table(found, systems), "", *_reads(found)]
    return "\n".join(lines)


def _method(found: EncoderComparison) -> str:
    shared = [f"{one.shared} of `{one.name}`" for one in found.sets if one.shared]
    note = f": {', '.join(shared)} are left out" if shared else ""
    vectors = "Vectors are those of `hub.encode`; of pairs (u, v, |u - v|, u v) of the two. "
    is_minilm = found.other_name == MINILM
    package = f", with {MINILM} of the package `{MINILM_PACKAGE}`" if is_minilm else ""
    return (
        f"Only sets that the model card of `{found.backbone.name}` "
        f"({found.backbone.fingerprint[:19]}…) does not list among the {found.listed} of its "
        f"training, and of a kind that heads support: parts of speech are tags of words, multiple "
        f"choice is left out. Everything is chosen within the training file, of which a tenth is "
        f"held out for that: the head (poolings mean and max, else the defaults of `train`), the "
        f"penalty of the logistic regression (LR), thresholds, tag biases, calibration. All "
        f"systems have the same rows, at most {found.max_rows:,} for training, drawn by a fixed "
        f"seed. {'' if found.other is None else vectors}"
        f"*Rows*: training + choosing; measured. The measured rows are those of the validation "
        f"file, as many at most; they chose nothing, and share no text with a training row of the "
        f"sets on the card{note}. In brackets: 95 % intervals over {DRAWS:,} bootstrap draws of "
        f"the measured rows; of a difference over the same draws of both. **Bold**: the best, and "
        f"what is not clearly worse than it: the interval of the difference reaches 0. Made by "
        f"`scripts/quality --encoders`{package}."
    )


def _names(found: EncoderComparison) -> dict[str, str]:
    return {
        TFIDF: "TF-IDF + LR; tagging: linear tagger",
        VECTORS: f"{found.other_name} vectors + LR",
        OWN: f"head on `{found.backbone.name.partition(':')[2] or found.backbone.name}`",
        OTHER: f"head on {found.other_name}",
    }


_PAIRS = ((OWN, TFIDF), (OTHER, TFIDF), (OTHER, VECTORS), (OTHER, OWN))


def _summary(found: EncoderComparison) -> Iterator[str]:
    """Yields where one system is better than another, by intervals of the difference."""
    names = _names(found)
    yield "| | beside | sets | clearly better | no clear difference | clearly worse |"
    yield "| --- | --- | ---: | --- | --- | --- |"
    for one, other in _PAIRS:
        pairs = [(row.name, row.figures.minus(one, other)) for row in found.sets]
        signs = {name: difference.sign for name, difference in pairs if difference is not None}
        cells = [
            ", ".join(name for name, sign in signs.items() if sign == wanted) or _MISSING
            for wanted in (1, 0, -1)
        ]
        if signs:
            yield f"| {names[one]} | {names[other]} | {len(signs)} | {' | '.join(cells)} |"


def _table(found: EncoderComparison, systems: list[str]) -> Iterator[str]:
    names = _names(found)
    heads = [names[system] for system in systems]
    last = ["points between the heads"] if found.other is not None else []
    columns = ["set", "language", "kind", "rows", "metric", *heads, *last]
    yield f"| {' | '.join(columns)} |"
    marks = ["---", "---", "---", "---:", "---", *("---:" for _ in (*heads, *last))]
    yield f"| {' | '.join(marks)} |"
    for one in found.sets:
        kind = f"{one.kind}, pair" if one.pair else one.kind
        rows = f"{one.train:,} + {one.choosing:,}; {one.measured:,}"
        cells = [one.name, one.language, kind, rows, one.metric]
        cells += [_cell(one, system) for system in systems]
        if last:
            ahead = one.figures.minus(OTHER, OWN)
            cells.append(_MISSING if ahead is None else _points(ahead))
        yield f"| {' | '.join(cells)} |"


def _reads(found: EncoderComparison) -> Iterator[str]:
    names = _names(found)
    systems = [OWN] if found.other is None else [OWN, OTHER]
    yield f"| set | {' | '.join(f'{names[system]} reads' for system in systems)} |"
    yield f"| --- | {' | '.join('---' for _ in systems)} |"
    for one in found.sets:
        yield f"| {one.name} | {' | '.join(one.reads.get(name, _MISSING) for name in systems)} |"


def _cell(one: MeasuredSet, system: str) -> str:
    figure = one.figures.of.get(system)
    if figure is None:
        return _MISSING
    text = f"{figure.value:.3f}"
    text = f"**{text}**" if one.figures.among_best(system) else text
    return f"{text} ({figure.low:.3f} to {figure.high:.3f})"


def _points(figure: Figure) -> str:
    low, value, high = (100 * part for part in (figure.low, figure.value, figure.high))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"
