"""Treebanks in CoNLL-U, sentence by sentence: https://universaldependencies.org/format.html.

A sentence is a row with the columns `tokens`, `lemma`, `upos`, `xpos`, `head` and `deprel`, and
with `text` and `offsets` (start and end of each token) where the file has the text: in its line
`# text =`, or by `SpaceAfter=No`. A multiword token such as 1-2 du, of de and le, gives the text,
its words give the tree; empty nodes such as 1.1 belong to enhanced dependencies and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapterhub.rows.formats import FileFormat, open_reading, packing_of
from adapterhub.rows.reading import damage_named
from adapterhub.rows.source_row import SourceRow, line_problem

_ENDING = ".conllu"
_COLUMNS = 10
_TEXT = re.compile(r"#\s*text\s*=\s*(.*?)\s*")
_WORD, _RANGE, _EMPTY = re.compile(r"[0-9]+"), re.compile(r"([0-9]+)-([0-9]+)"), "."
_NO_SPACE = "SpaceAfter=No"
_READ = {"tokens": 1, "lemma": 2, "upos": 3, "xpos": 4, "head": 6, "deprel": 7}
"""Columns of a row by their place in a line."""


@dataclass(slots=True)
class _Sentence:
    """The lines of one sentence.

    Attributes:
        line: Its first line.
        text: As its comment has it; None without one.
        words: The fields of each word.
        ranges: First word, last word, form and last field of each multiword token.
        problem: What is wrong with it.
    """

    line: int
    text: str | None = None
    words: list[list[str]] = field(default_factory=list)
    ranges: list[tuple[int, int, str, str]] = field(default_factory=list)
    problem: str | None = None


def is_treebank(path: Path) -> bool:
    """Returns whether the name of a file ends in .conllu, also with .gz or .zst behind."""
    name = Path(path.stem) if packing_of(path) else path
    return name.suffix.lower() == _ENDING


def read_treebank(path: Path) -> Iterator[SourceRow]:
    """Yields the sentences of a file; see `conllu_rows`.

    Raises:
        DataError: The file cannot be read or is damaged.
    """
    packed = packing_of(path)
    with damage_named(path, FileFormat("text", packed)), open_reading(path, packed=packed) as file:
        yield from conllu_rows(file)


def conllu_rows(lines: Iterable[str]) -> Iterator[SourceRow]:
    """Yields one row per sentence; what cannot be read has a problem that names the line."""
    sentence: _Sentence | None = None
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r\n")
        if not line.strip():
            if sentence is not None and (sentence.words or sentence.problem):
                yield _row(sentence)
            sentence = None
            continue
        sentence = sentence or _Sentence(number)
        problem = line_problem(line) or _read_line(line, sentence)
        if problem is not None and sentence.problem is None:
            sentence.problem = problem if number == sentence.line else f"line {number}: {problem}"
    if sentence is not None and (sentence.words or sentence.problem):
        yield _row(sentence)


def _read_line(line: str, sentence: _Sentence) -> str | None:
    """Reads a line of a sentence; returns what is wrong with it, if anything is."""
    if line.startswith("#"):
        text = _TEXT.fullmatch(line)
        if text is not None and text[1]:
            sentence.text = text[1]
        return None
    fields = line.split("\t")
    if len(fields) != _COLUMNS:
        return f"it has {len(fields)} fields with tabs between, CoNLL-U has {_COLUMNS}"
    place, span = fields[0], _RANGE.fullmatch(fields[0])
    if span is not None:
        sentence.ranges.append((int(span[1]), int(span[2]), fields[1], fields[9]))
        if not len(sentence.words) < int(span[1]) <= int(span[2]):
            return f"the token {place:.20} stands behind word {len(sentence.words)}"
    elif _WORD.fullmatch(place):
        sentence.words.append(fields)
        if int(place) != len(sentence.words):
            return f"the word {place} is the {len(sentence.words)}. of its sentence"
    elif _EMPTY not in place:
        return f"'{place:.20}' is no number of a word, such as 1, 1-2 or 1.1"
    return None


def _row(sentence: _Sentence) -> SourceRow:
    missing = [last for _, last, _, _ in sentence.ranges if last > len(sentence.words)]
    if missing and sentence.problem is None:
        sentence.problem = f"a token goes to word {missing[0]} of {len(sentence.words)} words"
    if sentence.problem is not None:
        return SourceRow(sentence.line, {}, sentence.problem)
    values: dict[str, object] = {
        name: [word[place] for word in sentence.words] for name, place in _READ.items()
    }
    placed = _place(sentence)
    if placed is not None:
        values["text"], values["offsets"] = placed
    return SourceRow(sentence.line, values)


def _place(sentence: _Sentence) -> tuple[str, list[list[int]]] | None:
    """Returns the text of a sentence and the offsets of its words; None where it is not known."""
    tokens = list(_tokens(sentence))
    text = sentence.text
    if text is None:
        if not any(_NO_SPACE in other for _, _, other in tokens):
            return None
        text = "".join(form + " " * (_NO_SPACE not in other) for form, _, other in tokens).strip()
    offsets: list[list[int]] = []
    end = 0
    for form, words, _ in tokens:
        start = text.find(form, end)
        if start < 0 or text[end:start].strip():
            return None  # The comment has another text; the words are joined.
        end = start + len(form)
        offsets += _offsets_within(form, words, start)
    return None if text[end:].strip() else (text, offsets)


def _tokens(sentence: _Sentence) -> Iterator[tuple[str, Sequence[str], str]]:
    """Yields form, words and last field of each token of the text."""
    starts = {first: (last, form, other) for first, last, form, other in sentence.ranges}
    place = 1
    while place <= len(sentence.words):
        word = sentence.words[place - 1]
        last, form, other = starts.get(place, (place, word[1], word[9]))
        yield form, [one[1] for one in sentence.words[place - 1 : last]], other
        place = max(place, last) + 1


def _offsets_within(form: str, words: Sequence[str], start: int) -> list[list[int]]:
    """Returns the offsets of the words of a token; all of it where they are written otherwise."""
    if "".join(words) != form:
        return [[start, start + len(form)] for _ in words]
    offsets = []
    for word in words:
        offsets.append([start, start + len(word)])
        start += len(word)
    return offsets
