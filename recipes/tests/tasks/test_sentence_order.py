"""Rows of sentence order: neighbours of one paragraph, and no document in two parts."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from adapterhub.errors import DataError
from recipes.tasks.shipped_recipes import read_recipes

RECIPE = """
defaults: {license: apache-2.0}
tasks:
  order:
    data: ../corpus
    sentence_order:
      parts: {train: a.txt.xz, validation: b.txt.xz, test: c.txt.xz}
      rows: {train: 30, validation: 4, test: 4}
      each: 2
    target: label
"""


def sentences_of(document: str) -> list[str]:
    return [f"{word} is a sentence of {document}." for word in ("One", "Two", "Three", "Four")]


def rows_in(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def document_of(row: dict[str, Any]) -> str:
    return str(row["text"].split()[-1])


@pytest.mark.slow
def test_parts_come_from_their_own_shards(tmp_path: Path) -> None:
    for folder in ("corpus", "data", "rows", "again"):
        (tmp_path / folder).mkdir()
    file = tmp_path / "recipes.yaml"
    file.write_text(RECIPE)
    with pytest.raises(DataError, match=r"a\.txt\.xz: it is missing"):
        read_recipes(file, tmp_path / "data", tmp_path / "rows")
    for shard in "abc":
        texts = (" ".join(sentences_of(f"{shard}{number}")) for number in range(20))
        content = lzma.compress("\n\n".join(texts).encode())
        (tmp_path / "corpus" / f"{shard}.txt.xz").write_bytes(content)
    path, options = read_recipes(file, tmp_path / "data", tmp_path / "again")["order"]
    rows = rows_in(path)
    assert len(rows) == 30
    for row in rows:
        order = sentences_of(document_of(row).rstrip("."))
        gap = order.index(row["text_pair"]) - order.index(row["text"])
        assert gap == {"in order": 1, "swapped": -1}[row["label"]]
    # Both pairs of each document.
    assert {document_of(row) for row in rows} == {f"a{number}." for number in range(15)}
    assert {row["label"] for row in rows} == {"in order", "swapped"}
    for part, shard in ((options.validation, "b"), (options.test, "c")):
        assert isinstance(part, Path)
        assert [document_of(row)[0] for row in rows_in(part)] == [shard] * 4
