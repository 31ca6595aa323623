"""When a task does not answer, as its file states it and as fresh rows have it, on intents.

Rows of the label `oos` are out of scope where a set has them. Else a fifth of its labels is held
out: half of these are out of scope for training, the other half only where it is measured, since
texts that nobody thought of are not those that the minimum of confidence was chosen by.
"""

from __future__ import annotations

import gzip
import json
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterhub.errors import UsageError
from adapterhub.hub import Hub
from adapterhub.specs import Abstention, RiskPoint, risk_cells
from adapterhub.training.options import TrainingOptions
from adapterhub.training.train import train
from recipes.quality.datasets import training_file

Row = Mapping[str, Any]

NONE = "oos"
_HELD_OUT = 0.2
_SEED = 0
_DEMANDS: tuple[Mapping[str, Any], ...] = (
    {"none_label": NONE},
    {"min_accuracy": 0.99, "none_label": NONE},
)
_TASK = "intent"
_SET = "clinc150"


@dataclass(frozen=True, slots=True)
class ScopeRows:
    """The rows of a set.

    Attributes:
        training: With rows out of scope, and a column `part`: train or validation.
        fresh: Rows that only measure, with rows out of scope.
        labels: Number of labels in scope.
        known: What the rows out of scope of training are, in words.
        unknown: What those of the fresh rows are.
    """

    training: tuple[Row, ...]
    fresh: tuple[Row, ...]
    labels: int
    known: str
    unknown: str


@dataclass(frozen=True, slots=True)
class Measured:
    """One task.

    Attributes:
        wanted: What its minimum was chosen for.
        stated: What its file says.
        fresh: What fresh rows say.
        rows: Number of fresh rows in scope.
        outside: Number of fresh rows out of scope.
    """

    wanted: str
    stated: Abstention
    fresh: RiskPoint
    rows: int
    outside: int


def measure_abstention(
    folder: Path, *, backbone: str, only: Sequence[str] | None, max_rows: int | None
) -> tuple[str, list[Measured]]:
    """Returns the section of the page, and its figures.

    Args:
        folder: The data sets.
        backbone: What tasks are trained on.
        only: One set in the place of clinc150.
        max_rows: Rows of the training and of the validation set at most.

    Raises:
        UsageError: More than one set is named, or the set is not there.
    """
    name, *more = only or [_SET]
    if more or not training_file(folder / name).is_file():
        raise UsageError(f"{folder} has no data set '{' '.join([name, *more])}'; expected one.")
    rows = scope_rows(
        list(_read(training_file(folder / name))),
        list(_read(folder / name / "validation.jsonl.gz")),
    )
    found = [_measure(rows, name, demand, backbone, max_rows) for demand in _DEMANDS]
    return render(name, rows, found), found


def scope_rows(training: Sequence[Row], held_out: Sequence[Row]) -> ScopeRows:
    """Returns the rows in scope and out of it; of the held-out ones half choose, half measure."""
    draw = random.Random(_SEED)
    labels = sorted({row["label"] for row in training} - {NONE})
    order = draw.sample(range(len(held_out)), len(held_out))
    choosing = set(order[::2])
    parts: list[tuple[str, Row]] = [
        *(("train", row) for row in training),
        *(("validation" if n in choosing else "fresh", row) for n, row in enumerate(held_out)),
    ]
    if any(row["label"] == NONE for row in training):
        return _scope(parts, len(labels), f"label {NONE}", f"label {NONE}")
    left = draw.sample(labels, max(2, round(_HELD_OUT * len(labels))))
    known, unknown = set(left[::2]), set(left[1::2])
    rows: list[tuple[str, Row]] = []
    for part, row in parts:
        if row["label"] in known and part != "fresh":
            rows.append((part, {**row, "label": NONE}))
        elif row["label"] in unknown:
            rows.append(("fresh", {**row, "label": NONE}))
        elif row["label"] not in known:
            rows.append((part, row))
    words = (f"{len(own)} other labels" for own in (known, unknown))
    return _scope(rows, len(labels) - len(left), *words)


def _scope(rows: Sequence[tuple[str, Row]], labels: int, known: str, unknown: str) -> ScopeRows:
    return ScopeRows(
        training=tuple({**row, "part": part} for part, row in rows if part != "fresh"),
        fresh=tuple(row for part, row in rows if part == "fresh"),
        labels=labels,
        known=known,
        unknown=unknown,
    )


def _measure(
    rows: ScopeRows, name: str, demand: Mapping[str, Any], backbone: str, max_rows: int | None
) -> Measured:
    options = TrainingOptions(
        split_column="part",
        test_fraction=0,
        dataset=name,
        max_rows=max_rows,
        poolings=("mean", "max"),
        **demand,
    )
    with tempfile.TemporaryDirectory() as folder:
        registry = Path(folder) / "registry.yaml"
        trained = train(
            rows.training, task=_TASK, options=options, registry=registry, backbone=backbone
        )
        found = Hub(registry).evaluate(rows.fresh, _TASK)[_TASK]
    assert trained.spec.abstention is not None  # as it was asked for
    assert found.abstention is not None
    accuracy = demand.get("min_accuracy")
    wanted = "" if accuracy is None else f", {100 * accuracy:g} % right"
    return Measured(
        wanted=f"rejecting {NONE}{wanted}",
        stated=trained.spec.abstention,
        fresh=found.abstention,
        rows=found.rows,
        outside=found.outside,
    )


def render(name: str, rows: ScopeRows, found: Sequence[Measured]) -> str:
    """Returns the section as Markdown."""
    first = found[0]
    lines = [
        f"`{name}`, {rows.labels} labels. Stated: in the file, from {first.stated.rows:,} "
        f"validation rows and {first.stated.outside:,} rows out of scope ({rows.known}). Fresh: "
        f"{first.rows:,} rows in scope, {first.outside:,} out of it ({rows.unknown}).",
        "",
        "| chosen for | rows | minimum | coverage | accuracy of these | out of scope rejected |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in found:
        points = (("stated", one.stated.chosen), ("fresh", one.fresh))
        for rows_name, point in points:
            lines.append(f"| {one.wanted} | {rows_name} | {' | '.join(risk_cells(point))} |")
    return "\n".join(lines)


def _read(path: Path) -> Iterator[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)
