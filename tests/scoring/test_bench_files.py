"""`scripts/bench files` on very few rows: every part runs, and what it compares is right."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.mark.slow
def test_all_parts_of_the_bench_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    bench = importlib.import_module("benchmarks.files.run")
    findings = importlib.import_module("benchmarks.files.findings")
    printed = importlib.import_module("benchmarks.report")
    few = findings.Scale(
        sizes=(200,),
        rounds=1,
        base_rows=64,
        shipped_rows=32,
        worker_rows=0,
        base_peer_rows=4,
        shipped_peer_rows=8,
    )
    monkeypatch.setattr(bench, "QUICK", few)
    # Of base size in nothing but its name, which is enough to be slower than reading features.
    inputs = importlib.import_module("benchmarks.files.inputs")
    smaller = {"hidden_size": 384, "intermediate_size": 1_536, "num_hidden_layers": 6}
    monkeypatch.setattr(inputs, "ALBERT_BASE", {**inputs.ALBERT_BASE, **smaller})
    growth = importlib.import_module("benchmarks.files.growth")
    monkeypatch.setattr(growth, "_FIRST_ROWS", 50)
    monkeypatch.setattr(growth, "_MOST_JOBS", 1)
    parts = [name for name in bench.PARTS if name != "workers"]
    report = bench.run(texts=SCRIPTS / "examples", only=parts, quick=True, form="csv")

    found = {check.name: check.value for check in report.checks}
    assert found["its columns bit-equal (1 is yes)"] == 1
    assert found["a task added later, times scoring again"] > 1
    assert {name: value for name, value in found.items() if value <= 0} == {
        "peak memory, 200 rows / 200, MB more": 0
    }
    sizes = [line for line in report.lines if line.peak_mb is not None]
    assert [line.system for line in sizes] == ["200 rows"]
    assert 100 < sizes[0].peak_mb < 2_000
    systems = {line.system for line in report.lines}
    assert {"job", "encoder alone", "adapterhub, score_file"} < systems
    assert json.loads(json.dumps(report.as_dict()))["notes"] == list(report.notes)
    printed.print_report(report)
    assert "peak, MB" in capsys.readouterr().out
