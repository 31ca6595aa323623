"""Labelled rows of each kind are measured, by a call and by the command alike."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from adapterhub.kinds import KINDS, Kind
from tests.commands.conftest import Run
from tests.commands.conftest import run as run
from tests.kinds.references import reference_figures
from tests.kinds.tasks import TrainedTasks, labelled_rows
from tests.training.rows import write_rows

ROWS = 24


@pytest.mark.slow
def test_a_call_and_the_command_measure_the_same(
    trained: TrainedTasks, kind: Kind, run: Run, tmp_path: Path
) -> None:
    hub, rows = trained.hub(kind), labelled_rows(kind, ROWS, seed=9)
    found = hub.evaluate(rows, kind)[kind]
    metrics = {one.name: one.value for one in found.metrics}
    assert found.rows == ROWS
    assert set(KINDS[kind].metrics) & set(metrics)
    assert all(map(math.isfinite, metrics.values()))
    assert {one.name for one in trained.spec(kind).metrics} & set(metrics)
    path = write_rows(tmp_path / "rows.jsonl", rows)
    ran = run("eval", kind, path, "--registry", trained.registry, "--json")
    assert ran.code == 0, ran.err
    assert ran.value["metrics"] == metrics
    assert ran.value["columns"] == dict(found.columns)
    table = run("eval", kind, path, "--registry", trained.registry).out
    assert all(name in table for name in metrics)


@pytest.mark.slow
def test_the_metrics_are_those_of_their_references(trained: TrainedTasks, kind: Kind) -> None:
    hub, rows = trained.hub(kind), labelled_rows(kind, ROWS, seed=9)
    metrics = {one.name: one.value for one in hub.evaluate(rows, kind)[kind].metrics}
    scores = hub.score(trained.records_of(kind, rows), kind)
    expected = reference_figures(kind, list(scores[kind]), rows)
    measured = set(KINDS[kind].metrics) & set(metrics)
    assert measured <= set(expected), "a metric of the kind has no reference"
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, rel=1e-5), name
    assert any(0.05 < value < 0.95 for value in expected.values()), "too easy, or never right"
