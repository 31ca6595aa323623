"""The figures about freezing as sections of a page, in English and in Chinese from one record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from recipes.quality.freezing_record import ALBERT, BERT, FreezingRecord, Run
from recipes.quality.freezing_words import WORDS, Words

Language = Literal["en", "zh"]
RECIPES, INFERENCE, SIMILARITY = "freezing-recipes", "freezing-inference", "freezing-similarity"
"""The sections."""

_OWN_BACKBONE = ("embeddings", "all")
_POINTS = 100
_MEGABYTE = 1e6
_TWO_ERRORS = 1.96


def render(found: FreezingRecord, language: Language, plots: str) -> dict[str, str]:
    """Returns the text of each section that there are figures for, by its name.

    Args:
        found: The results.
        language: Of the page.
        plots: Folder of the two plots, relative to the page.
    """
    words = WORDS[language]
    sections = {RECIPES: "\n".join(_recipes(found, words, plots))}
    if found.inference is not None:
        sections[INFERENCE] = "\n".join(_inference(found, words))
    if found.similarity:
        sections[SIMILARITY] = "\n".join(_similarity(found, words))
    return sections


def _recipes(found: FreezingRecord, words: Words, plots: str) -> Iterator[str]:
    yield words.method.format(
        backbone=found.backbone.name,
        fingerprint=found.backbone.fingerprint[:19],
        other="" if found.other is None else words.second.format(name=found.other_name),
        rows=f"{found.max_rows:,}",
        epochs=found.epochs,
        batch=found.batch_size,
        sets=words.join.join(_described_sets(found, words)),
    )
    yield ""
    yield from _findings(found, words)
    yield ""
    yield words.columns
    yield "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for encoder in (ALBERT, BERT):
        for name in found.sets:
            yield from (_row(run, found, words) for run in _runs(found, encoder, name))
    yield ""
    yield f"![{words.parameters_plot}]({plots}/parameters.png)"
    yield ""
    yield f"![{words.seconds_plot}]({plots}/seconds.png)"


def _described_sets(found: FreezingRecord, words: Words) -> Iterator[str]:
    for name, rows in found.sets.items():
        value = min((run.value for run in found.runs if run.name == name), default=0.5)
        half = _POINTS * _TWO_ERRORS * (value * (1 - value) / rows.measured) ** 0.5
        text = words.rows.format(
            name=name,
            language=rows.language,
            metric=rows.metric,
            train=f"{rows.train:,}",
            choosing=f"{rows.choosing:,}",
            measured=f"{rows.measured:,}",
            half=f"{half:.1f}",
        )
        yield f"{text}{words.listed if rows.is_listed else ''}"


def _runs(found: FreezingRecord, encoder: str, name: str) -> list[Run]:
    return [run for run in found.runs if (run.encoder, run.name) == (encoder, name)]


def _row(run: Run, found: FreezingRecord, words: Words) -> str:
    kind = words.own_backbone if run.recipe in _OWN_BACKBONE else words.shares
    seconds = f"{run.seconds:.2g}" if run.seconds < 1 else f"{run.seconds:.1f}"
    if run.encoding_seconds:
        seconds += words.encoding.format(seconds=f"{run.encoding_seconds:.1f}")
    encoder = "ALBERT" if run.encoder == ALBERT else found.other_name
    size = run.memory_bytes / _MEGABYTE
    memory = f"{size:,.1f}" if size >= 1 else f"{size:.3f}"
    return (
        f"| {run.name} | {encoder} | `{run.recipe}` | {kind} | {run.parameters:,} "
        f"| {run.own_passes} | {seconds} | {memory} | {run.value:.3f} |"
    )


def _findings(found: FreezingRecord, words: Words) -> Iterator[str]:
    """Yields what freezing saves and costs beside training everything, by encoder."""
    for encoder in (ALBERT, BERT):
        for recipe in ("head", "top:1", "middle-frozen", "tied"):
            runs = [(run, found.run(encoder, run.name, "all")) for run in found.runs]
            pairs = [
                (run, whole)
                for run, whole in runs
                if whole is not None and (run.encoder, run.recipe) == (encoder, recipe)
            ]
            if not pairs:
                continue
            # The head's time is mostly that of encoding the rows once, not that of an epoch.
            times = [whole.seconds / max(run.seconds, 1e-3) for run, whole in pairs]
            yield words.finding.format(
                recipe=recipe,
                encoder="ALBERT" if encoder == ALBERT else found.other_name,
                parameters=_range([run.parameters / whole.parameters for run, whole in pairs], "%"),
                memory=_range([run.memory_bytes / whole.memory_bytes for run, whole in pairs], "%"),
                faster="" if recipe == "head" else words.faster.format(times=_range(times, "x")),
                points=words.join_short.join(
                    f"{run.name} {_POINTS * (run.value - whole.value):+.1f}" for run, whole in pairs
                ),
            )


def _range(values: list[float], unit: Literal["%", "x"]) -> str:
    """Returns the least and the greatest of some parts or factors."""
    factor, sign = (_POINTS, " %") if unit == "%" else (1, "")
    low, high = (f"{factor * one:.3g}" for one in (min(values), max(values)))
    return f"{low}{sign}" if low == high else f"{low}–{high}{sign}"


def _inference(found: FreezingRecord, words: Words) -> Iterator[str]:
    one = found.inference
    if one is None:
        return
    yield words.inference.format(texts=one.texts)
    yield ""
    yield words.frozen_columns
    yield "| --- | ---: | ---: |"
    for state, name in words.states.items():
        size = one.bytes[state] / _MEGABYTE
        yield f"| {name} | {one.frozen[state]:.2f} | {size:.1f} |"
    yield ""
    yield words.depth_columns
    yield "| ---: | ---: | ---: |"
    deepest = one.depths[-1].milliseconds
    for depth in one.depths:
        share = _POINTS * depth.milliseconds / deepest
        yield f"| {depth.depth} | {depth.milliseconds:.2f} | {share:.0f} % |"
    yield ""
    yield words.trunk.format(
        tasks=one.tasks,
        passes=one.shared_passes,
        separate_passes=one.separate_passes,
        shared=f"{one.shared_milliseconds:.1f}",
        separate=f"{one.separate_milliseconds:.1f}",
        ratio=f"{one.separate_milliseconds / one.shared_milliseconds:.1f}",
    )


def _similarity(found: FreezingRecord, words: Words) -> Iterator[str]:
    rows = {
        one.name: words.pairs.format(name=one.name, rows=f"{one.rows:,}", train=f"{one.train:,}")
        for one in found.similarity
    }
    yield words.similarity.format(rows=words.join.join(rows.values()))
    yield ""
    count = max(len(one.mean) for one in found.similarity)
    depths = " | ".join(map(str, range(count)))
    yield words.similarity_columns.format(depths=depths)
    yield f"| --- | --- | --- |{' ---: |' * (count + 1)}"
    for one in found.similarity:
        encoder = "ALBERT" if one.encoder == ALBERT else found.other_name
        for pooling, values in (("cls", one.cls), ("mean", one.mean)):
            cells = [
                "–" if depth >= len(values) or values[depth] is None else f"{values[depth]:.3f}"
                for depth in range(count)
            ]
            head = f"{one.head:.3f} ({one.reads})" if pooling == "mean" else ""
            yield f"| {one.name} | {encoder} | `{pooling}` | {' | '.join(cells)} | {head} |"
