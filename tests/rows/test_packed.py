"""Files compressed with gzip and zstd: whole, in several pieces, cut off and damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapterhub.errors import DataError
from adapterhub.rows import counting
from adapterhub.rows.counting import count_rows, most_rows
from adapterhub.rows.formats import Packing, find_format, open_writing
from adapterhub.rows.reading import read_file
from adapterhub.scoring.sources.open_source import open_source

ENDINGS: tuple[Packing, ...] = ("gz", "zst")
NAMES = {"gz": "gzip", "zst": "zstd"}


def write(path: Path, rows: int = 1_000) -> bytes:
    with open_writing(path, packed=find_format(path).packed) as file:
        file.writelines(f"{i} 中国\n" for i in range(rows))
    return path.read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
def test_pieces_that_stand_one_behind_another_are_one_text(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.txt.{ending}"
    piece = write(path)
    assert piece == write(path), "the same rows are the same bytes"
    path.write_bytes(piece * 3)
    rows = list(read_file(path, find_format(path)))
    assert [row.place for row in rows] == list(range(1, 3_001))
    assert rows[-1].values == {"text": "999 中国"}
    assert count_rows(path, find_format(path)) == most_rows(path, find_format(path)) == 3_000
    path.write_bytes(b"")
    assert list(open_source(path).rows) == []


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("damage", ["cut", "garbage", "flipped", "plain"])
def test_damage_is_named_with_its_file(ending: Packing, damage: str, tmp_path: Path) -> None:
    if (ending, damage) == ("zst", "flipped"):
        pytest.skip("pyarrow writes zstd without a checksum")
    path = tmp_path / f"a.txt.{ending}"
    whole = write(path)
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(255 - one for one in whole[middle : middle + 40])
    content = {
        "cut": whole[:-9],
        "garbage": whole + b"garbage",
        "flipped": flipped + whole[middle + 40 :],
        "plain": b"plain text\n",
    }
    path.write_bytes(content[damage])
    problem = f"^{path}: it is a damaged {NAMES[ending]} file"
    with pytest.raises(DataError, match=problem):
        list(read_file(path, find_format(path)))
    with pytest.raises(DataError, match=problem):
        most_rows(path, find_format(path))


def test_long_files_are_counted_by_their_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "_BLOCK", 2**14)
    monkeypatch.setattr(counting, "_SAMPLE", 2**19)
    for name in ("a.txt", "a.txt.gz", "a.txt.zst"):
        path = tmp_path / name
        with open_writing(path, packed=find_format(path).packed) as file:
            file.writelines(f"{os.urandom(30).hex()}\n" for _ in range(30_000))
        assert count_rows(path, find_format(path)) == pytest.approx(30_000, rel=0.3)
