"""Writing rows: formats, and files that are whole or not there."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapterhub.errors import DataError
from adapterhub.rows.formats import FileFormat
from adapterhub.scoring.output.whole_file import whole_file
from adapterhub.scoring.output.writers import DelimitedText, JsonLines, TypedTable, json_line
from adapterhub.scoring.sources.open_source import file_source
from adapterhub.scoring.sources.schema import source_columns, source_schema
from tests.rows.texts import read, values

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\x00"), max_size=20)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), TEXT, min_size=1), min_size=1))
@pytest.mark.slow
def test_json_lines_come_back(rows: list[dict[str, str]]) -> None:
    data = "".join(json_line(row) + "\n" for row in rows)
    assert values(read(data, "jsonl")) == rows


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1))
def test_csv_comes_back(rows: list[tuple[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("a", "b"), *rows])
    assert values(read(text.getvalue(), "csv")) == [{"a": a, "b": b} for a, b in rows]


def test_schemas_are_of_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows: list[dict[str, Any]] = [{"a": None, "n": 1}] * 9000 + [{"a": "x", "n": 0.5, "b": [1]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = file_source(path, FileFormat("jsonl"))
    assert source_columns(source) == ("a", "n", "b")
    assert source_schema(source) == pa.schema(
        [("a", pa.string()), ("n", pa.float64()), ("b", pa.list_(pa.int64()))]
    )


def test_the_row_that_fits_no_type_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows: list[dict[str, Any]] = [{"b": 1}] * 40 + [{"b": [1]}] + [{"b": "x"}] * 9
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = r"a\.jsonl, line 41: no one type .* holds its value of the column 'b' .*--part-format"
    with pytest.raises(DataError, match=words):
        source_schema(file_source(path, FileFormat("jsonl")))


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
    writer = TypedTable(tmp_path / "a.parquet", FileFormat("parquet"), schema)
    for start in range(0, 200_000, 2_000):
        writer.write([{"a": i} for i in range(start, start + 2_000)])
    writer.close()
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert file.metadata.num_rows == 200_000
    assert file.metadata.num_row_groups <= 4
    assert file.read()["a"].to_pylist() == list(range(200_000))


def test_parquet_says_what_it_cannot_hold(tmp_path: Path) -> None:
    writer = TypedTable(
        tmp_path / "a.parquet", FileFormat("parquet"), pa.schema([("a", pa.int64())])
    )
    with pytest.raises(DataError, match="does not fit"):
        writer.write([{"a": "x"}])
    with pytest.raises(DataError, match="Parquet cannot hold"):
        TypedTable(tmp_path / "b.parquet", FileFormat("parquet"), pa.schema([("a", pa.struct([]))]))


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX limits")
@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.parquet"])
@pytest.mark.slow
def test_a_file_that_grows_too_large_is_called_by_its_own_name(tmp_path: Path, name: str) -> None:
    code = """if True:
        import resource, signal, sys
        from pathlib import Path
        import pyarrow as pa
        from adapterhub.rows.formats import FileFormat
        from adapterhub.scoring.output.whole_file import whole_file
        from adapterhub.scoring.output.writers import DelimitedText, JsonLines, TypedTable
        from adapterhub.errors import DataError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
        path = Path(sys.argv[1])
        make = {".jsonl": JsonLines, ".csv": lambda p: DelimitedText(p, FileFormat("csv"), ["a"])}
        schema = pa.schema([("a", pa.string())])
        make[".parquet"] = lambda p: TypedTable(p, FileFormat("parquet"), schema)
        try:
            with whole_file(path) as temp:
                writer = make[path.suffix](temp)
                writer.write([{"a": f"row {i}"} for i in range(5_000)])
                writer.close()
        except DataError as error:
            print(error)
    """
    path = tmp_path / name
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(f"{path}: it cannot be written: "), done.stderr
    assert done.stdout.endswith("File too large\n")
    assert list(tmp_path.iterdir()) == []


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

    with pytest.raises(DataError, match=r"made by another program .* is in .*out\.2$"):
        meet()
    assert path.read_text() == "of somebody else"
    assert sorted(os.listdir(tmp_path)) == ["out", "out.2"]
    assert (tmp_path / "out.2").read_text() == "new"


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
    with pytest.raises(DataError, match="cannot be written"):
        JsonLines(tmp_path / "missing" / "a.jsonl")


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_marks_that_end_lines_stay_in_their_cell(form: Any, tmp_path: Path) -> None:
    path = tmp_path / "a"
    texts = ["one\rtwo", "one\r\ntwo", "one\ntwo", "\r", "a\r\n", "plain"]
    writer = DelimitedText(path, FileFormat(form), ("text", "id"))
    writer.write([{"text": text, "id": str(index)} for index, text in enumerate(texts)])
    writer.close()
    rows = [row.values for row in file_source(path, FileFormat(form)).rows]
    assert rows == [{"text": text, "id": str(index)} for index, text in enumerate(texts)]
    assert path.read_bytes().startswith(b"text\tid\n" if form == "tsv" else b"text,id\n")


def test_an_identifier_has_a_form_in_json() -> None:
    name = UUID("12345678123456781234567812345678")
    assert json.loads(json_line({"id": name})) == {"id": str(name)}


def test_numbers_of_numpy_have_a_form_in_json() -> None:
    row = {"n": np.int64(3), "x": np.float32(0.5), "v": np.array([1, 2])}
    assert json.loads(json_line(row)) == {"n": 3, "x": 0.5, "v": [1, 2]}
