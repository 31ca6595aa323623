"""Lists in a cell of CSV or TSV, as JSON, Python, pandas and NumPy write them."""

from __future__ import annotations

import ast
import contextlib
import json
import re

# Sets, arrays, and the scalars that NumPy 2 names in a list.
_WRAPPED = re.compile(r"(?:frozenset|set|tuple|list|(?:np\.|numpy\.)?array)\((.*)\)", re.DOTALL)
_TYPE_OF_ARRAY = re.compile(r",\s*dtype=[^\[\](),]+$")
_CLOSED_BY = {"[": "]", "(": ")", "{": "}"}
_ITEM = re.compile(
    r"""\s*(?P<wrapped>(?:np|numpy)\.\w+\()?
    (?P<item>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[-+]?\.?[0-9][-+0-9.e_]*|True|False|None)
    (?(wrapped)\))(?P<between>\s*,\s*|\s+|$)""",
    re.VERBOSE | re.DOTALL,
)
# `tensor([1, 0])`, `Index(['a'])`, and a list without its end or its begin.
_UNREAD = re.compile(
    r"""[A-Za-z_][\w.]*\(\s*\[\s*["'\d\]-].*|\[\s*["'].*|["'].*["']\s*\]""", re.DOTALL
)
_WORDS = {"True": True, "False": False, "None": None}


def cell_value(text: str) -> tuple[object, ...] | dict[str, object] | None:
    """Returns the list or mapping that a cell holds, or None where it holds something else.

    Read are JSON (`["a", "b"]`), lists, tuples and sets of Python as pandas writes them
    (`['a', 'b']`, `{'a', 'b'}`), arrays of NumPy (`['a' 'b']`), and mappings (`{"a": 1}`).
    """
    text = text.strip()
    wrapped = _WRAPPED.fullmatch(text)
    if wrapped is not None:
        text = _TYPE_OF_ARRAY.sub("", wrapped[1].strip()).strip() or "[]"
    if len(text) < 2 or _CLOSED_BY.get(text[0]) != text[-1]:
        return None
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(text)
        return tuple(found) if isinstance(found, list) else dict(found)
    items = _python_list(text[1:-1], is_tuple=text[0] == "(")
    return _python_mapping(text) if items is None and text[0] == "{" else items


def looks_like_list(text: str) -> bool:
    """Returns whether a text may be meant as a list, for instance in square brackets."""
    text = text.strip()
    return (text.startswith("[") and text.endswith("]")) or is_unread_list(text)


def is_unread_list(text: str) -> bool:
    """Returns whether a text is surely a list, but cut off or in a form that is not read."""
    return _UNREAD.fullmatch(text.strip()) is not None and cell_value(text) is None


def _python_list(inner: str, *, is_tuple: bool) -> tuple[object, ...] | None:
    """Returns the items between the brackets of a list, or None where they are none."""
    inner = inner.strip()
    if is_tuple and inner and "," not in inner:
        return None  # a text in parentheses
    items: list[object] = []
    commas: set[bool] = set()
    place = 0
    while place < len(inner):
        found = _ITEM.match(inner, place)
        if found is None:
            return None
        place = found.end()
        if place < len(inner):
            commas.add("," in found["between"])
        try:
            word = found["item"]
            items.append(_WORDS[word] if word in _WORDS else ast.literal_eval(word))
        except (ValueError, SyntaxError):
            return None
    # Commas in some places and none in others is no list that a program writes.
    return tuple(items) if len(commas) < 2 else None


def _python_mapping(text: str) -> dict[str, object] | None:
    with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        found = ast.literal_eval(text)
        if isinstance(found, dict) and all(isinstance(name, str) for name in found):
            return found
    return None
