"""Files, batches and kept features of rows with choices."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from adapterhub import Hub
from adapterhub.errors import DataError
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.scoring import Scorer
from adapterhub.scoring.pipeline import windows
from tests.builders import task_spec
from tests.tiny import add_task

LONG = "she was early, he was late! the food: very good " * 8
ROWS: list[dict[str, Any]] = [
    {"prompt": "the film", "choices": ["was good", "was late", "中国"]},
    {"prompt": LONG, "choices": ["a day", "the film"]},
    {"prompt": "it is", "choices": ["not a day", "early", "late", "good"]},
]
NAMES = ["choose", "choose-apart"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def choice_registry(tiny_registry: Path) -> Path:
    hub = Hub(tiny_registry, device="cpu")
    for seed, name in enumerate(NAMES):
        changes: dict[str, Any] = {"task": name, "apart": name != "choose", "depths": (2,)}
        spec = task_spec("multiple_choice", backbone=hub.backbone, **changes)
        add_task(tiny_registry, spec, encoder=hub.encoder, tokenizer=hub.tokenizer, seed=seed)
    return tiny_registry


def lines(path: str, rows: list[dict[str, Any]]) -> str:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def numbered(path: str) -> str:
    """Writes ROWS in the form of SWAG."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sent1", "sent2", *(f"ending{place}" for place in range(4))])
        for row in ROWS:
            first, _, last = row["prompt"].strip().partition(" ")
            writer.writerow([first, last, *row["choices"], *[""] * (4 - len(row["choices"]))])
    return path


def indices(path: str, name: str) -> list[int]:
    return [json.loads(row)[f"{name}.index"] for row in Path(path).read_text("utf-8").splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_features_are_kept_by_pair(
    choice_registry: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_ROWS", 2)
    hub = Hub(choice_registry, device="cpu")
    expected = hub.score(ROWS, [name]).to_columns()[f"{name}.index"]
    options = {"features_cache": Path("kept")}
    source = lines("rows.jsonl", ROWS)
    hub.score_file(source, "first.jsonl", tasks=name, options=options)
    monkeypatch.setattr(Encoder, "run", None)
    hub.score_file(source, "again.jsonl", tasks=name, options=options)
    assert indices("first.jsonl", name) == expected
    assert Path("again.jsonl").read_bytes() == Path("first.jsonl").read_bytes()


@pytest.mark.slow
def test_a_file_in_another_form_runs_what_can_read_it(choice_registry: Path) -> None:
    hub = Hub(choice_registry, device="cpu")
    expected = hub.score(ROWS, NAMES, top_k=2).to_columns()
    done = hub.score_file(numbered("swag.csv"), "out.parquet", options={"top_k": 2})
    assert done.tasks == tuple(NAMES)
    table = pq.read_table("out.parquet")
    for name in NAMES:
        found = [[one["index"] for one in row] for row in table[f"{name}.choices"].to_pylist()]
        assert found == [[one["index"] for one in row] for row in expected[f"{name}.choices"]]  # type: ignore[attr-defined]
    listed = [{"question": row["prompt"], "alternatives": row["choices"]} for row in ROWS]
    with pytest.raises(DataError, match="there is no column 'choices'"):
        hub.score_file(lines("own.jsonl", listed), "own.out.jsonl", tasks="choose")
    options = {"pair_column": "alternatives"}
    hub.score_file("own.jsonl", "own.parquet", tasks="choose", options=options)
    own = pq.read_table("own.parquet")
    assert own["choose.index"].to_pylist() == hub.score(ROWS, "choose").to_columns()["choose.index"]
    assert own["alternatives"].to_pylist() == [row["choices"] for row in ROWS]


@pytest.mark.slow
def test_rows_mix_texts_and_choices(choice_registry: Path) -> None:
    hub = Hub(choice_registry, device="cpu")
    rows = [{"text": f"a good day {place}", **row} for place, row in enumerate(ROWS)]
    rows.append({"text": "it is late", "prompt": "a day", "choices": ["one"]})
    tasks = ["sentiment", "choose"]
    done = hub.score_file(
        lines("mixed.jsonl", rows), "out.parquet", tasks=tasks, options={"on_error": "skip"}
    )
    assert (done.scored, done.bad) == (3, 1)
    expected = hub.score(rows[:3], tasks).to_columns()
    table = pq.read_table("out.parquet")
    for name in ("sentiment.label", "choose.index", "choose.choice"):
        assert table[name].to_pylist() == expected[name]


@pytest.mark.slow
def test_a_scorer_reads_columns_of_single_choices(choice_registry: Path) -> None:
    expected = Hub(choice_registry, device="cpu").score(ROWS, NAMES).to_columns()
    scorer = Scorer(NAMES, registry=choice_registry, device="cpu")
    frame = pd.read_csv(numbered("swag.csv"))
    batch = {"prompt": [row["prompt"] for row in ROWS], "choices": np.empty(3, object)}
    batch["choices"][:] = [np.array(row["choices"]) for row in ROWS]  # type: ignore[call-overload]
    for found in (scorer(frame), scorer(batch)):
        for name in NAMES:
            assert list(found[f"{name}.index"]) == expected[f"{name}.index"]
    with pytest.raises(DataError, match="there is no column 'choices'"):
        scorer({"prompt": ["a day"], "text": ["late"]})
