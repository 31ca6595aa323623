from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from pyarrow.dataset import dataset

from adapterhub.errors import DataError, UsageError
from adapterhub.training.data.records import read_records
from tests.training.rows import sentiment_rows, write_rows

# Without a time: two workers must collect the same tests.
_CUT_GZIP = gzip.compress(b'{"text": "x"}\n' * 99, mtime=0)[:-20]

ROWS = sentiment_rows(6)


def _values(data: object) -> list[dict[str, object]]:
    return [dict(record.values) for record in read_records(data).rows]


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, tmp_path / "a.parquet")
    pd.DataFrame(ROWS).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame(ROWS).to_csv(tmp_path / "a.tsv.gz", index=False, sep="\t")
    write_rows(tmp_path / "a.jsonl", ROWS)
    write_rows(tmp_path / "a.jsonl.gz", ROWS)
    with pa.CompressedOutputStream(tmp_path / "a.jsonl.zst", "zstd") as file:
        file.write((tmp_path / "a.jsonl").read_bytes())
    feather.write_feather(table, tmp_path / "a.arrow")
    names = ("a.parquet", "a.csv", "a.tsv.gz", "a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.arrow")
    for name in names:
        assert _values(tmp_path / name) == ROWS, name
        assert _values(str(tmp_path / name)) == ROWS
        assert read_records(tmp_path / name).name == "a"
    for data in (table, pd.DataFrame(ROWS), ROWS, iter(ROWS), pl.LazyFrame(ROWS), dataset(table)):
        assert _values(data) == ROWS


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_cells_may_be_long(tmp_path: Path, ending: str) -> None:
    """Python's own limit is 131,072 characters."""
    path = tmp_path / f"a.{ending}"
    pd.DataFrame({"text": ["x" * 300_000], "label": ["a"]}).to_csv(
        path, index=False, sep="," if ending == "csv" else "\t"
    )
    assert [len(str(row["text"])) for row in _values(path)] == [300_000]


def test_a_part_is_called_as_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "reviews.v2"
    folder.mkdir()
    names = {"train.jsonl.gz": "reviews.v2", "data.csv": "reviews.v2", "b.train.jsonl": "b.train"}
    for file, name in names.items():
        path = write_rows(folder / file, ROWS)
        if file.endswith("csv"):
            pd.DataFrame(ROWS).to_csv(path, index=False)
        assert read_records(path).name == name


def test_csv_guesses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbftext,label\nNA,no\n"null, or\nnot",012\n\nlast,1.50\n')
    assert _values(path) == [
        {"text": "NA", "label": "no"},
        {"text": "null, or\nnot", "label": "012"},
        {"text": "last", "label": "1.50"},
    ]
    assert [record.place for record in read_records(path).rows] == [2, 3, 6]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', "a.jsonl, line 2: it is no JSON record"),
        ("a.jsonl", b'\n["text"]\n', "line 2: it is no JSON record: it is not an object"),
        ("a.jsonl", b'{"score": NaN}\n', "line 1: it is no JSON record: it holds NaN"),
        ("a.jsonl", b'{"text": 1, "text": 2}\n', "line 1.*occurs twice"),
        ("a.jsonl", b"\n\n", "it holds no rows"),
        ("a.jsonl", b'{"text": "\xff"}\n', "line 1: it is not UTF-8: byte 0xFF"),
        ("a.jsonl.gz", b"no gzip", "damaged gzip file"),
        ("a.jsonl.gz", _CUT_GZIP, "damaged gzip file"),
        ("a.csv", b"text,label\none,two,three\n", "line 2: it has 3 cells, the first line has 2"),
        ("a.csv", b"text,text\n1,2\n", "line 1: the column 'text' occurs twice"),
        ("a.csv", b'text,label\n"open\n', "line 2: it cannot be read as CSV"),
        ("a.parquet", b"PAR1 no parquet", "not a readable Parquet file"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=problem):
        read_records(tmp_path / name)


def test_what_has_no_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_records(tmp_path / "absent.jsonl")
    for name in ("a.xlsx", "a.txt"):
        with pytest.raises(UsageError, match=r"ends in none of \.jsonl"):
            read_records(tmp_path / name)
    with pytest.raises(DataError, match="it holds no rows"):
        read_records({"text": []})
    with pytest.raises(DataError, match="row 1: it is a str, not a mapping"):
        read_records(["text"])
    with pytest.raises(DataError, match="it is a int"):
        read_records(3)


def test_a_missing_column_suggests_the_nearest() -> None:
    records = read_records([{"text": "a", "lable": "b"}])
    with pytest.raises(DataError, match=r"row 1: there is no column 'label'.*Did you mean 'lable'"):
        records.value(records.rows[0], "label")


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.table([["a"], ["b"], ["c"]], names=["text", "label", "label"])
    pq.write_table(table, tmp_path / "a.parquet")
    frame = pd.DataFrame([["a", "b", "c"]], columns=["text", "label", "label"])
    for data in (table, frame, tmp_path / "a.parquet"):
        with pytest.raises(DataError, match="the column 'label' occurs twice"):
            read_records(data)
