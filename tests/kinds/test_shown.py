"""What people see of a task of each kind: `show`, `list`, `explain` and the table of `score`."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterhub.commands.score import prediction_text
from adapterhub.kinds import KINDS, Kind
from adapterhub.results import prediction_columns
from tests.commands.conftest import Run
from tests.commands.conftest import run as run
from tests.kinds.tasks import TrainedTasks


@pytest.mark.slow
def test_commands_say_what_a_task_is(trained: TrainedTasks, kind: Kind, run: Run) -> None:
    spec, at = trained.spec(kind), ("--registry", trained.registry)
    shown = run("show", kind, *at)
    assert shown.code == 0, shown.err
    lines = {line.split()[0]: line for line in shown.out.splitlines() if line.strip()}
    assert lines["kind"].split() == ["kind", kind]
    assert all(field in lines["reads"] for field in spec.fields)
    assert ("labels" in lines) == bool(spec.labels)
    assert all(label in lines["labels"] for label in spec.labels)
    assert run("show", kind, *at, "--json").value["spec"]["kind"] == kind
    (listed,) = run("list", *at, "--kind", kind, "--json").value["tasks"]
    assert (listed["name"], listed["kind"]) == (kind, kind)
    assert set(KINDS[kind].metrics) & set(listed["metrics"])
    (line,) = [one for one in run("list", *at).out.splitlines() if one.split()[:1] == [kind]]
    assert next(iter(listed["metrics"])) in line
    explained = run("explain", kind, *at)
    assert explained.code == 0, explained.err
    assert f"{spec.deepest} passes per text" in explained.out


@pytest.mark.slow
@pytest.mark.parametrize("top_k", [1, None])
def test_a_prediction_has_words(trained: TrainedTasks, kind: Kind, top_k: int | None) -> None:
    hub, records = trained.hub(kind), trained.records(kind)
    for row in hub.score(records, kind, top_k=top_k).rows():
        columns = prediction_columns(kind, kind, top_k=top_k)
        text = prediction_text({what: row[name] for name, what in columns.items()})
        assert text
        assert "{" not in text
        assert "\n" not in text


@pytest.mark.slow
def test_texts_on_the_command_line_are_scored(
    trained: TrainedTasks, kind: Kind, run: Run, tmp_path: Path
) -> None:
    from tests.kinds.test_files import write

    records = trained.records(kind)
    path = write(tmp_path / "rows.jsonl", records)  # type: ignore[arg-type]
    ran = run("score", "--file", path, "--task", kind, "--registry", trained.registry)
    assert ran.code == 0, ran.err
    expected = trained.hub(kind).score(records, kind).rows()
    assert [{**record, **row} for record, row in zip(records, expected, strict=True)] == ran.rows  # type: ignore[dict-item]
