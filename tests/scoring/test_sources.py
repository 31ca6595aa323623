"""What can be scored: files, streams, texts and records, all as rows with their bad ones named."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapterhub.errors import DataError, InputError, UsageError
from adapterhub.rows.formats import FileFormat
from adapterhub.scoring.sources.open_source import file_source, open_source, row_source
from tests.rows.texts import values


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
    for source in (file_source(path, FileFormat("jsonl")), row_source([])):
        assert (source.columns, list(source.rows), source.is_blank) == ((), [], True)


def test_values_that_python_has_no_form_for_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    far = pa.array([2_932_897 + 400], pa.int32()).cast(pa.date32())
    pq.write_table(pa.table({"text": ["a"], "until": far}), path)
    with pytest.raises(DataError, match="a value that Python has no form for"):
        list(file_source(path, FileFormat("parquet")).rows)


def test_texts_and_records_of_a_call_are_rows() -> None:
    texts = open_source(["a", None, "b\ud800"])
    assert (texts.is_plain, texts.columns) == (True, ("text",))
    found = values(texts.rows)
    assert found[0] == {"text": "a"}
    assert "of type NoneType; expected a string" in found[1]
    assert "lone surrogate" in found[2]
    records = open_source({"text": text, "n": np.int64(1)} for text in "ab")
    assert (records.is_plain, records.columns, records.again) == (False, ("text", "n"), None)
    assert values(records.rows) == [{"text": "a", "n": 1}, {"text": "b", "n": 1}]


@pytest.mark.parametrize(
    ("record", "part"),
    [
        ("a text", "of type str; expected a record"),
        ({1: "a"}, "column 1 has a name of type int; expected a string"),
        ({"text": "a", "x": object()}, "type object has no form in JSON"),
        ({"text": "a", "x": ["\ud800"]}, "lone surrogate"),
    ],
)
def test_a_record_that_could_not_be_written_costs_its_row(record: Any, part: str) -> None:
    found = values(row_source([{"text": "good"}, record]).rows)
    assert found[0] == {"text": "good"}
    assert part in found[1]


def test_a_list_can_be_read_again_and_a_generator_cannot() -> None:
    source = row_source([{"a": 1}, {"b": 2}])
    assert source.again is not None
    assert values(source.again()) == values(source.rows) == [{"a": 1}, {"b": 2}]
    assert row_source(iter([{"a": 1}])).again is None


@pytest.mark.parametrize("given", [5, b"text", None, bytearray(b"a")])
@pytest.mark.slow
def test_what_has_no_rows_is_refused(given: Any) -> None:
    with pytest.raises(DataError, match="whose 'text' is a str; expected columns"):
        open_source({"text": "a"})
    with pytest.raises(InputError, match="expected a path, a stream, or an iterable"):
        open_source(given)


def test_streams_of_bytes_and_of_text(tmp_path: Path) -> None:
    stream = io.BytesIO("\ufeffgood\r\nbad\n".encode() + b"\xff\nlast")
    found = values(open_source(stream).rows)
    assert (found[:2], found[3]) == ([{"text": "good"}, {"text": "bad"}], {"text": "last"})
    assert "not UTF-8: byte 0xFF" in found[2]
    assert not stream.closed
    assert values(open_source(io.StringIO("a,b\n1,2\n"), "csv").rows) == [{"a": "1", "b": "2"}]
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 9)[:-4])
    with gzip.open(path) as cut, pytest.raises(DataError, match="it cannot be read"):
        open_source(cut, "jsonl")
    path.write_bytes(b"caf\xe9\n")
    with path.open(encoding="utf-8") as text, pytest.raises(DataError, match="open it in binary"):
        open_source(text)


def test_parquet_is_no_stream() -> None:
    with pytest.raises(UsageError, match="use --file"):
        open_source(io.BytesIO(b""), "parquet")


def test_paths_among_other_things_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("good\n")
    for paths in [path, None], [None, path]:
        with pytest.raises(InputError, match="A list of paths holds a NoneType"):
            row_source(paths)
