"""Several files as one source: folders and patterns, in one order, with the same columns."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapterhub.errors import DataError, UsageError
from adapterhub.scoring.sources.open_source import open_source
from adapterhub.scoring.sources.row_source import RowSource
from adapterhub.scoring.sources.schema import source_schema


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(path: str, content: str = "text\na\n") -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(content, encoding="utf-8")
    return Path(path)


def names(source: RowSource) -> list[str]:
    return [file.name for file in source.files]


def test_a_folder_is_its_files_in_order_and_with_their_names() -> None:
    write("data/b.csv", "n,text\n3,c\nbad\n")
    write("data/a.csv", "text,n\na,1\n")
    write("data/c/d.csv", "text,n\nd,4\n")
    for path in ("_SUCCESS", "_job/x.csv", ".hidden.csv", "c/.x/y.csv", "c/_y.csv", "README.md"):
        write(f"data/{path}", "no rows")
    for path in ("a.csv.job.json", "a.csv.errors.jsonl", "a.csv.parts/part-00000.csv"):
        write(f"data/{path}", "no rows")
    with gzip.open("data/c/e.csv.gz", "wt") as file:
        file.write("text,n\ne,5\n")
    write("data/empty.csv", "")
    source = open_source("data")
    files = ["data/a.csv", "data/b.csv", "data/c/d.csv", "data/c/e.csv.gz"]
    assert names(source) == [*files, "data/empty.csv"]
    rows = list(source.rows)
    assert [(row.file, row.place) for row in rows] == [
        *((file, 2) for file in files[:2]),
        (files[1], 3),
        *((file, 2) for file in files[2:]),
    ]
    # In the order of columns of the first file.
    assert [list(row.values.items()) for row in rows if row.problem is None] == [
        [("text", text), ("n", str(n))] for text, n in [("a", 1), ("c", 3), ("d", 4), ("e", 5)]
    ]
    with pytest.raises(DataError, match=r"^data/b\.csv, line 3: it has 1 cells"):
        source.refuse(rows[2].place, str(rows[2].problem), rows[2].file)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("data/*.csv", ["data/a.csv", "data/b[1].csv"]),
        ("data/b[[]1].csv", ["data/b[1].csv"]),
        ("data/b[1].csv", ["data/b[1].csv"]),
        ("data/**/*.csv", ["data/a.csv", "data/b[1].csv", "data/c/d.csv"]),
        ("data/**", ["data/a.csv", "data/b[1].csv", "data/c/d.csv"]),
        ("*/?", ["data/c/d.csv"]),
        ("data/_*.csv", ["data/_x.csv"]),
        ("d*", ["data/a.csv", "data/b[1].csv", "data/c/d.csv"]),
    ],
)
def test_a_pattern_is_the_files_that_it_matches(pattern: str, found: list[str]) -> None:
    for path in ("a.csv", "b[1].csv", "c/d.csv", "_x.csv", "_job/e.csv"):
        write(f"data/{path}")
    assert names(open_source(pattern)) == found
    assert names(open_source(Path(pattern))) == found


def test_paths_are_files_and_strings_are_texts() -> None:
    paths = [write("b.csv"), write("a.csv")]
    assert names(open_source(paths)) == ["b.csv", "a.csv"]
    assert sorted(names(open_source(Path().glob("*.csv")))) == ["a.csv", "b.csv"]
    assert open_source(["a.csv", "b.csv"]).is_plain


def test_what_is_no_source_is_refused() -> None:
    Path("empty").mkdir()
    with pytest.raises(DataError, match="empty: the folder holds no files; names that begin"):
        open_source("empty")
    with pytest.raises(DataError, match=re.escape("empty/*.csv: no file matches it")):
        open_source("empty/*.csv")
    write("data/a.csv")
    write("data/b.jsonl", "{}\n")
    with pytest.raises(
        DataError, match=r"several formats: data/a\.csv \(csv\), data/b\.jsonl"
    ) as e:
        open_source("data")
    assert "such as 'data/*.csv'" in str(e.value)
    write("other/a.dat")
    with pytest.raises(UsageError, match=r"'a\.dat' ends in none of"):
        open_source("other")
    assert [row.values for row in open_source("other", "csv").rows] == [{"text": "a"}]
    os.symlink("..", "other/up")
    with pytest.raises(DataError, match="leads in a circle"):
        open_source("other", "csv")


def test_columns_that_differ_are_named() -> None:
    write("data/a.csv", "text,n\na,1\n")
    write("data/b.csv", "text,m\nb,2\n")
    problem = (
        r"^data/b\.csv: its columns are not those of data/a\.csv: it has 'm' beyond them and it"
    )
    with pytest.raises(DataError, match=problem + " lacks 'n'"):
        open_source("data")


def test_types_are_widened_or_refused() -> None:
    Path("data").mkdir()
    for name, n in [("a", pa.array([1], pa.int32())), ("b", pa.array([2**40])), ("c", pa.nulls(1))]:
        pq.write_table(pa.table({"text": [name], "n": n}), f"data/{name}.parquet")
    source = open_source("data")
    assert source_schema(source) == pa.schema([("text", pa.string()), ("n", pa.int64())])
    assert [row.values["n"] for row in source.rows] == [1, 2**40, None]
    pq.write_table(pa.table({"text": ["d"], "n": ["x"]}), "data/d.parquet")
    with pytest.raises(DataError, match=r"^data/d\.parquet: its column 'n' is of type string"):
        open_source("data")


def test_a_damaged_file_is_named_where_it_is_read() -> None:
    write("data/a.jsonl", '{"text": "a"}\n')
    Path("data/b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "b"}\n' * 9)[:-4])
    source = open_source("data/a.jsonl")
    assert len(list(source.rows)) == 1
    with pytest.raises(DataError, match=r"b\.jsonl\.gz: it is a damaged gzip file"):
        open_source("data")


def test_an_output_within_the_input_would_be_read_the_next_time() -> None:
    write("data/a.csv")
    for source in (open_source("data"), open_source("data/*.csv"), open_source("data/**/*.csv")):
        assert source.takes_in(Path("data/out.csv"))
        assert not source.takes_in(Path("out.csv"))
        assert source.reads(Path("data/a.csv"))
        assert not source.reads(Path("data/out.csv"))
    assert open_source("data").takes_in(Path("data"))
    assert open_source("data").takes_in(Path("data/parts"))
    assert not open_source("data").takes_in(Path("data/_parts"))
    assert not open_source("data/*.csv").takes_in(Path("data/out.jsonl"))
    assert not open_source("data/*.csv").takes_in(Path("data/c/out.csv"))


def test_digests_are_of_the_content_and_of_the_names_below() -> None:
    write("data/a.csv")
    write("data/b.csv", "text\nb\n")
    write("moved/a.csv")
    write("moved/b.csv", "text\nb\n")
    assert open_source("data").digest() == open_source("moved/*.csv").digest()
    one = open_source("data/a.csv")
    assert one.digest() == one.files[0].sha256
    assert len(str(one.digest())) == 64
    write("moved/b.csv", "text\nc\n")
    assert open_source("data").digest() != open_source("moved").digest()
    rows = [{"text": "a"}, {"text": "b"}]
    digest = open_source(rows).digest()
    assert digest == open_source(pa.Table.from_pylist(rows)).digest() is not None
    assert digest != open_source(rows[::-1]).digest()
    assert open_source(iter(rows)).digest() is None
    assert open_source(pa.Table.from_pylist(rows).to_reader()).digest() is None
