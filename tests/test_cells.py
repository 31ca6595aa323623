"""Lists in cells, as JSON, Python and NumPy write them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapterhub.cells import cell_value, looks_like_list

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=4)


@pytest.mark.parametrize(
    ("cell", "items"),
    [
        ('["a", "b"]', ("a", "b")),
        ("['a', 'b']", ("a", "b")),
        ("['a' 'b']", ("a", "b")),
        ("['a'\n \"b's\"]", ("a", "b's")),
        ("('a', 'b')", ("a", "b")),
        ("('a',)", ("a",)),
        ("{'a'}", ("a",)),
        ("frozenset({'a', 'b'})", ("a", "b")),
        ("array(['a', 'b'], dtype=object)", ("a", "b")),
        ("[np.str_('a'), np.str_('b, c')]", ("a", "b, c")),
        ("[np.int64(1), np.float64(0.5)]", (1, 0.5)),
        ("[1 0 1]", (1, 0, 1)),
        ("[1. 0.]", (1.0, 0.0)),
        ("[True, None]", (True, None)),
        (" [] ", ()),
        ("set()", ()),
        ('[{"label": "a", "score": 0.5}]', ({"label": "a", "score": 0.5},)),
    ],
)
def test_lists_are_read(cell: str, items: tuple[Any, ...]) -> None:
    assert cell_value(cell) == items


OTHERS = """a
a|b
[Music]
[a, b]
['a' ... 'z']
['a', 'b' 'c']
('a')
(see: b)
['a'
['a''b']
[x for x in y]
[__import__('os')]
{}a
{1: 2}"""


@pytest.mark.parametrize("cell", ["", "[" * 9_999, *OTHERS.splitlines()])
def test_other_cells_are_no_lists(cell: str) -> None:
    assert cell_value(cell) is None


def test_mappings_are_read() -> None:
    assert cell_value('{"a": 1}') == cell_value("{'a': 1}") == {"a": 1}
    assert cell_value("{}") == {}
    assert [looks_like_list(text) for text in (" [a] ", "a]", "(a)")] == [True, False, False]


@given(TEXTS)
def test_what_programs_write_comes_back(texts: list[str]) -> None:
    arrays = [np.array(texts, dtype=object)] if texts else []
    for written in (json.dumps(texts, ensure_ascii=False), *map(repr, (texts, tuple(texts)))):
        assert cell_value(written) == tuple(texts)
    for array in arrays:
        assert cell_value(str(array)) == tuple(texts)
