"""docs/clusters.md runs as it is printed, with the real libraries."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.test_readme import ROOT, Block

PAGE = "docs/clusters.md"
ROWS = [("I loved every minute.", 5), ("A boring film, and too long.", 1), ("Fly me to Paris.", 4)]


def blocks_of(section: str) -> list[Block]:
    text = (ROOT / PAGE).read_text(encoding="utf-8").partition(f"\n## {section}\n")[2]
    assert text, f"{PAGE} has no section {section}"
    part = text.partition("\n## ")[0]
    found = re.findall(r"^```(\w+)\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
    return [Block(kind, code, f"{PAGE}, {section}") for kind, code in found]


def run_section(section: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Runs the Python of a section; returns what it has defined."""
    names = {} if names is None else names
    for block in blocks_of(section):
        if block.kind == "python":
            exec(compile(block.text, block.place, "exec"), names)
    return names


def write_reviews(folder: Path) -> None:
    """Writes the file that the page reads."""
    table = pa.table({"review": [text for text, _ in ROWS], "stars": [stars for _, stars in ROWS]})
    pq.write_table(table, folder / "reviews.parquet")


@pytest.fixture
def reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes into a folder that has the file that the page reads."""
    monkeypatch.chdir(tmp_path)
    write_reviews(tmp_path)


@pytest.mark.slow
def test_a_scorer(reviews: None, capsys: pytest.CaptureFixture[str]) -> None:
    scorer = run_section("A Scorer")["scorer"]
    out = capsys.readouterr().out
    assert "is None; expected a string" in out
    assert all(name in out for name in scorer.schema.names)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_datasets(reviews: None) -> None:
    names = run_section("datasets")
    assert names["scored"].num_rows == len(ROWS)
    assert names["scored"].column_names == ["review", "stars", *names["scorer"].schema.names]


@pytest.mark.slow
def test_pandas(reviews: None, capsys: pytest.CaptureFixture[str]) -> None:
    run_section("pandas and polars")
    assert "sentiment-en" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_spark(reviews: None, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = pytest.importorskip("pyspark.sql")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    session = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = session.getOrCreate()
    try:
        names = run_section("Spark")
    finally:
        spark.stop()
    written = pq.read_table("scored-by-spark")
    assert written.num_rows == len(ROWS)
    assert written.schema.names == ["review", "stars", *names["scorer"].schema.names]
    assert sorted(written["review"].to_pylist()) == sorted(text for text, _ in ROWS)
