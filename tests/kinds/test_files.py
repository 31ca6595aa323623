"""Files of rows of each kind get the predictions of a call, in the columns of its row."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapterhub.kinds import Kind
from adapterhub.results import column_types
from adapterhub.scoring.pipeline import windows
from tests.kinds.tasks import TrainedTasks
from tests.scoring.test_parts import Killed, kill_at


def write(path: Path, rows: list[Mapping[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(
                {k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()}
                for row in rows
            )
    return path


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    text = path.read_text("utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return list(csv.DictReader(text.splitlines()))


def as_cell(value: object) -> object:
    """Returns a value as a cell of a CSV file has it, once read again."""
    return value if isinstance(value, str) else json.loads(json.dumps(value))


@pytest.mark.slow
@pytest.mark.parametrize("top_k", [1, 2])
def test_files_have_what_a_call_returns(
    trained: TrainedTasks, kind: Kind, top_k: int, tmp_path: Path
) -> None:
    hub, records = trained.hub(kind), trained.records(kind)
    expected = list(hub.score(records, kind, top_k=top_k).rows())
    types = column_types(kind, kind, top_k=top_k)
    for ending in ("jsonl", "csv", "parquet"):
        source = write(tmp_path / f"in.{ending}", records)  # type: ignore[arg-type]
        out = tmp_path / f"out.{ending}"
        done = hub.score_file(source, out, tasks=kind, options={"top_k": top_k})
        assert (done.scored, done.bad) == (len(records), 0)
        found = read(out)
        assert list(found[0]) == [*records[0], *types]  # type: ignore[misc]
        own = [{name: row[name] for name in types} for row in found]
        if ending == "csv":
            own = [
                {
                    name: value if pa.types.is_string(types[name]) else json.loads(value)
                    for name, value in row.items()
                }
                for row in own
            ]
        assert own == [as_cell(row) for row in expected]
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert {name: schema.field(name).type for name in types} == types


@pytest.mark.slow
def test_a_stopped_run_goes_on(
    trained: TrainedTasks, kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_ROWS", 2)
    hub, records = trained.hub(kind), trained.records(kind)
    source = write(tmp_path / "in.jsonl", records)  # type: ignore[arg-type]
    options = {"part_rows": 2}
    hub.score_file(source, tmp_path / "whole", tasks=kind, options=options)
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, 1)
        with pytest.raises(Killed):
            hub.score_file(source, tmp_path / "out", tasks=kind, options=options)
    done = hub.score_file(source, tmp_path / "out", tasks=kind, options=options)
    assert (done.rows, done.resumed_rows) == (len(records), 2)
    whole = sorted((tmp_path / "whole").glob("part-*"))
    assert len(whole) == len(records) // 2
    for path in whole:
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
