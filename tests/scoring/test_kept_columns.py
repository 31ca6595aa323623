"""Which columns of the input stand in the output, and the column that says what was cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapterhub import Hub
from adapterhub.errors import DataError, UsageError
from tests.commands.conftest import Run, run  # noqa: F401

ROWS = [{"id": 1, "text": "a good day", "x": None}, {"id": 2, "text": "bad " * 4_000, "x": 0.5}]
MARKED = {"mark_truncated": True}
PREDICTED = ["sentiment.label", "sentiment.score"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def columns(path: str) -> list[str]:
    if path.endswith(".jsonl"):
        return list(json.loads(Path(path).read_text().splitlines()[0]))
    if path.endswith(".csv"):
        return Path(path).read_text().splitlines()[0].split(",")
    return list(pa.ipc.open_file(path).schema.names)


@pytest.mark.parametrize("out", ["out.jsonl", "out.csv", "out.arrow"])
@pytest.mark.parametrize("keep", [("x", "id"), (), None])
def test_columns_are_kept_in_the_order_given(hub: Hub, out: str, keep: Any) -> None:
    hub.score_file("in.jsonl", out, tasks="sentiment", options={"keep_columns": keep})
    kept = ["id", "text", "x"] if keep is None else list(keep)
    assert columns(out) == [*kept, *PREDICTED]


def test_what_was_cut_is_marked(hub: Hub) -> None:
    options = {"mark_truncated": True, "keep_columns": ["id"]}
    hub.score_file("in.jsonl", "out.arrow", tasks="sentiment", options=options)
    table = pa.ipc.open_file("out.arrow").read_all()
    assert table.column_names == ["id", "truncated", *PREDICTED]
    assert table["truncated"].to_pylist() == [False, True]
    assert table.schema.field("truncated").type == pa.bool_()
    assert b"adapterhub" in table.schema.metadata
    hub.score_file("in.jsonl", "parts/", tasks="sentiment", options=options)
    hub.score_file("in.jsonl", "parts/", tasks=["sentiment", "rating"], options=options)
    parts = pq.read_table("parts/part-00000.parquet")
    assert parts.drop_columns(["rating.value"]).equals(table)
    with pytest.raises(UsageError, match="'truncated' already"):
        hub.score_file([{"text": "a", "truncated": 1}], "b.csv", tasks="rating", options=MARKED)
    with pytest.raises(DataError, match=r"column of mark_truncated was .*truncated.* and is"):
        hub.score_file("in.jsonl", "parts/", tasks="sentiment", options={"keep_columns": ["id"]})


def test_names_that_are_not_there_are_named(hub: Hub) -> None:
    with pytest.raises(DataError, match=r"no column 'idd'; .* Did you mean 'id'"):
        hub.score_file("in.jsonl", "a.csv", tasks="sentiment", options={"keep_columns": ["idd"]})
    # A prediction may take the place of a column that is not kept.
    hub.score_file("in.jsonl", "out.jsonl", tasks="sentiment")
    options = {"keep_columns": ["id"], "text_column": "text"}
    hub.score_file("out.jsonl", "b.jsonl", tasks="sentiment", options=options)
    assert columns("b.jsonl") == ["id", *PREDICTED]


def test_the_command_keeps_none_for_an_empty_list(
    run: Run,  # noqa: F811
    tmp_path: Path,
    tiny_registry: Path,
) -> None:
    words = ("score", "-f", tmp_path / "in.jsonl", "-t", "sentiment", "-r", tiny_registry)
    ran = run(*words, "--keep-columns", "")
    assert list(json.loads(ran.out.splitlines()[0])) == PREDICTED
    ran = run(*words, "--keep-columns", "id, x", "--mark-truncated")
    assert list(json.loads(ran.out.splitlines()[1])) == ["id", "x", "truncated", *PREDICTED]
