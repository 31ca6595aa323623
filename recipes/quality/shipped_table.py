"""The figures of the shipped tasks beside the baseline as a section of a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from recipes.quality.page import write_section
from recipes.quality.shipped import Quality, QualityRow

_LANGUAGES = {"en": "English", "zh": "Chinese"}

_TASKS_HEAD = (
    "## Shipped tasks",
    "",
    "The tasks of `registry.yaml`, head or adapter, with the figures of their head files. TF-IDF + "
    "LR was trained on the same rows of the task's data set, without the additional rows of "
    "`entities-zh`, `same-question-zh` and `slots-en`. The validation set selected among the "
    "candidates of both and evaluates them. Made by `scripts/quality --tasks`.",
    "",
    "Sentence order is the backbone's own training objective, and the backbone itself is at chance "
    "on it ([backbone](backbone/README.md)). The heads are a little above chance; on the test rows "
    "of their files, which chose nothing, they are lower than in this table.",
)


def write_tasks(figures: Quality, path: Path) -> None:
    """Writes the figures of tasks as Markdown; other sections of the page stay."""
    rows = figures.rows
    lines = [*_TASKS_HEAD, "", *_summary(rows), "", *_table(rows)]
    write_section(path, "tasks", "\n".join(lines))


def _summary(rows: Sequence[QualityRow]) -> Iterator[str]:
    """Yields how often and by how much heads are ahead, by kind of prediction and language."""
    yield "| predicted | language | tasks | ahead | points on average |"
    yield "| --- | --- | ---: | ---: | ---: |"
    groups = {
        "label or labels of one text": [row for row in rows if _is_text(row)],
        "a label or number for two texts": [row for row in rows if row.pair],
        "any of these": [row for row in rows if _is_text(row) or row.pair],
        "entities": [row for row in rows if row.kind == "tagging"],
    }
    for predicted, found in groups.items():
        for language, name in {**_LANGUAGES, "": "both"}.items():
            own = [row for row in found if language in ("", row.language)]
            if own:
                won = sum(row.head > row.baseline for row in own)
                mean = 100 * sum(row.head - row.baseline for row in own) / len(own)
                ahead = f"{won} ({won / len(own):.0%})"
                yield f"| {predicted} | {name} | {len(own)} | {ahead} | {mean:+.1f} |"


def _is_text(row: QualityRow) -> bool:
    return not row.pair and row.kind != "tagging"


def _table(rows: Sequence[QualityRow]) -> Iterator[str]:
    yield "| task | language | kind | rows | metric | TF-IDF + LR | head | points | reads |"
    yield "| --- | --- | --- | ---: | --- | ---: | ---: | ---: | --- |"
    for row in rows:
        kind = f"{row.kind}, pair" if row.pair else row.kind
        hidden = f", hidden layer {row.hidden_width}" if row.hidden_width else ""
        ngrams = f", {row.ngrams:,} n-grams" if row.ngrams else ""
        adapter = "" if row.from_depth is None else f"adapter from depth {row.from_depth}, "
        apart = "apart, " if row.apart else ""
        depths = "+".join(map(str, row.depths))
        yield (
            f"| {row.name} | {row.language} | {kind} | {row.train:,} + {row.validation:,} | "
            f"{row.metric} | {row.baseline:.3f} | {row.head:.3f} | "
            f"{100 * (row.head - row.baseline):+.1f} | "
            f"{adapter}{apart}depth {depths} {row.pooling}{hidden}{ngrams} |"
        )
