"""Rows of files and streams: nothing is guessed, and a bad row costs one row."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapterhub.errors import DataError
from adapterhub.rows.counting import count_rows
from adapterhub.rows.formats import FileFormat, find_format
from adapterhub.rows.reading import read_file
from tests.rows.texts import read, values


def test_cells_of_csv_stay_the_texts_they_are() -> None:
    rows = read('a,b,c,d,e\nNA,null,012,1e3,"x, ""y""\nz"\n,None,true,NaN,\n', "csv")
    assert values(rows) == [
        {"a": "NA", "b": "null", "c": "012", "d": "1e3", "e": 'x, "y"\nz'},
        {"a": "", "b": "None", "c": "true", "d": "NaN", "e": ""},
    ]
    assert [row.place for row in rows] == [2, 4]


def test_bad_rows_of_csv_cost_one_row_each() -> None:
    rows = read('a,b\n1,2\n1\n1,2,3\n"x"y,2\n\n5,6\n', "csv")
    assert [row.place for row in rows] == [2, 3, 4, 5, 7]
    found = values(rows)
    assert found[0] == {"a": "1", "b": "2"}
    assert "it has 1 cells, the first line has 2" in found[1]
    assert "quote cells that hold a ','" in found[2]
    assert "cannot be read as CSV" in found[3]
    assert found[4] == {"a": "5", "b": "6"}


def test_a_quote_that_never_ends_is_one_bad_row() -> None:
    rows = read('a,b\n1,2\n"x,2\n3,4\n', "csv")
    assert [row.problem is None for row in rows] == [True, False]
    assert rows[1].place == 3
    assert "a cell in quotes goes on to line 4, and those lines are lost" in str(rows[1].problem)


def test_a_quote_that_ends_in_another_row_names_the_rows_it_took() -> None:
    rows = read('a,b\n"x,2\n3,4\nthe "y" here,5\n6,7\n', "csv")
    assert [row.place for row in rows] == [2, 5]
    assert "goes on to line 4" in str(rows[0].problem)
    assert rows[1].values == {"a": "6", "b": "7"}


@pytest.mark.parametrize(
    ("head", "part"), [("a,b,a", "'a' occurs twice"), ('"a"b', "as CSV"), (b"\xff,b", "not UTF-8")]
)
def test_a_bad_first_line_of_csv_is_an_error(head: str | bytes, part: str) -> None:
    with pytest.raises(DataError, match=part) as caught:
        read(head, "csv")
    assert caught.value.line == 1


def test_cells_may_be_long() -> None:
    assert len(str(read("a\n" + "x" * 500_000, "csv")[0].values["a"])) == 500_000


def test_lines_end_in_any_usual_way() -> None:
    assert values(read("a,b\r\n1,2\r\n", "csv")) == [{"a": "1", "b": "2"}]
    assert values(read('{"a": 1}\r\n\r\n{"a": 2}', "jsonl")) == [{"a": 1}, {"a": 2}]
    assert values(read("x\r\n\r\n y \n", "text")) == [{"text": "x"}, {"text": ""}, {"text": " y "}]
    # A line separator inside a text is part of it.
    assert values(read("x\u2028y\rz\n", "text")) == [{"text": "x\u2028y\rz"}]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (b"not json", "no JSON record"),
        (b"[1]", "not an object"),
        (b'{"a": 1, "a": 2}', "occurs twice"),
        (b'{"a": NaN}', "not a number"),
        (b'{"a": "\xff"}', "not UTF-8: byte 0xFF at code point 7"),
        (b'{"a": "\\ud800"}', "lone surrogate"),
        (b"[" * 100_000, "no JSON record"),
    ],
)
def test_bad_lines_of_json_cost_one_row_each(line: bytes, part: str) -> None:
    rows = read(b'{"a": 0}\n' + line + b'\n{"a": 1}\n', "jsonl")
    assert [row.place for row in rows] == [1, 2, 3]
    assert part in str(rows[1].problem)
    assert values([rows[0], rows[2]]) == [{"a": 0}, {"a": 1}]


def test_a_surrogate_pair_is_a_character() -> None:
    assert values(read('{"a": "\\ud83d\\ude00"}\n', "jsonl")) == [{"a": "😀"}]


def test_damaged_files_are_named(tmp_path: Path) -> None:
    data = gzip.compress(b'{"a": 1}\n' * 1000)
    for name, content, part in [
        ("cut.jsonl.gz", data[:-20], "damaged gzip"),
        ("not.jsonl.gz", b"plain", "damaged gzip"),
        ("not.parquet", b"plain", "not a readable Parquet"),
        ("missing.csv", None, "there is no such file"),
    ]:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=part) as caught:
            list(read_file(path, find_format(path)))
        assert caught.value.source == str(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    for name in ("x.csv", "x.parquet"):
        (tmp_path / name).mkdir(exist_ok=True)
        with pytest.raises(DataError):
            list(read_file(tmp_path / name, find_format(tmp_path / name)))


def test_reading_is_in_constant_memory(tmp_path: Path) -> None:
    """Only what is asked for is read: a bad end of the file is never reached."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 100_000)[:-50])
    rows = read_file(path, find_format(path))
    assert [next(rows).place for _ in range(5)] == [1, 2, 3, 4, 5]


def test_rows_are_counted_for_the_bar(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n2\n")
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "a.parquet")
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        assert count_rows(tmp_path / name, find_format(Path(name))) == 2
    assert count_rows(tmp_path / "a.csv", FileFormat("csv", packed="gz")) is None
    assert count_rows(tmp_path / "missing.csv", FileFormat("csv")) is None
