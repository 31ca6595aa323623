"""Reading and writing rows: formats, bad rows, and files that are whole or not there."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapterhub.errors import DataError, UsageError
from adapterhub.scoring.columns import scan_columns, scan_schema
from adapterhub.scoring.files import FileFormat, Format, find_format, open_reading, whole_file
from adapterhub.scoring.reading import SourceRow, count_rows, read_file, read_stream
from adapterhub.scoring.sources import file_source, text_source
from adapterhub.scoring.writing import DelimitedText, JsonLines, Parquet, json_line


def stream(data: str | bytes) -> io.TextIOWrapper:
    raw = data if isinstance(data, bytes) else data.encode()
    return io.TextIOWrapper(
        io.BytesIO(raw), encoding="utf-8-sig", errors="surrogateescape", newline="\n"
    )


def read(data: str | bytes, form: Format) -> list[SourceRow]:
    return list(read_stream(stream(data), form, name="stdin"))


def values(rows: Iterable[SourceRow]) -> list[Any]:
    return [dict(row.values) if row.problem is None else row.problem for row in rows]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jsonl", FileFormat("jsonl")),
        ("a.NDJSON", FileFormat("jsonl")),
        ("a.b.csv", FileFormat("csv")),
        ("a.tsv.gz", FileFormat("tsv", packed=True)),
        ("a.parquet", FileFormat("parquet")),
        ("a.txt", FileFormat("text")),
    ],
)
def test_formats_by_name(name: str, expected: FileFormat) -> None:
    assert find_format(Path(name)) == expected


@pytest.mark.parametrize("name", ["a", "a.xlsx", "a.parquet.gz", "a.gz", "a.json"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"ends in none of \.txt, \.jsonl"):
        find_format(Path(name))


def test_texts_are_no_output() -> None:
    with pytest.raises(UsageError, match=r"ends in none of \.jsonl"):
        find_format(Path("a.txt"), output=True)


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


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\x00"), max_size=20)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), TEXT, min_size=1), min_size=1))
def test_json_lines_come_back(rows: list[dict[str, str]]) -> None:
    data = "".join(json_line(row) + "\n" for row in rows)
    assert values(read(data, "jsonl")) == rows


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1))
def test_csv_comes_back(rows: list[tuple[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("a", "b"), *rows])
    assert values(read(text.getvalue(), "csv")) == [{"a": a, "b": b} for a, b in rows]


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


def test_sources_look_at_the_first_rows_only(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1, "b": 2}\nbad\n{"b": 3, "c": 4}\n')
    source = file_source(path, FileFormat("jsonl"))
    assert source.columns == ("a", "b", "c")
    assert source.common == {"b"}
    assert len(list(source.rows)) == 3


def test_sources_without_a_good_row_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("bad\n")
    with pytest.raises(DataError, match="no JSON record"):
        file_source(path, FileFormat("jsonl"))
    path.write_text("")
    with pytest.raises(DataError, match="it holds no rows"):
        file_source(path, FileFormat("jsonl"))
    with pytest.raises(DataError, match="it holds no rows"):
        text_source([])


def test_rows_are_counted_for_the_bar(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n2\n")
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "a.parquet")
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        assert count_rows(tmp_path / name, find_format(Path(name))) == 2
    assert count_rows(tmp_path / "a.csv", FileFormat("csv", packed=True)) is None
    assert count_rows(tmp_path / "missing.csv", FileFormat("csv")) is None


def test_schemas_are_of_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows: list[dict[str, Any]] = [{"a": None, "n": 1}] * 9000 + [{"a": "x", "n": 0.5, "b": [1]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    form = FileFormat("jsonl")
    assert scan_columns(path, form) == ("a", "n", "b")
    assert scan_schema(path, form) == pa.schema(
        [("a", pa.string()), ("n", pa.float64()), ("b", pa.list_(pa.int64()))]
    )


def test_writers(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"a": "x, y", "n": 1, "list": [{"label": "é", "score": 0.5}]},
        {"a": None, "n": float("inf"), "list": []},
    ]
    lines = JsonLines(tmp_path / "a.jsonl")
    table = DelimitedText(tmp_path / "a.csv", FileFormat("csv"), ("a", "n", "list"))
    for writer in (lines, table):
        writer.write(rows)
        writer.close()
    found = (tmp_path / "a.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in found] == [rows[0], {"a": None, "n": None, "list": []}]
    text = (tmp_path / "a.csv").read_text("utf-8")
    assert list(csv.reader(io.StringIO(text))) == [
        ["a", "n", "list"],
        ["x, y", "1", '[{"label": "é", "score": 0.5}]'],
        ["", "", "[]"],
    ]


def test_parquet_gathers_small_chunks(tmp_path: Path) -> None:
    schema = pa.schema([("a", pa.int64())])
    writer = Parquet(tmp_path / "a.parquet", schema)
    for start in range(0, 200_000, 2_000):
        writer.write([{"a": i} for i in range(start, start + 2_000)])
    writer.close()
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert file.metadata.num_rows == 200_000
    assert file.metadata.num_row_groups <= 4
    assert file.read()["a"].to_pylist() == list(range(200_000))


def test_parquet_says_what_it_cannot_hold(tmp_path: Path) -> None:
    writer = Parquet(tmp_path / "a.parquet", pa.schema([("a", pa.int64())]))
    with pytest.raises(DataError, match="does not fit"):
        writer.write([{"a": "x"}])
    with pytest.raises(DataError, match="Parquet cannot hold"):
        Parquet(tmp_path / "b.parquet", pa.schema([("a", pa.struct([]))]))


def test_a_whole_file_takes_its_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with whole_file(path) as temp:
        temp.write_text("new")
        assert temp.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["out"]


def test_a_failed_block_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    path.chmod(0o640)

    def fail() -> None:
        with whole_file(path, force=True) as temp:
            temp.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]
    with whole_file(path, force=True) as temp:
        temp.write_text("new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_that_came_in_the_meantime_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out"

    def meet() -> None:
        with whole_file(path) as temp:
            temp.write_text("new")
            path.write_text("of somebody else")

    with pytest.raises(DataError, match="exists already"):
        meet()
    assert path.read_text() == "of somebody else"
    assert os.listdir(tmp_path) == ["out"]


def test_a_full_disk_is_our_error(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    writer = JsonLines(Path("/dev/full"))
    with pytest.raises(DataError, match="cannot be written: No space left"):
        writer.write([{"a": "x" * 100_000}])
    # Little enough to wait in the buffer until the end.
    writer = JsonLines(Path("/dev/full"))
    writer.write([{"a": 1}])
    with pytest.raises(DataError, match="cannot be written: No space left"):
        writer.close()


def test_opening_says_why_not(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        open_reading(tmp_path / "missing", packed=False)
    with pytest.raises(DataError, match="cannot be written"):
        JsonLines(tmp_path / "missing" / "a.jsonl")
