"""The format of a file, by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterhub.errors import DataError, UsageError
from adapterhub.rows.formats import FileFormat, find_format, open_reading


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jsonl", FileFormat("jsonl")),
        ("a.NDJSON", FileFormat("jsonl")),
        ("a.b.csv", FileFormat("csv")),
        ("a.tsv.gz", FileFormat("tsv", packed="gz")),
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
        find_format(Path("a.txt"), answers=True)


def test_opening_says_why_not(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        open_reading(tmp_path / "missing", packed=None)
