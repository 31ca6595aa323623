"""`score`: texts, streams and files in; a table, lines or a whole file out."""

from __future__ import annotations

import csv
import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from adapterhub.commands.score import prediction_text, print_rows
from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.results import prediction_columns
from adapterhub.scoring.pipeline import windows
from adapterhub.scoring.pipeline.chunks import RowStages
from adapterhub.scoring.sources import open_source as sources
from adapterhub.store.headfile import write_head
from tests.commands.conftest import Ran, Run
from tests.tiny import tiny_task

TEXTS = ["the film was good", "a bad day", "中国的天气很好"]
LABELS = ("negative", "positive")


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def read_jsonl(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def counts(ran: Ran) -> tuple[int, int, int]:
    value = ran.value
    return value["rows"], value["scored"], value["bad"]


def test_arguments_give_one_line_each(score: Run, hub: Hub) -> None:
    ran = score(*TEXTS, "-t", "sentiment", "-t", "rating,topics")
    assert ran.code == 0, ran.err
    assert [row["text"] for row in ran.rows] == TEXTS
    expected = hub.score(TEXTS, ["sentiment", "rating", "topics"]).rows()
    assert [{k: v for k, v in row.items() if k != "text"} for row in ran.rows] == list(expected)
    assert "scored 3 rows" in ran.err
    assert "3 tasks: 4 passes per text" in ran.err


def test_without_tasks_all_that_fit_run_and_are_named(score: Run) -> None:
    ran = score("good")
    found = {name.rpartition(".")[0] for name in ran.rows[0]}
    assert found == {"", "sentiment", "topics", "rating", "entities", "trees", "language"}
    assert "no --task given" in ran.err
    assert "left out for lack of a column: entails" in ran.err


def test_stdin_gives_one_text_per_line(score: Run) -> None:
    ran = score("-t", "sentiment", stdin="\ufeffgood\r\nbad\nno end")
    assert [row["text"] for row in ran.rows] == ["good", "bad", "no end"]


def test_stdin_as_json_and_csv(score: Run) -> None:
    ran = score("-t", "entails", "--format", "jsonl", stdin='{"text": "a", "text_pair": "b"}\n\n')
    assert ran.rows[0]["entails.label"] in ("no", "yes")
    ran = score("-t", "rating", "--format", "csv", stdin='text,n\n"a, b",012\n')
    assert (ran.rows[0]["text"], ran.rows[0]["n"]) == ("a, b", "012")


def test_bytes_that_are_no_text_cost_one_row(score: Run) -> None:
    ran = score("-t", "sentiment", "--on-error", "skip", stdin=b"good\n\xff\xfe\nbad\n")
    assert [row["text"] for row in ran.rows] == ["good", "bad"]
    assert "skipped stdin, 2: it is not UTF-8: byte 0xFF" in ran.err
    assert "scored 2 rows of 3" in ran.err


@pytest.mark.parametrize(
    ("form", "empty"),
    [("csv", ""), ("csv", "text\n"), ("jsonl", ""), ("jsonl", "\n"), ("text", "")],
)
def test_no_rows_are_an_empty_table(score: Run, form: str, empty: str) -> None:
    ran = score("--format", form, "-t", "sentiment", stdin=empty)
    assert (ran.code, ran.out) == (0, "")
    assert "scored 0 rows" in ran.err
    ran = score("--format", form, "-t", "sentiment", "-o", "out.tsv", "--json", stdin=empty)
    assert (ran.code, ran.rows[0]["rows"]) == (0, 0)
    assert Path("out.tsv").read_text().endswith("sentiment.label\tsentiment.score\n")


def test_bad_rows_alone_are_no_success(score: Run) -> None:
    Path("in.csv").write_text("text,n\n,1\n,2\na,b,3\n")
    ran = score("-f", "in.csv", "-o", "out.csv", "-t", "sentiment", "--on-error", "skip")
    assert ran.code == 3
    assert "no row could be scored: all are bad" in ran.err
    assert "scored 0 rows of 3" in ran.err
    # Known by the header, though no row of it can be read.
    Path("in.csv").write_text('text,n\n1\n1,2,3\n"x"y,1\n')
    ran = score("-f", "in.csv", "-o", "o.csv", "-t", "sentiment", "--on-error", "skip")
    assert (ran.code, "scored 0 rows of 3" in ran.err) == (3, True)
    lines = Path("o.csv.errors.jsonl").read_text().splitlines()
    reasons = [json.loads(line)["line"] for line in lines]
    assert reasons == [2, 3, 4]
    Path("in.csv").write_text("text,n\na,1\n,2\n")
    ran = score("-f", "in.csv", "-o", "p.csv", "-t", "sentiment", "--on-error", "skip")
    assert "scored 1 row of 2" in ran.err
    assert "the other one in p.csv.errors.jsonl" in ran.err


def test_top_k_and_all(score: Run) -> None:
    row = score("good", "-t", "language", "--top-k", "2").rows[0]
    assert len(row["language.labels"]) == 2
    row = score("good", "-t", "language,topics", "--all").rows[0]
    assert sorted(part["label"] for part in row["language.labels"]) == ["en", "fr", "zh"]
    assert len(row["topics.labels"]) == 3


def test_versions_share_a_column_only_where_the_name_is_one(score: Run) -> None:
    assert "sentiment.label" in score("good", "-t", "sentiment@prod").rows[0]
    row = score("good", "-t", "sentiment@prod,sentiment:1").rows[0]
    assert {"sentiment@prod.label", "sentiment:1.label"} <= set(row)


PARIS = {"entity_group": "LOC", "word": "Paris", "score": 0.9, "start": 0, "end": 5}


@pytest.mark.parametrize(
    ("held", "text"),
    [
        ({"label": "good", "score": 0.987}, "good 0.99"),
        ({"value": 3.14159}, "3.14"),
        ({"labels": []}, "-"),
        (
            {"labels": [{"label": "x", "score": 0.9}, {"label": "y", "score": 0.25}]},
            "x 0.90, y 0.25",
        ),
        ({"entities": []}, "-"),
        ({"entities": [PARIS]}, "Paris=LOC"),
        ({"choice": "late", "index": 1, "score": 0.5}, "late 0.50"),
        ({"choices": [{"choice": "late", "index": 1, "score": 0.5}]}, "late 0.50"),
    ],
)
def test_answers_for_people(held: Any, text: str) -> None:
    assert prediction_text(held) == text


def test_table_shortens_texts(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"text": "a\nb " + "c" * 100, "s.label": "good", "s.score": 0.5}
    print_rows([row], ("text",), {"s": prediction_columns("s", "single_label", top_k=1)})
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["text", "s"]
    assert "a b ccc" in out
    assert "…" in out
    assert "good 0.50" in out


def test_a_name_of_a_file_as_text_is_noted(score: Run) -> None:
    Path("in.csv").write_text("text\nx\n")
    assert "the file is --file in.csv" in score("in.csv", "-t", "rating").err


FILES = ["in.jsonl", "in.ndjson", "in.csv", "in.tsv", "in.parquet", "in.txt", "in.csv.gz"]


def make_file(name: str) -> Path:
    path = Path(name)
    if name.endswith((".jsonl", ".ndjson")):
        return write_jsonl(path, [{"id": i, "text": text} for i, text in enumerate(TEXTS)])
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"id": [0, 1, 2], "text": TEXTS}), path)
    elif name.endswith(".txt"):
        path.write_text("\n".join(TEXTS), "utf-8")
    else:
        comma = "\t" if ".tsv" in name else ","
        text = "\n".join([f"id{comma}text", *(f"00{i}{comma}{t}" for i, t in enumerate(TEXTS))])
        data = text.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("out", ["out.jsonl", "out.csv", "out.tsv", "out.parquet", "out.jsonl.gz"])
@pytest.mark.slow
def test_every_file_to_every_file(score: Run, name: str, out: str) -> None:
    ran = score("-f", make_file(name), "-o", out, "-t", "sentiment,topics,entities", "--json")
    assert ran.code == 0, ran.err
    assert counts(ran) == (3, 3, 0)
    rows = read_rows(Path(out))
    assert [row["text"] for row in rows] == TEXTS
    assert all(row["sentiment.label"] in LABELS for row in rows)
    if "csv" in name or "tsv" in name:
        assert [row["id"] for row in rows] == ["000", "001", "002"]
    beside = [] if out == "out.parquet" else [f"{out}.job.json"]
    assert sorted(os.listdir()) == sorted([name, out, *beside])


def read_rows(path: Path) -> list[Any]:
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    if path.suffix == ".gz":
        return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    delimiter = "\t" if path.suffix == ".tsv" else ","
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def test_answers_are_the_same_in_every_format(score: Run, hub: Hub) -> None:
    write_jsonl(Path("in.jsonl"), [{"text": text} for text in TEXTS])
    for out in ("out.jsonl", "out.parquet"):
        score("-f", "in.jsonl", "-o", out, "-t", "sentiment,rating,topics,entities")
    expected = [
        {"text": text, **row}
        for text, row in zip(
            TEXTS,
            hub.score(TEXTS, ["sentiment", "rating", "topics", "entities"]).rows(),
            strict=True,
        )
    ]
    assert read_jsonl(Path("out.jsonl")) == expected
    assert pq.read_table("out.parquet").to_pylist() == expected


BAD = [
    {"id": 0, "text": "good"},
    {"id": 1, "text": None},
    {"id": 2, "text": "bad"},
    {"id": 3, "text": 5},
    {"id": 4},
    {"id": 5, "text": "  "},
    {"id": 6, "text": "late", "sentiment.label": "gold"},
]


def test_bad_rows_are_skipped_and_accounted_for(
    score: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The column that is in the way comes after the first chunk, which is looked at beforehand.
    monkeypatch.setattr(sources, "AHEAD_ROWS", 3)
    monkeypatch.setattr(windows, "WINDOW_ROWS", 3)
    write_jsonl(Path("in.jsonl"), BAD)
    with Path("in.jsonl").open("ab") as file:
        file.write(b'not json\n{"text": "\xff"}\n{"text": "\\ud800"}\n\n{"text": "last"}\n')
    words = ("-f", "in.jsonl", "-o", "out.jsonl", "-t", "sentiment", "--on-error", "skip", "--json")
    ran = score(*words)
    assert ran.code == 0
    assert counts(ran) == (11, 3, 8)
    assert [row.get("id") for row in read_jsonl(Path("out.jsonl"))] == [0, 2, None]
    bad = read_jsonl(Path("out.jsonl.errors.jsonl"))
    assert [row["line"] for row in bad] == [2, 4, 5, 6, 7, 8, 9, 10]
    assert {row["file"] for row in bad} == {"in.jsonl"}
    assert bad[0]["row"] == {"id": 1, "text": None}
    assert "is None; expected a string" in bad[0]["reason"]
    assert "column 'sentiment.label' has the name of a prediction" in bad[4]["reason"]
    assert (bad[5]["row"], "no JSON record" in bad[5]["reason"]) == ("not json", True)


def test_the_first_bad_row_ends_the_run_and_leaves_nothing(score: Run) -> None:
    write_jsonl(Path("in.jsonl"), BAD[:3])
    ran = score("-f", "in.jsonl", "-o", "out.jsonl", "-t", "sentiment")
    assert ran.code == 3
    assert "in.jsonl, line 2: field 'text' is None" in ran.err
    assert "--on-error skip" in ran.err
    assert os.listdir() == ["in.jsonl"]


def test_nothing_scored_is_exit_code_3(score: Run) -> None:
    write_jsonl(Path("in.jsonl"), [{"text": ""}, {"text": None}])
    ran = score("-f", "in.jsonl", "-o", "o.jsonl", "-t", "rating", "--on-error", "skip", "--json")
    assert ran.code == 3
    assert counts(ran) == (2, 0, 2)
    assert len(read_jsonl(Path("o.jsonl.errors.jsonl"))) == 2


def test_many_chunks_keep_order_and_lines(score: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "AHEAD_ROWS", 3)
    monkeypatch.setattr(windows, "WINDOW_ROWS", 3)
    rows = [{"id": i, "text": "" if i % 5 == 4 else TEXTS[i % 3]} for i in range(23)]
    write_jsonl(Path("in.jsonl"), rows)
    ran = score("-f", "in.jsonl", "-o", "o.jsonl", "-t", "rating", "--on-error", "skip", "--json")
    assert counts(ran) == (23, 19, 4)
    assert [row["id"] for row in read_jsonl(Path("o.jsonl"))] == [i for i in range(23) if i % 5 < 4]
    assert [r["line"] for r in read_jsonl(Path("o.jsonl.errors.jsonl"))] == [5, 10, 15, 20]


def test_files_are_never_replaced_unless_forced(score: Run) -> None:
    make_file("in.csv")
    Path("out.jsonl").write_text("precious")
    ran = score("-f", "in.csv", "-o", "out.jsonl", "-t", "rating")
    assert ran.code == 3
    assert "it exists already; --force replaces it" in ran.err
    assert Path("out.jsonl").read_text() == "precious"
    Path("out.jsonl.errors.jsonl").write_text("stale")
    words = ("-f", "in.csv", "-o", "out.jsonl", "-t", "rating", "--force", "--on-error", "skip")
    assert score(*words).code == 0
    assert len(read_jsonl(Path("out.jsonl"))) == 3
    assert not Path("out.jsonl.errors.jsonl").exists()
    ran = score("-f", "in.csv", "-o", "in.csv", "-t", "rating", "--force")
    assert (ran.code, "The input itself" in ran.err) == (2, True)


def test_outputs_that_cannot_be_are_refused_before_anything_is_computed(score: Run) -> None:
    make_file("in.csv")
    Path("folder.jsonl").mkdir()
    Path("folder.jsonl/notes").touch()
    for out, code, part in [
        ("out.txt", 2, "ends in none of"),
        ("out.jsnl", 2, "Did you mean '.jsonl'?"),
        ("missing/out.jsonl", 3, "there is no folder"),
        ("folder.jsonl", 3, "holds no job of adapterhub"),
    ]:
        ran = score("-f", "in.csv", "-o", out, "-t", "rating")
        assert (ran.code, part in ran.err) == (code, True), ran.err
    ran = score("--format", "jsonl", "-o", "out.csv", "-t", "rating", stdin='{"text": "a"}\n')
    assert (ran.code, "all columns before the first row" in ran.err) == (2, True)


def test_columns_by_other_names(score: Run, hub: Hub) -> None:
    Path("in.csv").write_text("review,other,text\ngood,bad,wrong\n")
    ran = score("-f", "in.csv", "-t", "rating", "--text-column", "review")
    assert ran.rows[0]["rating.value"] == hub.score("good", "rating")["rating"][0]["value"]  # type: ignore[call-overload,index]
    assert ran.rows[0]["text"] == "wrong"
    words = ("-f", "in.csv", "-t", "entails", "--text-column", "review", "--pair-column", "other")
    expected = hub.score({"text": "good", "text_pair": "bad"}, "entails")["entails"][0]
    assert score(*words).rows[0]["entails.score"] == expected["score"]  # type: ignore[call-overload,index]


def test_a_column_that_is_not_there_is_named_with_its_neighbour(score: Run) -> None:
    Path("in.csv").write_text("review,n\ngood,1\n")
    ran = score("-f", "in.csv", "-t", "rating")
    assert (ran.code, "there is no column 'text'; columns are review, n." in ran.err) == (3, True)
    ran = score("-f", "in.csv", "-t", "rating", "--text-column", "reviw")
    assert "Did you mean 'review'?" in ran.err
    assert "--text-column" in score("-f", "in.csv").err


def test_a_column_of_the_input_is_never_overwritten(score: Run) -> None:
    Path("in.csv").write_text("text,sentiment,sentiment.score\ngood,gold,1\n")
    ran = score("-f", "in.csv", "-t", "sentiment")
    assert (ran.code, "--prefix" in ran.err) == (2, True)
    assert "has a column 'sentiment.score' already" in ran.err
    row = score("-f", "in.csv", "-t", "sentiment", "--prefix", "p_").rows[0]
    assert (row["sentiment"], row["sentiment.score"]) == ("gold", "1")
    assert {"p_sentiment.label", "p_sentiment.score"} <= set(row)
    # A column that only a later row has, for a format that needs all columns before.
    write_jsonl(Path("in.jsonl"), [{"text": "a"}] * 5000 + [{"text": "b", "rating.value": 1}])
    ran = score("-f", "in.jsonl", "-o", "out.csv", "-t", "rating")
    assert (ran.code, "has a column 'rating.value' already" in ran.err) == (2, True)


def test_values_of_parquet_survive(score: Run) -> None:
    import datetime
    from decimal import Decimal

    table = pa.table(
        {
            "text": pa.array(["good"]).dictionary_encode(),
            "when": pa.array([datetime.datetime(2020, 1, 2, 3)], pa.timestamp("us")),
            "price": pa.array([Decimal("1.50")]),
            "blob": pa.array([b"\x00\xff"]),
            "nan": pa.array([float("nan")]),
            "tags": pa.array([["a", "b"]]),
            "none": pa.array([None], pa.int32()),
        }
    )
    pq.write_table(table, "in.parquet")
    assert score("-f", "in.parquet", "-o", "out.parquet", "-t", "rating").code == 0
    back = pq.read_table("out.parquet")
    assert back.schema.types[:-1] == pq.read_schema("in.parquet").types
    assert back.drop_columns("rating.value").to_pylist()[0]["price"] == Decimal("1.50")
    row = score("-f", "in.parquet", "-t", "rating").rows[0]
    assert (row["when"], row["price"], row["blob"]) == ("2020-01-02T03:00:00", "1.50", "AP8=")
    assert (row["nan"], row["tags"], row["none"]) == (None, ["a", "b"], None)
    score("-f", "in.parquet", "-o", "out.csv", "-t", "rating")
    row = read_rows(Path("out.csv"))[0]
    assert (row["when"], row["nan"], row["tags"]) == ("2020-01-02T03:00:00", "", '["a", "b"]')


def test_json_columns_that_parquet_cannot_hold_are_refused_at_once(score: Run) -> None:
    write_jsonl(Path("in.jsonl"), [{"text": "a", "x": 1}, {"text": "b", "x": "one"}])
    ran = score("-f", "in.jsonl", "-o", "out.parquet", "-t", "rating")
    assert (ran.code, "column 'x'" in ran.err, "JSON Lines" in ran.err) == (3, True, True)
    assert os.listdir() == ["in.jsonl"]


def test_long_texts_that_are_cut_are_counted(score: Run) -> None:
    ran = score("good " * 5000, "-t", "rating", "--max-windows", "2")
    assert "1 text was longer than its windows" in ran.err
    Path("in.csv").write_text("text\n" + "good " * 40_000 + "\n")
    assert score("-f", "in.csv", "-t", "rating").code == 0


def test_an_interrupted_run_leaves_no_file(score: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> object:
        raise KeyboardInterrupt

    make_file("in.csv")
    monkeypatch.setattr(RowStages, "prepare", interrupt)
    ran = score("-f", "in.csv", "-o", "out.parquet", "-t", "rating", "--on-error", "skip")
    assert ran.code == 130
    assert os.listdir() == ["in.csv"]


def test_a_text_as_long_as_no_file_name_is_scored(score: Run) -> None:
    ran = score("A sentence. " * 40 + "and an end!", "-t", "sentiment")
    assert ran.code == 0, ran.err


def test_the_input_is_not_taken_for_the_file_of_errors(score: Run, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl.errors.jsonl", [{"text": "good"}])
    words = ("--file", path, "-t", "sentiment", "--out", tmp_path / "a.jsonl")
    for more in (("--on-error", "skip"), ("--force",)):
        ran = score(*words, *more)
        assert ran.code == 2
        assert "The input itself" in ran.err
        assert read_jsonl(path) == [{"text": "good"}]
    assert score(*words).code == 0


def test_a_number_that_is_none_is_named_with_its_line(
    score: Run, hub: Hub, tiny_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = open_backbone(tiny_registry.parent / "backbone")
    spec = tiny_task(backbone, "regression", task="wild")
    feature = hub.encode(["good"])[0]
    weight = torch.from_numpy(feature / np.abs(feature).max())[None] * 3e38
    path = tiny_registry.parent / "wild.safetensors"
    write_head(path, spec, {"head.weight": weight, "head.bias": torch.zeros(1)})
    monkeypatch.setattr(windows, "WINDOW_ROWS", 2)
    rows = [{"text": text} for text in ("", "", "", "good")]
    file = write_jsonl(Path("in.jsonl"), rows)
    ran = score("-f", file, "-t", path, "--on-error", "skip", "-o", "out.jsonl")
    assert ran.code != 0
    assert "NaN or infinity for row 4" in ran.err


@pytest.mark.slow
def test_a_task_from_the_features_cache_says_so(score: Run) -> None:
    make_file("in.csv")
    words = ("-f", "in.csv", "--features-cache", "kept", "-o")
    ran = score(*words, "one.jsonl", "-t", "sentiment")
    assert (ran.code, "features cache" in ran.err) == (0, False)
    ran = score(*words, "two.jsonl", "-t", "sentiment")
    assert "from the features cache, without the encoder: sentiment; no pass was made" in ran.err
    ran = score(*words, "three.jsonl", "-t", "sentiment", "-t", "topics", "--json")
    found = json.loads(ran.out)
    assert (found["from_cache"], found["passes"]) == (["sentiment"], 2)
    ran = score("-f", "in.csv", "--features-cache", "in.csv", "-o", "four.jsonl", "-t", "sentiment")
    assert (ran.code, "in.csv" in ran.err) == (3, True)


@pytest.mark.slow
def test_a_folder_goes_on_and_takes_a_task(score: Run) -> None:
    make_file("in.csv")
    words = ("-f", "in.csv", "-o", "out.v1/", "--part-rows", "2")
    ran = score(*words, "-t", "rating")
    assert (ran.code, sorted(os.listdir("out.v1"))[-1]) == (0, "part-00001.parquet")
    assert "scored 3 rows" in ran.err
    assert "in out.v1" in ran.err
    again = score(*words, "-t", "rating")
    assert (again.code, "nothing to do" in again.err) == (0, True), again.err
    added = score(*words, "-t", "topics", "--json")
    assert (added.code, json.loads(added.out)["resumed_rows"]) == (0, 0)
    assert list(json.loads(added.out)["tasks"]) == ["rating", "topics"]
    refused = score(*words, "-t", "rating", "--top-k", "2")
    assert (refused.code, "top_k was 1 and is 2 now" in refused.err) == (3, True)
    Path("out.v1/part-00001.parquet").unlink()
    last = score(*words, "-t", "rating,topics")
    assert "scored 3 rows, 2 of them before" in last.err
