"""A card taken apart and put together again, with only those keys rewritten that change.

The lines of every other key stay as they are: comments, order, quotes and dates. A library that
loads and dumps YAML would turn a date into another type and the language `no` into false.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from adapterhub.errors import RegistryError, RemoteContentError
from adapterhub.store.yamlsafe import read_yaml

CARD_NAME = "README.md"
MOST_BYTES = 4 * 2**20

_FRONT = re.compile(r"\A\s*---[ \t]*\n(.*?\n)?---[ \t]*(?:\n|\Z)", re.DOTALL)
_RECORD = "<!-- adapterhub:front-matter (what it wrote above and may change; edited values stay)"
_RECORDS = re.compile(r"\n*<!-- adapterhub:front-matter [^\n]*\n(.*?)\n?-->[ \t]*", re.DOTALL)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# YAML counts these as ends of lines.
_ODD_ENDS = re.compile("[\x85\u2028\u2029\r]")


@dataclass(frozen=True, slots=True)
class Card:
    """The parts of a card.

    Attributes:
        front: The YAML of its front matter.
        values: The content of the front matter.
        body: The text below it, without the record.
        record: What adapterhub noted about the front matter, as text; None without.
        line_end: How its lines end.
    """

    front: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    body: str = ""
    record: str | None = None
    line_end: str = "\n"


@dataclass(frozen=True, slots=True)
class _Block:
    """The lines of one key: from `start` to `end`, and where comments begin that follow it."""

    start: int
    end: int
    column: int | None


def read_card(data: bytes | None, repo: str) -> Card:
    """Returns the parts of a card; a byte order mark is dropped.

    Raises:
        RemoteContentError: It is not UTF-8, too long, or its front matter is not plain YAML.
    """
    if data is None:
        return Card()
    if len(data) > MOST_BYTES:
        raise RemoteContentError(repo, f"its {CARD_NAME} is longer than {MOST_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RemoteContentError(
            repo,
            f"its {CARD_NAME} is not UTF-8 (line {line}), so it cannot be kept. Save it as "
            f"UTF-8, or remove it, and publish again.",
        ) from error
    line_end = "\r\n" if text.count("\r\n") == text.count("\n") > 0 else "\n"
    text = text.replace("\r\n", "\n")
    found = _FRONT.match(text)
    front = (found[1] or "") if found else ""
    body = text[found.end() :] if found else text
    record = _RECORDS.search(body)
    return Card(
        front=front,
        values=_values(front, repo),
        body=_RECORDS.sub("", body),
        record=record[1] if record else None,
        line_end=line_end,
    )


def card_bytes(card: Card) -> bytes:
    """Returns a card with its parts put together."""
    text = f"---\n{card.front}---\n\n{card.body.strip(chr(10))}\n"
    if card.record is not None:
        text += f"\n{_RECORD}\n{card.record}\n-->\n"
    return text.replace("\n", card.line_end).encode()


def with_values(card: Card, changes: Mapping[str, Any], order: Sequence[str]) -> Card:
    """Returns a card with keys of its front matter set; None removes a key.

    Args:
        card: The card.
        changes: Value by key.
        order: Keys in the order in which new ones are inserted among those that are there.
    """
    changes = {key: one for key, one in changes.items() if one != card.values.get(key)}
    values = {**card.values, **changes}
    values = {
        key: value for key, value in values.items() if key not in changes or value is not None
    }
    lines = _edited(card.front, card.values, changes, order)
    text = None if lines is None else "".join(f"{line}\n" for line in lines)
    if text is None or not _says(text, values):
        text = _dump(values)
    return replace(card, front=text, values=values)


def _values(front: str, repo: str) -> dict[str, Any]:
    try:
        value = read_yaml(front.encode(), Path(CARD_NAME)).value
    except RegistryError as error:
        raise RemoteContentError(
            repo,
            f"the front matter of its {CARD_NAME} cannot be kept: {error.problem}. Correct it, and "
            f"publish again.",
        ) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RemoteContentError(
            repo,
            f"the front matter of its {CARD_NAME} is not a mapping of keys to values. Correct it, "
            f"and publish again.",
        )
    return _named(value)


def _named(value: Any) -> dict[str, Any]:
    return {str(key): one for key, one in value.items()}


def _says(front: str, values: Mapping[str, Any]) -> bool:
    """Returns whether edited front matter has the content that it should have."""
    try:
        return _named(read_yaml(front.encode(), Path(CARD_NAME)).value or {}) == values
    except RegistryError:
        return False


def _edited(
    front: str, before: Mapping[str, Any], changes: Mapping[str, Any], order: Sequence[str]
) -> list[str] | None:
    """Returns the lines of edited front matter; None if it does not have a line for each key."""
    if _ODD_ENDS.search(front):
        return None
    lines = front.split("\n")[:-1]
    blocks = _blocks(front, lines)
    if blocks is None or set(blocks) != set(before):
        return None
    new: dict[int, list[str]] = {}
    for key in sorted(changes, key=lambda key: order.index(key) if key in order else len(order)):
        if key not in blocks and changes[key] is not None:
            place = _place(key, blocks, order)
            new.setdefault(place, []).extend(_dump({key: changes[key]}).splitlines())
    for key, block in sorted(blocks.items(), key=lambda item: -item[1].start):
        lines[block.end : block.end] = new.get(block.end, [])
        if key in changes:
            lines[block.start : block.end] = _replaced(key, block, lines, before[key], changes[key])
    top = min((block.start for block in blocks.values()), default=len(lines))
    lines[top:top] = new.get(-1, [])
    return lines


def _blocks(front: str, lines: Sequence[str]) -> dict[str, _Block] | None:
    """Returns the lines of each key, or None if the mapping is written in braces."""
    starts: list[tuple[str, int]] = []
    columns: dict[str, int | None] = {}
    depth, is_key = 0, True
    for event in yaml.parse(front, Loader=_LOADER):
        mark = event.start_mark
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif depth == 0 and isinstance(event, yaml.MappingStartEvent) and event.flow_style:
            return None
        elif depth == 1 and isinstance(event, yaml.NodeEvent) and mark is not None:
            if is_key and isinstance(event, yaml.ScalarEvent):
                starts.append((event.value, mark.line))
            elif isinstance(event, yaml.SequenceStartEvent) and not event.flow_style:
                columns[starts[-1][0]] = mark.column
            is_key = not is_key
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
    ends = [line for _, line in starts[1:]] + [len(lines)]
    return {
        key: _Block(start, _end(lines, start, ends[number]), columns.get(key))
        for number, (key, start) in enumerate(starts)
    }


def _end(lines: Sequence[str], start: int, end: int) -> int:
    # Comments and blank lines between two keys belong to neither.
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return end


def _place(key: str, blocks: Mapping[str, _Block], order: Sequence[str]) -> int:
    """Returns the line where a new key is inserted; -1 is above all others."""
    if key not in order:
        return max((block.end for block in blocks.values()), default=-1)
    earlier = [blocks[name].end for name in order[: order.index(key)] if name in blocks]
    return earlier[-1] if earlier else -1


def _replaced(
    key: str, block: _Block, lines: Sequence[str], before: Any, after: Any
) -> Sequence[str]:
    """Returns the new lines of a key; a list that only grows keeps those of its entries."""
    if after is None:
        return []
    grows = isinstance(before, list) and isinstance(after, list)
    if grows and block.column is not None and after[: len(before)] == before:
        added = _dump(after[len(before) :]).splitlines()
        return [*lines[block.start : block.end], *(" " * block.column + line for line in added)]
    return _dump({key: after}).splitlines()


def _dump(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100) if value else ""
