"""JSON documents: SQuAD's nested form, and lists of records."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from adapterhub.errors import DataError
from adapterhub.rows.json_documents import is_json_document, read_json_document

QUESTIONS = [
    {"id": "1", "question": "Who?", "answers": [{"text": "He", "answer_start": 0}]},
    {"id": "2", "question": "When?", "answers": [], "is_impossible": True},
]
PARAGRAPH = {"context": "He lives.", "qas": QUESTIONS}
ROWS = [{"context": "He lives.", **one} for one in QUESTIONS]
TITLED = [{"title": "T", **row} for row in ROWS]
CMRC = {
    "context_id": "C",
    "context_text": "He lives.",
    "qas": [{"query_id": "1", "query_text": "Who?", "answers": ["He"]}],
    "title": "T",
}

READ: dict[str, tuple[object, list[dict[str, object]]]] = {
    "articles": ({"version": "1.1", "data": [{"title": "T", "paragraphs": [PARAGRAPH]}]}, TITLED),
    "two paragraphs": ({"data": [{"paragraphs": [PARAGRAPH] * 2}]}, ROWS * 2),
    "paragraphs": ([PARAGRAPH], ROWS),
    "records": ([{"text": "a", "label": "b"}], [{"text": "a", "label": "b"}]),
    "records within an object": ({"version": 1, "data": ROWS}, ROWS),
    "CMRC": (
        [CMRC],
        [{"title": "T", "context": "He lives.", "id": "1", "question": "Who?", "answers": ["He"]}],
    ),
    "nothing": ([], []),
}


def rows_of(path: Path, content: object) -> list[dict[str, object]]:
    path.write_text(json.dumps(content), encoding="utf-8")
    rows = list(read_json_document(path))
    assert [row.place for row in rows] == list(range(1, len(rows) + 1))
    return [dict(row.values) for row in rows]


@pytest.mark.parametrize("form", READ)
def test_forms(form: str, tmp_path: Path) -> None:
    content, expected = READ[form]
    assert rows_of(tmp_path / "a.json", content) == expected


def test_a_packed_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(json.dumps([PARAGRAPH]).encode()))
    assert is_json_document(path)
    assert [row.values for row in read_json_document(path)] == ROWS
    assert not is_json_document(tmp_path / "a.jsonl")


REFUSED = {
    '{"data": [1]}': "item 1 is no object; expected a list of records",
    '{"text": ["a"]}': "it is JSON of another form; expected a list of records",
    '"a"': "it is JSON of another form",
    '[{"paragraphs": {}}]': "'paragraphs' of item 1 is no list",
    '[{"paragraphs": [{"context": "a", "qas": 1}]}]': "'qas' of item 1, paragraph 1 is no list",
    '[{"paragraphs": [{"qas": []}]}]': "item 1, paragraph 1 has questions, but no 'context'",
    '[{"context": "a", "qas": [1]}]': "item 1, question 1 is no object",
    '{"a": 1}\n{"a": 2}': "line 2: it is no JSON: Extra data; JSON Lines end in .jsonl",
    '[{"a": 1, "a": 2}]': "it is no JSON: the name 'a' occurs twice",
    '[{"a": NaN}]': "it is no JSON: it holds NaN",
    "[": "line 1: it is no JSON",
}


@pytest.mark.parametrize("content", REFUSED)
def test_other_content_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=REFUSED[content]):
        list(read_json_document(path))


def test_a_row_with_half_a_character_has_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"text": "\\ud83d"}, {"text": "a"}]', encoding="utf-8")
    first, second = read_json_document(path)
    assert "lone surrogate" in (first.problem or "")
    assert second.values == {"text": "a"}
