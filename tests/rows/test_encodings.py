"""Files that are not UTF-8: refused with what they are, never read as texts with NULs."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pytest

from adapterhub.errors import DataError
from adapterhub.rows.formats import find_format
from adapterhub.rows.reading import read_file
from adapterhub.scoring.sources.open_source import open_source
from tests.rows.texts import read, values

WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
CONTENTS = {
    "a.txt": "the film was good\nbad\n",
    "a.csv": "text,label\ngood,x\n",
    "a.tsv": "text\tlabel\ngood\tx\n",
    "a.jsonl": '{"text": "good"}\n',
}


@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize("name", CONTENTS)
def test_wide_characters_are_refused(name: str, encoding: str, tmp_path: Path) -> None:
    data = CONTENTS[name].encode(encoding)
    part = f"it is {encoding.upper()[:6]}, expected UTF-8; convert it.*iconv -f"
    (tmp_path / name).write_bytes(data)
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(data))
    for path in (tmp_path / name, packed):
        with pytest.raises(DataError, match=part):
            list(read_file(path, find_format(path)))
    form: Any = find_format(Path(name)).name
    with pytest.raises(DataError, match=part):
        open_source(io.BytesIO(data), form)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_wide_chinese_is_not_read_as_text(mark: str) -> None:
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le"):
        data = f"{mark}张伟昨天在北京\n大学\n".encode(encoding)
        try:
            rows = read(data, "text")
        except DataError:
            continue
        assert all(row.problem is not None for row in rows)


def test_a_nul_costs_its_row() -> None:
    rows = values(read("a,b\n1,2\nx\0y,3\n4,5\n", "csv"))
    assert (rows[0], rows[2]) == ({"a": "1", "b": "2"}, {"a": "4", "b": "5"})
    assert "NUL byte at code point 1" in rows[1]
    for form in ("text", "tsv", "jsonl"):
        data = {"text": "long enough\nx\0\n", "tsv": "a\n\0\n", "jsonl": '{"a": 1}\n"\0"\n'}[form]
        assert "NUL byte" in values(read(data, form))[-1]  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "cp1251", "shift-jis"])
def test_other_encodings_are_named_with_what_to_do(encoding: str) -> None:
    text = {"latin-1": "café", "gbk": "张伟", "cp1251": "дом", "shift-jis": "東京"}[encoding]
    (found,) = values(read(text.encode(encoding), "text"))
    assert "it is not UTF-8: byte 0x" in found
    assert "iconv" in found
