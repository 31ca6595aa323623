"""Scorer: a callable on batches of pandas, polars, Arrow, Ray and datasets."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import adapterhub.scoring
from adapterhub.errors import AdapterHubError, DataError, InputError, ResidentError, UsageError
from adapterhub.hub import Hub
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.scoring import Scorer
from adapterhub.scoring.batches.batches import batch_columns
from tests.scoring.closeness import is_close
from tests.tiny import add_task

ROOT = str(Path(adapterhub.scoring.__file__).parents[2])
TASKS = ["sentiment", "topics", "rating", "entities", "trees"]
TEXTS = ["the film was good", "a bad day", "it is late", "she was in the city"]
BATCH = {"text": TEXTS, "n": [1, 2, 3, 4]}


@pytest.fixture(scope="module")
def registry(_registry_original: Path) -> Path:
    return _registry_original


@pytest.fixture(scope="module")
def expected(registry: Path) -> pa.Table:
    return Hub(registry, device="cpu").score(TEXTS, TASKS).to_arrow()


@pytest.fixture(scope="module")
def scorer(registry: Path) -> Scorer:
    return Scorer(TASKS, registry=registry, device="cpu")


MAKERS: dict[str, Callable[[dict[str, list[Any]]], Any]] = {
    "lists": dict,
    "arrays": lambda batch: {"text": np.array(batch["text"], object), "n": np.array(batch["n"])},
    "pandas": lambda batch: pd.DataFrame(batch, index=[f"row {n}" for n in batch["n"]]),
    "table": pa.table,
    "record batch": pa.RecordBatch.from_pydict,
    "polars": lambda batch: pytest.importorskip("polars").DataFrame(batch),
    "datasets": lambda batch: datasets.Dataset.from_dict(batch).with_format("arrow")[:],
}


def as_table(batch: Any, schema: pa.Schema) -> pa.Table:
    """Returns the columns of a schema; of NumPy and pandas None where they have NaN."""
    if isinstance(batch, pa.Table):
        return batch.select(schema.names).cast(schema)
    columns = {name: list(batch[name]) for name in schema.names}
    plain = {
        name: [None if isinstance(one, float) and math.isnan(one) else one for one in values]
        for name, values in columns.items()
    }
    return pa.table(plain, schema=schema)


KINDS = [
    pytest.param(kind, marks=[pytest.mark.slow] if kind == "polars" else []) for kind in MAKERS
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_comes_back_in_its_type(kind: str, scorer: Scorer, expected: pa.Table) -> None:
    batch = MAKERS[kind](BATCH)
    before = batch_columns(batch)
    found = scorer(batch)
    assert type(found) is type(batch)
    assert batch_columns(batch) == before
    assert batch_columns(found) == [*before, *scorer.schema.names]
    is_arrow = isinstance(found, pa.RecordBatch) or kind == "polars"
    table = pa.table(found) if is_arrow else found
    assert as_table(table, scorer.schema) == expected
    assert scorer.schema == expected.schema
    if kind == "pandas":
        assert list(found.index) == list(batch.index)
    if kind == "arrays":
        assert all(isinstance(values, np.ndarray) for values in found.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_rows_gets_the_columns_too(kind: str, scorer: Scorer) -> None:
    found = scorer(MAKERS[kind]({"text": [], "n": []}))
    assert batch_columns(found) == ["text", "n", *scorer.schema.names]
    if kind in ("table", "record batch"):
        assert [found.schema.field(one) for one in scorer.schema.names] == list(scorer.schema)


def test_bad_rows_stay_with_their_reason(registry: Path, expected: pa.Table) -> None:
    texts = [*TEXTS[:2], None, *TEXTS[2:], ""]
    scorer = Scorer(TASKS, registry=registry, device="cpu", on_error="skip")
    for batch in (pa.table({"text": texts}), pd.DataFrame({"text": texts}), {"text": texts}):
        found = as_table(scorer(batch), scorer.schema)
        assert [bool(one) for one in found["error"].to_pylist()] == [0, 0, 1, 0, 0, 1]
        assert (
            found.select(expected.column_names).take([0, 1, 3, 4]).to_pylist()
            == expected.to_pylist()
        )
        assert (
            found.drop_columns(["error"]).take([2, 5]).to_pylist()
            == [dict.fromkeys(expected.column_names)] * 2
        )
    with pytest.raises(InputError, match="Row 2"):
        Scorer("rating", registry=registry, device="cpu")({"text": texts})


def test_tasks_on_pairs_and_other_columns_share_a_batch(registry: Path, hub: Hub) -> None:
    batch = {"body": TEXTS, "other": TEXTS[::-1]}
    names = {"text_column": "body", "pair_column": "other"}
    scorer = Scorer(
        ["entails", "rating"], registry=registry, device="cpu", prefix="my_", top_k=None, **names
    )
    found = scorer(pa.table(batch))
    records = [
        {"text": text, "text_pair": other} for text, other in zip(*batch.values(), strict=True)
    ]
    one, two = (hub.score(records, task, top_k=None).to_arrow() for task in ("entails", "rating"))
    assert found.column_names == [
        *batch,
        *(f"my_{name}" for name in (*one.column_names, *two.column_names)),
    ]
    for number, column in enumerate([*one.columns, *two.columns], start=2):
        assert found.column(number).to_pylist() == column.to_pylist()


BAD: dict[str, tuple[Any, type[AdapterHubError], str]] = {
    "text": ("a text", InputError, "found a str; for texts and records there is Hub.score"),
    "record": ({"text": "a text"}, InputError, "batched=True"),
    "missing": ({"txt": ["a"]}, DataError, "no column 'text'.*Did you mean|text_column="),
    "lengths": ({"text": ["a"], "n": []}, DataError, "differ in length"),
    "taken": ({"text": ["a"], "sentiment": ["a"], "error": ["b"]}, UsageError, "prefix="),
    "dataset": (datasets.Dataset.from_dict(BATCH), InputError, "batched=True"),
    "twice": (
        pd.DataFrame([["a", "b"]], columns=["text", "text"]),
        DataError,
        "two columns 'text'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_batch_is_refused_in_words(case: str, registry: Path) -> None:
    batch, kind, words = BAD[case]
    with pytest.raises(kind, match=words):
        Scorer("sentiment", registry=registry, device="cpu", on_error="skip")(batch)


@pytest.mark.parametrize(
    ("tasks", "options", "words"),
    [
        ([], {}, "No task was given"),
        ("sentimant", {}, "Did you mean 'sentiment'"),
        ("sentiment", {"on_eror": "skip"}, "on_error"),
        ("sentiment", {"dtype": "int8"}, "dtype"),
        ("sentiment", {"top_k": 0}, "top_k"),
    ],
)
def test_wrong_arguments_are_refused_when_it_is_made(
    tasks: Any, options: dict[str, Any], words: str, registry: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        Scorer(tasks, registry=registry, **options)


def test_it_keeps_the_version_that_was_newest_when_it_was_made(
    tiny_registry: Path, hub: Hub
) -> None:
    scorer = Scorer("rating", registry=tiny_registry, device="cpu")
    packed = pickle.dumps(scorer)
    assert len(packed) < 4_000
    before = scorer(BATCH)
    spec = hub.spec("rating").model_copy(update={"known_answers": None})
    add_task(tiny_registry, spec, encoder=hub.encoder, tokenizer=hub.tokenizer, seed=9)
    assert scorer.references == ("rating:1",)
    assert pickle.loads(packed)(BATCH) == before
    newer = Scorer("rating", registry=tiny_registry, device="cpu")
    assert (newer.references, newer.made_by["rating"].version) == (("rating:2",), 2)
    assert newer(BATCH) != before
    assert scorer(BATCH) == before
    assert Scorer(scorer.references, registry=tiny_registry, device="cpu")(BATCH) == before


def test_another_file_in_the_place_of_a_task_is_refused(tiny_registry: Path, hub: Hub) -> None:
    file = next((tiny_registry.parent / "heads").rglob("rating*.safetensors"))
    scorer = Scorer(str(file), registry=tiny_registry, device="cpu")
    other = next((tiny_registry.parent / "heads").rglob("sentiment*.safetensors"))
    data = file.read_bytes()
    file.write_bytes(other.read_bytes())
    with pytest.raises(ResidentError, match=r"is [0-9a-f]{12}… here and was [0-9a-f]{12}…"):
        scorer(BATCH)
    file.write_bytes(data)
    found = scorer(BATCH)
    # What is loaded stays, whatever becomes of the file.
    file.unlink()
    assert scorer(BATCH) == found


def test_threads_and_scorers_share_one_encoder(
    tiny_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Encoder] = []
    make = Encoder.__init__

    def count(encoder: Encoder, *args: Any, **options: Any) -> None:
        opened.append(encoder)
        make(encoder, *args, **options)

    monkeypatch.setattr(Encoder, "__init__", count)
    scorers = [
        Scorer(task, registry=tiny_registry, device="cpu", on_error=on_error)
        for task in ("rating", "sentiment")
        for on_error in ("raise", "skip")
    ]
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda one=one: found.append(one(BATCH))) for one in scorers * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(opened)) == (8, 1)


def test_the_module_has_one_public_name() -> None:
    assert adapterhub.scoring.__all__ == ["Scorer"]
    with pytest.raises(AttributeError, match="no attribute 'Scorers'"):
        adapterhub.scoring.Scorers  # noqa: B018


IN_A_FRESH_PROCESS = """
import json, pickle, sys
from adapterhub.scoring import Scorer

Scorer("rating", registry=sys.argv[1]).schema
scorer = pickle.load(open(sys.argv[2], "rb"))
assert "torch" not in sys.modules
print(json.dumps(scorer(json.loads(sys.argv[3]))))
"""


@pytest.mark.slow
def test_a_fresh_process_needs_torch_only_to_score(
    registry: Path, scorer: Scorer, tmp_path: Path
) -> None:
    packed = tmp_path / "scorer.pickle"
    packed.write_bytes(pickle.dumps(scorer))
    words = [sys.executable, "-c", IN_A_FRESH_PROCESS, str(registry), str(packed)]
    done = subprocess.run(
        [*words, json.dumps(BATCH)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert done.returncode == 0, done.stderr
    assert is_close(json.loads(done.stdout), scorer(BATCH))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_it_runs_in_the_processes_of_datasets_and_of_a_pool(
    scorer: Scorer, expected: pa.Table, tmp_path: Path
) -> None:
    dataset = datasets.Dataset.from_dict({key: values * 4 for key, values in BATCH.items()})
    many = pa.concat_tables([expected] * 4)
    schema = pa.schema([*dataset.features.arrow_schema, *scorer.schema])
    features = datasets.Features.from_arrow_schema(schema)
    options: Any = {"batched": True, "batch_size": 3, "features": features}
    scored = dataset.map(scorer, num_proc=2, **options)
    assert is_close(as_table(scored.with_format("arrow")[:], scorer.schema), many)
    # The same tasks and rows are found in the cache of datasets, since the pickle is the same.
    again = pickle.loads(pickle.dumps(scorer))
    prints = {dataset.map(one, **options)._fingerprint for one in (scorer, again)}
    assert len(prints) == 1
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for found in pool.map(scorer, [pa.table(BATCH)] * 4):
            assert is_close(found.select(scorer.schema.names), expected)
