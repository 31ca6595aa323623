"""`Hub.score_file`: files, streams and iterables in, one whole file with predictions out."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import os
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapterhub import AdapterHubError, Hub, ScoringOptions
from adapterhub.errors import DataError, UnknownTaskError, UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.option_models import parse_options
from adapterhub.rows.formats import find_format
from adapterhub.rows.reading import read_file
from adapterhub.scoring.pipeline import windows
from adapterhub.scoring.pipeline.chunks import ComputedChunk, RowStages, ScoredChunk
from adapterhub.scoring.sources import open_source as sources
from adapterhub.store.changes import rename
from adapterhub.store.editing import change_registry
from tests.tiny import add_task, tiny_task

TEXTS = ["the film was good", "a bad day", "中国的天气很好"]
RECORDS = [{"id": index, "text": text} for index, text in enumerate(TEXTS)]
TASKS = ["sentiment", "rating", "topics", "entities", "trees"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "AHEAD_ROWS", 2)
    monkeypatch.setattr(windows, "WINDOW_ROWS", 2)


def write_lines(path: str, rows: list[Any]) -> str:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def read(path: str) -> list[Any]:
    if path.endswith(".parquet"):
        return list(pq.read_table(path).to_pylist())
    data = Path(path).read_bytes()
    text = (gzip.decompress(data) if path.endswith(".gz") else data).decode("utf-8")
    if ".csv" in path:
        return list(csv.DictReader(io.StringIO(text, newline="")))
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("out", ["out.jsonl", "out.jsonl.gz", "out.parquet"])
def test_a_file_has_what_score_returns(hub: Hub, out: str) -> None:
    done = hub.score_file(write_lines("in.jsonl", RECORDS), out, tasks=TASKS)
    expected = [
        {**r, **row} for r, row in zip(RECORDS, hub.score(TEXTS, TASKS).rows(), strict=True)
    ]
    assert read(out) == expected
    assert (done.path, done.rows, done.scored, done.bad) == (Path(out), 3, 3, 0)
    assert (done.bad_path, done.tasks, done.truncated) == (None, tuple(TASKS), 0)
    assert str(done.plan) == str(hub.explain(TASKS))
    beside = [] if out == "out.parquet" else [f"{out}.job.json"]
    assert sorted(os.listdir()) == sorted(["in.jsonl", out, *beside])


@pytest.mark.parametrize(
    "source",
    [
        TEXTS,
        RECORDS,
        iter(TEXTS),
        io.BytesIO("\n".join(TEXTS).encode()),
        io.StringIO("\n".join(TEXTS)),
    ],
    ids=["texts", "records", "generator", "bytes", "stream"],
)
def test_whatever_has_rows_is_scored_alike(hub: Hub, source: object) -> None:
    hub.score_file(source, "out.csv", tasks="sentiment")
    expected = hub.score(TEXTS, "sentiment").to_columns()
    rows = read("out.csv")
    assert [row["text"] for row in rows] == TEXTS
    assert [row["sentiment.label"] for row in rows] == expected["sentiment.label"]
    assert [float(row["sentiment.score"]) for row in rows] == expected["sentiment.score"]


def test_predictions_do_not_depend_on_chunks_or_runs(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [TEXTS[index % 3] + " day" * (index % 7) for index in range(40)]
    hub.score_file(texts, "whole.jsonl", tasks=TASKS)
    hub.score_file(texts, "again.jsonl", tasks=TASKS)
    monkeypatch.setattr(windows, "WINDOW_ROWS", 7)
    hub.score_file(texts, "chunks.jsonl", tasks=TASKS)
    assert Path("whole.jsonl").read_bytes() == Path("again.jsonl").read_bytes()
    labels = [[row["sentiment.label"] for row in read(f"{n}.jsonl")] for n in ("whole", "chunks")]
    assert labels[0] == labels[1]
    for one, other in zip(read("whole.jsonl"), read("chunks.jsonl"), strict=True):
        assert one["rating.value"] == pytest.approx(other["rating.value"], abs=1e-5)


@pytest.mark.usefixtures("small_chunks")
def test_rows_pass_in_chunks(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read and not yet scored stays below four windows, however long the input is."""
    read_ahead, scored = [], 0

    def texts() -> Iterator[str]:
        for index in range(20):
            read_ahead.append(index + 1 - scored)
            yield TEXTS[index % 3]

    decode = RowStages.decode

    def count(self: RowStages, computed: ComputedChunk) -> ScoredChunk:
        nonlocal scored
        chunk = decode(self, computed)
        scored += len(chunk.rows)
        return chunk

    monkeypatch.setattr(RowStages, "decode", count)
    assert hub.score_file(texts(), "out.jsonl", tasks="rating").scored == 20
    assert max(read_ahead) <= 8


def test_without_tasks_all_that_can_read_the_source_run(hub: Hub) -> None:
    done = hub.score_file(["good"], "out.jsonl")
    assert set(done.tasks) == {"sentiment", "topics", "rating", "entities", "trees", "language"}
    pairs = [{"text": "good", "text_pair": "bad"}]
    assert "entails" in hub.score_file(pairs, "pairs.jsonl").tasks


def test_columns_labels_and_prefix(hub: Hub) -> None:
    rows = [{"review": "good", "other": "bad", "language.labels": "en", "language": "en"}]
    options = ScoringOptions(
        text_column="review", pair_column="other", prefix="p_", top_k=2, force=True
    )
    hub.score_file(rows, "out.jsonl", tasks=["entails", "language"], options=options)
    expected = hub.score(
        [{"text": "good", "text_pair": "bad"}], ["entails", "language"], top_k=2
    ).to_columns()
    predicted = {f"p_{name}": values[0] for name, values in expected.items()}
    assert set(predicted) == {"p_entails.labels", "p_language.labels"}
    assert read("out.jsonl") == [{**rows[0], **predicted}]
    # Only the columns of this kind and number of labels are in the way.
    same = ScoringOptions(text_column="review", top_k=2)
    with pytest.raises(UsageError, match=r"'language\.labels' already.*prefix='predicted_'"):
        hub.score_file(rows, "out.csv", tasks="language", options=same)
    hub.score_file(rows, "one.csv", tasks="language", options={"text_column": "review"})
    assert {"language", "language.label", "language.labels"} < set(read("one.csv")[0])
    with pytest.raises(DataError, match=r"no column 'text'.*text_column=…"):
        hub.score_file(rows, "out.csv", tasks="rating")


def test_two_tasks_never_have_one_name_in_the_output(hub: Hub, tiny_registry: Path) -> None:
    file = tiny_registry.parent / "heads" / "rating.safetensors"
    change_registry(tiny_registry, rename("rating", "stars"))
    with pytest.raises(UsageError, match="Two tasks would be called 'rating' in the output"):
        hub.score_file(TEXTS, "out.csv", tasks=["rating", "stars:1", str(file)])
    hub.score_file(TEXTS, "out.csv", tasks=["rating", str(file)])
    assert list(read("out.csv")[0]) == ["text", "stars.value", "rating.value"]


@pytest.mark.usefixtures("small_chunks")
def test_bad_rows_go_to_a_file_of_their_own(hub: Hub) -> None:
    rows = [*RECORDS, {"id": 3, "text": None}, {"id": 4}, "no record", {"id": 6, "text": "good"}]
    skip = ScoringOptions(on_error="skip")
    done = hub.score_file(rows, "out.jsonl", tasks="rating", options=skip)
    assert (done.rows, done.scored, done.bad) == (7, 4, 3)
    assert done.bad_path == Path("out.jsonl.errors.jsonl")
    assert [row["id"] for row in read("out.jsonl")] == [0, 1, 2, 6]
    bad = read("out.jsonl.errors.jsonl")
    assert [row["line"] for row in bad] == [4, 5, 6]
    assert bad[0]["row"] == {"id": 3, "text": None}
    with pytest.raises(DataError, match=r"record 4: .*on_error='skip'"):
        hub.score_file(rows, "other.jsonl", tasks="rating")
    assert sorted(os.listdir()) == ["out.jsonl", "out.jsonl.errors.jsonl", "out.jsonl.job.json"]


def test_a_file_that_exists_is_replaced_only_by_force(hub: Hub) -> None:
    Path("out.jsonl").write_text("precious")
    with pytest.raises(DataError, match="force=True"):
        hub.score_file(TEXTS, "out.jsonl", tasks="rating")
    assert Path("out.jsonl").read_text() == "precious"
    hub.score_file(TEXTS, "out.jsonl", tasks="rating", options=ScoringOptions(force=True))
    assert len(read("out.jsonl")) == 3


def test_what_cannot_be_is_refused_before_anything_is_written(hub: Hub) -> None:
    write_lines("in.jsonl", RECORDS)
    refused: list[tuple[Any, str, Any, type[AdapterHubError], str]] = [
        (TEXTS, "out.jsonl", "ratng", UnknownTaskError, "Did you mean 'rating'"),
        (TEXTS, "out.jsonl", [], UsageError, "pass at least one"),
        (TEXTS, "out.jsonl", "entails", DataError, "plain texts have one field"),
        (TEXTS, "out.txt", "rating", UsageError, "ends in none of"),
        ("good", "out.jsonl", "rating", UsageError, "ends in none of .*--format"),
        ("missing.csv", "out.jsonl", "rating", DataError, "there is no such file"),
        (iter(RECORDS), "out.csv", "rating", UsageError, "a path or a list"),
        ([{"text": "a", "x": 1}, {"text": "b", "x": "c"}], "o.parquet", "rating", DataError, "'x'"),
    ]
    for source, out, tasks, error, part in refused:
        with pytest.raises(error, match=part):
            hub.score_file(source, out, tasks=tasks)
    assert os.listdir() == ["in.jsonl"]


@pytest.mark.slow
def test_records_with_other_columns_later_keep_them_all(hub: Hub) -> None:
    rows = [{"text": "good"}] * 3000 + [{"text": "bad", "late": 1}]
    hub.score_file(rows, "out.csv", tasks="rating")
    hub.score_file(rows, "out.parquet", tasks="rating")
    assert read("out.csv")[-1]["late"] == "1"
    assert read("out.parquet")[-1]["late"] == 1


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("out", ["out.jsonl", "out.csv.gz", "out.parquet"])
def test_an_interrupted_run_leaves_nothing(hub: Hub, out: str) -> None:
    def texts() -> Iterator[str]:
        yield from TEXTS * 3
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.score_file(texts(), out, tasks="rating", options=ScoringOptions(on_error="skip"))
    assert os.listdir() == []


def test_a_resident_task_is_looked_up_again(
    hub: Hub, tiny_registry: Path, tiny_backbone: Backbone
) -> None:
    old = hub.score(TEXTS, "rating").to_columns()["rating.value"]
    spec = tiny_task(tiny_backbone, "regression", task="rating")
    add_task(tiny_registry, spec, encoder=hub.encoder, tokenizer=hub.tokenizer, seed=7)
    assert hub.score(TEXTS, "rating").to_columns()["rating.value"] == old
    hub.score_file(TEXTS, "out.jsonl", tasks="rating")
    found = [row["rating.value"] for row in read("out.jsonl")]
    assert found == hub.score(TEXTS, "rating:2").to_columns()["rating:2.value"] != old


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_shown_where_somebody_looks(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lines("in.jsonl", RECORDS)
    monkeypatch.setattr(sys, "stderr", Screen())
    hub.score_file("in.jsonl", "out.jsonl", tasks="rating")
    assert "3/3" in sys.stderr.getvalue()  # type: ignore[attr-defined]
    for stream, progress in ((Screen(), False), (io.StringIO(), True), (None, True)):
        monkeypatch.setattr(sys, "stderr", stream)
        options = ScoringOptions(progress=progress, force=True)
        hub.score_file("in.jsonl", "out.jsonl", tasks="rating", options=options)
        assert stream is None or stream.getvalue() == ""


def test_options_are_checked() -> None:
    with pytest.raises(UsageError, match=r"Option top_k: .*greater than or equal to 1, found 0"):
        parse_options(ScoringOptions, {"top_k": 0})
    with pytest.raises(UsageError, match=r"Option text: there is no such option"):
        parse_options(ScoringOptions, {"text": "review"})
    assert all(field.description for field in ScoringOptions.model_fields.values())


def test_an_open_file_is_read_by_the_format_of_its_name(hub: Hub, tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text('{"text": "a good day"}\n{"text": "it is late"}\n', encoding="utf-8")
    by_path = hub.score_file(source, tmp_path / "path.jsonl", tasks="sentiment")
    for name, mode in (("text", "r"), ("binary", "rb")):
        with source.open(mode) as stream:
            hub.score_file(stream, tmp_path / f"{name}.jsonl", tasks="sentiment")
        found = (tmp_path / f"{name}.jsonl").read_bytes()
        assert found == (tmp_path / "path.jsonl").read_bytes()
    assert by_path.rows == 2


def test_an_open_file_is_not_overwritten(hub: Hub, tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("text\na good day\n", encoding="utf-8")
    with (
        source.open("rb") as stream,
        pytest.raises(UsageError, match="The input itself would be written"),
    ):
        hub.score_file(stream, source, tasks="sentiment", options=ScoringOptions(force=True))
    assert source.read_text(encoding="utf-8") == "text\na good day\n"


def test_all_rows_are_scored_by_one_version(
    hub: Hub, tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that is added and loaded in the middle of a run is not for its later rows."""
    monkeypatch.setattr(windows, "WINDOW_ROWS", 2)
    texts = ["a good day"] * 6
    expected = hub.score(texts[0], "sentiment", top_k=None)["sentiment"][0]

    def rows() -> Iterator[str]:
        for place, text in enumerate(texts):
            if place == 3:
                spec = tiny_task(tiny_backbone, "single_label", task="sentiment")
                add_task(
                    hub.registry_path, spec, encoder=hub.encoder, tokenizer=hub.tokenizer, seed=9
                )
                hub.load("sentiment")
            yield text

    monkeypatch.setattr(sources, "AHEAD_ROWS", 2)
    out = tmp_path / "out.jsonl"
    done = hub.score_file(rows(), out, tasks="sentiment", options=ScoringOptions(top_k=None))
    found = [json.loads(line)["sentiment.labels"] for line in out.read_text().splitlines()]
    for labels in found:
        scores = {one["label"]: one["score"] for one in labels}
        assert scores == pytest.approx({one["label"]: one["score"] for one in expected}, abs=1e-5)
    assert done.tasks == ("sentiment",)
    newer = hub.score(texts[0], "sentiment", top_k=None)["sentiment"][0]
    scores = {one["label"]: one["score"] for one in newer}
    assert scores != pytest.approx({one["label"]: one["score"] for one in expected}, abs=1e-3)


def test_backbones_with_two_keys_are_one(hub: Hub, tmp_path: Path) -> None:
    registry = hub.registry_path
    text = registry.read_text(encoding="utf-8")
    entry = text.partition("  tiny:\n")[2].partition("tasks:")[0]
    registry.write_text(text.replace("backbones:\n", f"backbones:\n  another:\n{entry}"))
    other = Hub(registry, backbone="another", device="cpu")
    done = other.score_file(["a good day"], tmp_path / "out.jsonl")
    assert "sentiment" in done.tasks


FRAME = pd.DataFrame({"text": TEXTS, "price": [Decimal("1.50"), None, Decimal("20.25")]}).assign(
    day=datetime.date(2024, 2, 1), size=pd.Series([1, None, 3], dtype="Int64")
)


@pytest.mark.parametrize("out", ["out.jsonl", "out.csv", "out.tsv", "out.parquet"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: FRAME,
        lambda: pa.Table.from_pandas(FRAME),
        lambda: {name: FRAME[name] for name in FRAME},
    ],
)
@pytest.mark.slow
def test_tables_are_scored(make: Any, out: str, hub: Hub, small_chunks: None) -> None:
    done = hub.score_file(make(), out, tasks=TASKS)
    assert (done.rows, done.scored) == (3, 3)
    if out == "out.parquet":
        found = read(out)
        assert [row["price"] for row in found] == [Decimal("1.50"), None, Decimal("20.25")]
        assert [row["day"] for row in found] == [datetime.date(2024, 2, 1)] * 3
    else:
        path = Path(out)
        found = [dict(row.values) for row in read_file(path, find_format(path))]
        assert [row["price"] for row in found] == [
            "1.50",
            None if out == "out.jsonl" else "",
            "20.25",
        ]
        assert {row["day"] for row in found} == {"2024-02-01"}
    assert [row["text"] for row in found] == TEXTS
    expected = hub.score(TEXTS, TASKS).to_columns()["sentiment.label"]
    assert [row["sentiment.label"] for row in found] == expected


EMPTY: list[tuple[Any, list[str]]] = [
    ([], []),
    ({"text": [], "id": []}, ["text", "id"]),
    (pd.DataFrame({"text": [], "id": []}), ["text", "id"]),
    (pa.table({"text": pa.array([], pa.string())}), ["text"]),
    ("in.jsonl", []),
    ("in.csv", ["text", "id"]),
    ("in.tsv", ["text", "id"]),
    ("in.parquet", ["text"]),
    ("in.txt", ["text"]),
]


@pytest.mark.parametrize("out", ["out.jsonl", "out.csv", "out.tsv", "out.parquet"])
@pytest.mark.slow
def test_no_rows_are_an_empty_table(out: str, hub: Hub) -> None:
    for name, text in {"jsonl": "", "csv": "text,id\n", "tsv": "text\tid\n", "txt": ""}.items():
        Path(f"in.{name}").write_text(text)
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), "in.parquet")
    for source, columns in EMPTY:
        done = hub.score_file(
            source, out, tasks=["sentiment", "topics"], options=ScoringOptions(force=True)
        )
        assert (done.rows, done.scored, done.bad) == (0, 0, 0)
        expected = [*columns, "sentiment.label", "sentiment.score", "topics.labels"]
        if out == "out.parquet":
            schema = pq.read_schema(out)
            assert schema.names == expected
            assert pa.types.is_float64(schema.field("sentiment.score").type)
        else:
            found = read_file(Path(out), find_format(Path(out)))
            assert found.columns == (() if out == "out.jsonl" else tuple(expected))
            assert list(found) == []


def test_numbers_of_classes_pass_as_their_names(hub: Hub) -> None:
    info = {"info": {"features": {"label": {"names": ["no", "yes"], "_type": "ClassLabel"}}}}
    table = pa.table({"text": TEXTS, "label": [0, 1, -1]})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), "in.parquet")
    for out in ("out.jsonl", "out.parquet"):
        hub.score_file("in.parquet", out, tasks="rating")
        assert [row["label"] for row in read(out)] == ["no", "yes", None]
