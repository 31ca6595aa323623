"""A strict parser of the small YAML subset that the registry uses.

Values are built from parser events, without PyYAML's composer and constructors: libyaml's
composer overflows the stack on deep nesting, and the constructors convert `no`, `012` and dates
to other types. Anchors, aliases, tags, duplicate keys and second documents are errors. A plain
scalar is `null`, `true`, `false`, a decimal integer, a decimal number with a point, or otherwise
text; a key is an integer or text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeAlias

import yaml

from adapterhub.errors import RegistryError

MAX_BYTES = 8 * 2**20
MAX_DEPTH = 20
MAX_NODES = 1_000_000

Key: TypeAlias = str | int
Place: TypeAlias = tuple[Key, ...]
Scalar: TypeAlias = str | int | float | bool | None
Value: TypeAlias = "Scalar | dict[Key, Value] | list[Value]"

# The C parser is about ten times faster; wheels of PyYAML include it, source builds may not.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_QUOTED = re.compile(rb"'[^']*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{0,30}([eE][-+][0-9]{1,3})?")
_WORDS: Mapping[str, bool | None] = {
    "null": None,
    "~": None,
    "": None,
    "true": True,
    "false": False,
}


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML document with the line numbers of its keys.

    Attributes:
        value: Its content.
        lines: Line number, from 1, of every mapping key by its path from the root.
    """

    value: Value
    lines: Mapping[Place, int]

    def line(self, place: Place) -> int | None:
        """Returns the line of the key path `place`, or of its nearest enclosing key."""
        for end in range(len(place), 0, -1):
            if place[:end] in self.lines:
                return self.lines[place[:end]]
        return None


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end event has not been read."""

    value: dict[Key, Value] | list[Value]
    place: Place
    key: Key | None = None


@dataclass(slots=True)
class _Builder:
    source: Path
    root: Value = None
    documents: int = 0
    nodes: int = 0
    lines: dict[Place, int] = field(default_factory=dict)
    open: list[_Open] = field(default_factory=list)

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._check_node(event)
            self._take_scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._check_node(event)
            self._take_start(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.open.pop()
        elif isinstance(event, yaml.AliasEvent):
            self._refuse(event, "aliases (`*name`) are not allowed; write the value out")
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._refuse(event, "a second document starts here; one is allowed")

    def _take_scalar(self, event: yaml.ScalarEvent) -> None:
        text = str(event.value)
        plain = event.style is None or event.style == ""
        if self.open and isinstance(self.open[-1].value, dict) and self.open[-1].key is None:
            self._take_key(event, int(text) if plain and _INTEGER.fullmatch(text) else text)
        else:
            self._put(_plain_value(text) if plain else text)

    def _take_key(self, event: yaml.Event, key: Key) -> None:
        top = self.open[-1]
        if key in top.value:
            self._refuse(event, f"the key {key!r} occurs twice in one mapping; remove one")
        top.key = key
        place = (*top.place, key)
        self.lines[place] = _line(event)

    def _take_start(self, event: yaml.Event) -> None:
        if len(self.open) >= MAX_DEPTH:
            self._refuse(event, f"it is nested deeper than {MAX_DEPTH} levels")
        value: dict[Key, Value] | list[Value] = (
            {} if isinstance(event, yaml.MappingStartEvent) else []
        )
        place: Place = ()
        if self.open:
            top = self.open[-1]
            if isinstance(top.value, dict) and top.key is None:
                self._refuse(event, "a list or mapping cannot be a key")
            step = top.key if top.key is not None else len(top.value)
            place = (*top.place, step)
        self._put(value)
        self.open.append(_Open(value, place))

    def _put(self, value: Value) -> None:
        if not self.open:
            self.root = value
            return
        top = self.open[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is not None:
            top.value[top.key] = value
            top.key = None

    def _check_node(
        self, event: yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent
    ) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self._refuse(event, f"it has more than {MAX_NODES} values")
        if event.anchor is not None:
            self._refuse(event, f"anchors (`&{event.anchor}`) are not allowed")
        if event.tag is not None:
            self._refuse(event, f"tags (`{event.tag}`) are not allowed; quote text instead")

    def _refuse(self, event: yaml.Event, problem: str) -> NoReturn:
        raise RegistryError(self.source, problem, _line(event))


def read_yaml(data: bytes, source: Path) -> Document:
    """Returns the only YAML document in `data`; a byte order mark and CRLF are accepted.

    Raises:
        RegistryError: It is too big, too deep, not UTF-8, not YAML, or outside the subset.
    """
    if len(data) > MAX_BYTES:
        raise RegistryError(source, f"it is {len(data)} bytes long; at most {MAX_BYTES} are read")
    if _has_too_many_values(data):
        raise RegistryError(source, f"it has more than {MAX_NODES} values")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RegistryError(source, "it is not UTF-8 text; save it as UTF-8", line) from error
    builder = _Builder(source)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, source) from error
    return Document(builder.root, builder.lines)


def count_value_ends(data: bytes) -> int:
    """Returns how many bytes could end a value of YAML; there are at most so many values."""
    return len(data) - len(data.translate(None, b":,]}\n"))


def _has_too_many_values(data: bytes) -> bool:
    """Returns whether text has far too many values, without the seconds that parsing takes.

    What the limit of size allows has such a byte outside quotes once in 8 bytes then; entries of
    tasks have one in 14, and texts one in 50.
    """
    if count_value_ends(data) <= MAX_NODES:
        return False
    return count_value_ends(_QUOTED.sub(b"", data)) > MAX_NODES


def _plain_value(text: str) -> Scalar:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text


def _syntax_error(error: yaml.YAMLError, text: str, source: Path) -> RegistryError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    line = None if mark is None else mark.line + 1
    lines = text.splitlines()
    if line is not None and line <= len(lines) and lines[line - 1].lstrip(" ").startswith("\t"):
        problem = "a tab indents this line; indent with spaces"
    return RegistryError(source, f"it is not valid YAML: {problem}", line)


def _line(event: yaml.Event) -> int:
    return 1 if event.start_mark is None else int(event.start_mark.line) + 1
