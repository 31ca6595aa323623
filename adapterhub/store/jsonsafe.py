"""Strict JSON for untrusted input: UTF-8, no duplicate names, no NaN, only ValueError."""

from __future__ import annotations

import json
from typing import NoReturn


def read_json_object(text: str | bytes) -> dict[str, object]:
    """Returns the JSON object in `text`.

    Raises:
        ValueError: It is not a JSON object, has a duplicate name, or holds NaN or infinity.
    """
    content = read_json(text)
    if not isinstance(content, dict):
        raise ValueError("it is not an object")
    return content


def read_json(text: str | bytes) -> object:
    """Returns the JSON value in `text`.

    Raises:
        ValueError: It is no JSON, has a duplicate name, or holds NaN or infinity.
    """
    # Bytes are decoded here, because json would also detect UTF-16 and UTF-32.
    text = text if isinstance(text, str) else text.decode("utf-8")
    if text.startswith("\ufeff"):
        raise ValueError("it begins with a byte order mark (U+FEFF)")
    try:
        content: object = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    return content


def shown(value: object) -> str:
    """Returns `value` for a message: untrusted text may be huge or hold control characters."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the name {shown(name)} occurs twice")
            seen.add(name)
    return content


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"it holds {text}, which is not a number")


# Made once: json.loads would make one for every row of a file.
_DECODER = json.JSONDecoder(object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant)
