"""JSON files that are one document: a list of records, or SQuAD's articles with paragraphs.

SQuAD nests questions in paragraphs in articles:

    {"data": [{"title": …, "paragraphs": [{"context": …, "qas": [{"id", "question", "answers"}]}]}]}

Each question becomes a row with its context. What is nested less is read too: paragraphs or records
in the place of articles, and a list in the place of the outermost object.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from adapterhub.errors import DataError
from adapterhub.rows.formats import FileFormat, open_reading, packing_of
from adapterhub.rows.reading import damage_named
from adapterhub.rows.source_row import SourceRow, encoding_problem, line_problem
from adapterhub.store.jsonsafe import read_json

_ENDING = ".json"
# As the file of CMRC 2018 in its own form names them.
_OTHER_NAMES = {"context_text": "context", "query_text": "question", "query_id": "id"}
_EXPECTED = (
    'expected a list of records, such as [{"text": …, "label": …}], or SQuAD\'s form: {"data": '
    '[{"paragraphs": [{"context": …, "qas": [{"question": …, "answers": …}]}]}]}'
)


def is_json_document(path: Path) -> bool:
    """Returns whether the name of a file ends in .json, also with .gz or .zst behind."""
    name = Path(path.stem) if packing_of(path) else path
    return name.suffix.lower() == _ENDING


def read_json_document(path: Path) -> Iterator[SourceRow]:
    """Yields the rows of a file; their places are their numbers.

    Raises:
        DataError: The file cannot be read, is damaged, or is in neither form.
    """
    packed = packing_of(path)
    with damage_named(path, FileFormat("text", packed)), open_reading(path, packed=packed) as file:
        text = file.read()
    problem = line_problem(text)
    if problem is not None:
        raise DataError(path, problem)
    try:
        content = read_json(text)
    except json.JSONDecodeError as error:
        more = "; JSON Lines end in .jsonl" if error.msg == "Extra data" else ""
        raise DataError(path, f"it is no JSON: {error.msg}{more}", error.lineno) from error
    except ValueError as error:
        raise DataError(path, f"it is no JSON: {error}") from error
    items = content.get("data") if isinstance(content, Mapping) else content
    if not isinstance(items, list):
        raise DataError(path, f"it is JSON of another form; {_EXPECTED}")
    records = (
        one for number, item in enumerate(items, start=1) for one in _records(path, item, number)
    )
    has_escapes = "\\ud" in text or "\\uD" in text
    for place, values in enumerate(records, start=1):
        problem = encoding_problem(json.dumps(values, ensure_ascii=False)) if has_escapes else None
        yield SourceRow(place, {} if problem else values, problem)


def _records(path: Path, item: object, number: int) -> Iterator[dict[str, object]]:
    """Yields the records of an article, a paragraph, or a record."""
    article = _mapping(path, item, f"item {number}")
    shared = {"title": article["title"]} if "title" in article else {}
    if "paragraphs" not in article:
        yield from _questions(path, article, shared if "qas" in article else {}, f"item {number}")
        return
    for index, paragraph in enumerate(_list(path, article, "paragraphs", f"item {number}"), 1):
        place = f"item {number}, paragraph {index}"
        yield from _questions(path, _mapping(path, paragraph, place), shared, place)


def _questions(
    path: Path, paragraph: Mapping[str, object], shared: dict[str, object], place: str
) -> Iterator[dict[str, object]]:
    """Yields the questions of a paragraph with its context, or a record that has none."""
    own = {_OTHER_NAMES.get(name, name): value for name, value in paragraph.items()}
    if "qas" not in paragraph:
        yield {**shared, **own}
        return
    if "context" not in own:
        raise DataError(path, f"{place} has questions, but no 'context'")
    for index, question in enumerate(_list(path, paragraph, "qas", place), start=1):
        found = _mapping(path, question, f"{place}, question {index}")
        named = {_OTHER_NAMES.get(name, name): value for name, value in found.items()}
        yield {**shared, "context": own["context"], **named}


def _mapping(path: Path, item: object, place: str) -> Mapping[str, object]:
    if not isinstance(item, Mapping):
        raise DataError(path, f"{place} is no object; {_EXPECTED}")
    return item


def _list(path: Path, item: Mapping[str, object], name: str, place: str) -> list[object]:
    found = item[name]
    if not isinstance(found, list):
        raise DataError(path, f"'{name}' of {place} is no list; {_EXPECTED}")
    return found
