"""Arrow IPC: files and streams, compressed inside, cut off, and rows as Parquet has them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather as feather
import pytest

from adapterhub.errors import DataError, UsageError
from adapterhub.scoring.sources.open_source import open_source
from adapterhub.scoring.sources.schema import source_schema
from tests.rows.texts import values

ROWS: list[dict[str, Any]] = [{"text": "a", "n": [1]}, {"text": "b", "n": []}]
TABLE = pa.Table.from_pylist(ROWS, pa.schema([("text", pa.string()), ("n", pa.list_(pa.int32()))]))


def stream() -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=1)
    return sink.getvalue()


@pytest.mark.parametrize("name", ["a.arrow", "a.feather", "a.ipc", "a.arrows"])
@pytest.mark.parametrize("packed", ["zstd", "lz4", "uncompressed", "stream"])
def test_files_of_both_formats_are_read(name: str, packed: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if packed == "stream":
        path.write_bytes(stream())
    else:
        feather.write_feather(TABLE, path, compression=packed)
    source = open_source(path)
    assert values(source.rows) == ROWS
    assert source_schema(source) == TABLE.schema
    assert source.count() == source.row_bound() == 2
    with pytest.raises(DataError, match=rf"^{path}: row 2: it is bad"):
        source.refuse(2, "it is bad")


def test_damage_is_named(tmp_path: Path) -> None:
    whole, path = stream(), tmp_path / "a.arrow"
    feather.write_feather(TABLE, path)
    for content, problem in [
        (path.read_bytes()[:-20], "it is not a readable Arrow file"),
        (whole[:-30], "it is a damaged Arrow file: Expected to be able to read"),
        (b"", "it is not a readable Arrow file"),
        (b"text\n", "it is not a readable Arrow file|it is a damaged Arrow file"),
        (b"FEA1 and so on", "it is in the first Feather format, expected the second"),
    ]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"^{path}: {problem}"):
            list(open_source(path).rows)


def test_arrow_is_read_from_a_binary_stream() -> None:
    assert values(open_source(io.BytesIO(stream()), "arrow").rows) == ROWS
    with pytest.raises(DataError, match="it cannot be read"):
        list(open_source(io.BytesIO(stream()[:-30]), "arrow").rows)
    with pytest.raises(UsageError, match="open stream in binary mode"):
        open_source(io.StringIO("a"), "arrow")


def test_encodings_of_arrow_are_what_they_stand_for(tmp_path: Path) -> None:
    columns = {
        "text": pa.array(["a", "b"]).cast(pa.string_view()),
        "kind": pa.array(["x", "y"]).dictionary_encode(),
        "run": pc.run_end_encode(pa.array(["r", "r"])),
    }
    source = open_source(pa.table(columns))
    assert values(source.rows)[1] == {"text": "b", "kind": "y", "run": "r"}
    kinds = [pa.string(), pa.dictionary(pa.int32(), pa.string()), pa.string()]
    assert source_schema(source).types == kinds
