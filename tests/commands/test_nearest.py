"""`adapterhub nearest`: texts, files and stdin as queries, saved indices, files of results."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.commands.conftest import Run
from tests.training.rows import partner_rows

TEXTS = ["a good day", "a bad day", "the film was late", "he"]
FAQ = [{"question": text, "answer": text.upper(), "id": n} for n, text in enumerate(TEXTS)]


@pytest.fixture
def nearest(run: Run, tiny_registry: Path) -> Run:
    """Runs `adapterhub nearest` with the tiny registry, in a folder with texts."""
    write("texts.txt", *TEXTS)
    write("faq.jsonl", *map(json.dumps, FAQ))

    def nearest(*words: object, stdin: str | bytes | None = None) -> Any:
        return run("nearest", *words, "--registry", tiny_registry, stdin=stdin)

    return nearest


def write(name: str, *lines: str) -> None:
    Path(name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def test_queries_get_their_nearest_texts(nearest: Run) -> None:
    ran = nearest("texts.txt", "he", "a good day", "-k", 2)
    assert ran.code == 0, ran.err
    assert [row["text"] for row in ran.rows] == ["he", "a good day"]
    best = [row["neighbours"][0] for row in ran.rows]
    assert [one["row"] for one in best] == [3, 0]
    assert best[0].keys() == {"row", "score", "text"}
    assert all(len(row["neighbours"]) == 2 for row in ran.rows)
    assert "2 queries among 4 texts, exactly, in " in ran.err


@pytest.mark.slow
def test_records_and_columns(nearest: Run) -> None:
    ran = nearest("faq.jsonl", "he", "--text-column", "question", "-k", 1)
    assert ran.rows[0]["neighbours"][0]["record"] == {"answer": "HE", "id": 3}
    ran = nearest("faq.jsonl", "he", "--text-column", "question", "--keep-columns", "", "-k", 1)
    assert "record" not in ran.rows[0]["neighbours"][0]
    ran = nearest("faq.jsonl", "he")
    assert (ran.code, "there is no column 'text'" in ran.err) == (3, True)


@pytest.mark.slow
def test_an_index_is_made_used_and_refused(nearest: Run) -> None:
    made = nearest("texts.txt", "--index", "index", "--json")
    assert made.code == 0, made.err
    assert (made.value["texts"], made.value["queries"]) == (4, 0)
    assert (
        "adapterhub: 4 texts, the index is in index\n"
        in nearest("texts.txt", "--index", "index").err
    )
    again = nearest("texts.txt", "he", "--index", "index", "-k", 1)
    opened = nearest("index", "he", "-k", 1)
    assert again.rows == opened.rows
    write("texts.txt", *TEXTS, "she")
    other = nearest("texts.txt", "he", "--index", "index")
    assert (other.code, "texts (sha256) was" in other.err) == (3, True)
    assert nearest("texts.txt", "she", "--index", "index", "--force", "-k", 1).code == 0
    assert nearest("index", "she", "-k", 1).rows[0]["neighbours"][0]["row"] == 4
    wrong = nearest("index", "he", "--pooling", "cls")
    assert (wrong.code, "--pooling is for making one" in wrong.err) == (2, True)


@pytest.mark.slow
def test_files_of_queries_are_written_with_what_was_found(nearest: Run) -> None:
    write("queries.csv", "id,ask", "1,he", "2,", "3,a bad day")
    words = ("faq.jsonl", "--text-column", "question", "--queries", "queries.csv", "-k", 1)
    words = (*words, "--query-column", "ask")
    refused = nearest(*words, "-o", "out.csv")
    assert (refused.code, "queries.csv, line 3" in refused.err) == (3, True)
    assert not Path("out.csv").exists()
    for name in ("out.csv", "out.parquet", "out.jsonl"):
        ran = nearest(*words, "-o", name, "--on-error", "skip", "--json")
        assert (ran.code, ran.value["queries"], ran.value["skipped"]) == (0, 2, 1), ran.err
    with open("out.csv", encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    typed = pq.read_table("out.parquet").to_pylist()
    assert [row["id"] for row in cells] == ["1", "3"]
    assert [json.loads(row["neighbours"]) for row in cells] == [row["neighbours"] for row in lines]
    assert [row["neighbours"][0]["row"] for row in typed] == [3, 1]
    assert json.loads(typed[0]["neighbours"][0]["record"]) == {"answer": "HE", "id": 3}


@pytest.mark.slow
def test_each_text_among_the_others_and_stdin(nearest: Run) -> None:
    ran = nearest("faq.jsonl", "--text-column", "question", "--each", "-k", 1, "-o", "each.parquet")
    assert ran.code == 0, ran.err
    found = pq.read_table("each.parquet").to_pylist()
    assert [row["row"] for row in found] == [0, 1, 2, 3]
    assert all(row["neighbours"][0]["row"] != row["row"] for row in found)
    assert json.loads(found[3]["record"]) == {"answer": "HE", "id": 3}
    piped = nearest("texts.txt", "--queries", "-", "-k", 1, stdin="he\n\na bad day\n")
    assert (piped.code, "stdin, line 2" in piped.err) == (3, True)
    piped = nearest(
        "texts.txt", "--queries", "-", "-k", 1, "--on-error", "skip", stdin="he\n\na bad day\n"
    )
    assert [row["neighbours"][0]["row"] for row in piped.rows] == [3, 1]
    assert "skipped query 2: " in piped.err


WRONG = {
    "no queries": (("texts.txt",), "There are no queries"),
    "two kinds": (("texts.txt", "he", "--each"), "they exclude one another"),
    "an output of nothing": (("texts.txt", "--index", "i", "--out", "o.csv"), "there are none"),
    "no format": (("texts.txt", "he", "--out", "o.docx"), "o.docx"),
    "a pair": (("texts.txt", "he", "--pooling", "tokens"), "--pooling"),
    "no number": (("texts.txt", "he", "-k", "0"), "--top-k"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_words_are_refused(nearest: Run, name: str) -> None:
    words, expected = WRONG[name]
    ran = nearest(*words)
    assert (ran.code, expected in ran.err) == (2, True), ran.err


@pytest.mark.slow
def test_a_task_makes_the_vectors(nearest: Run, run: Run, tiny_registry: Path) -> None:
    rows = [json.dumps(row) for row in partner_rows(40)]
    write("pairs.jsonl", *rows)
    options = (
        "--kind",
        "embedding",
        "--dimensions",
        8,
        "--depths",
        0,
        "--poolings",
        "mean",
        "--epochs",
        1,
    )
    place = ("--registry", tiny_registry, "--cache-dir", "cache")
    ran = run("train", "pairs.jsonl", "--task", "same", *options, *place)
    assert ran.code == 0, ran.err
    assert run("show", "same", "--registry", tiny_registry).code == 0
    ran = run("score", "a good day", "--task", "same", "--registry", tiny_registry)
    assert ran.code == 0, ran.err
    assert len(ran.rows[0]["same.vector"]) == 8
    ran = run("eval", "same", "pairs.jsonl", "--registry", tiny_registry, "--json")
    assert ran.code == 0, ran.err
    assert "recall_at_10" in ran.value["metrics"]
    ran = nearest("texts.txt", "he", "--task", "same", "--index", "index", "-k", 1)
    assert (ran.code, ran.rows[0]["neighbours"][0]["text"]) == (0, "he"), ran.err
    assert nearest("index", "he", "-k", 1).rows == ran.rows
    ran = nearest("texts.txt", "he", "--task", "same", "--pooling", "cls")
    assert (ran.code, "pooling cannot be given beside it" in ran.err) == (2, True)
