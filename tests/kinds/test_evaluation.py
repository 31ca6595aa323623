"""Labelled rows of each kind are measured, by a call and by the command alike."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from adapterhub.kinds import KINDS, Kind
from tests.commands.conftest import Run
from tests.commands.conftest import run as run
from tests.kinds.tasks import TrainedTasks, labelled_rows
from tests.training.rows import write_rows


@pytest.mark.slow
def test_a_call_and_the_command_measure_the_same(
    trained: TrainedTasks, kind: Kind, run: Run, tmp_path: Path
) -> None:
    hub, rows = trained.hub(kind), labelled_rows(kind, 12, seed=9)
    found = hub.evaluate(rows, kind)[kind]
    metrics = {one.name: one.value for one in found.metrics}
    assert found.rows == 12
    assert KINDS[kind].metrics[0] in metrics
    assert all(map(math.isfinite, metrics.values()))
    # What was measured after training, which chose among candidates by the same name.
    assert [one.name for one in trained.spec(kind).metrics if one.name in metrics]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    ran = run("eval", kind, path, "--registry", trained.registry, "--json")
    assert ran.code == 0, ran.err
    assert ran.value["metrics"] == metrics
    assert ran.value["columns"] == dict(found.columns)
    told = run("eval", kind, path, "--registry", trained.registry)
    assert all(name in told.out for name in metrics)
