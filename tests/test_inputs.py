"""What users give: good rows pass as they are, each bad row is named with what is wrong."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterhub.errors import InputError
from adapterhub.inputs import is_invisible, read_fields, read_records, text_problem

PAIR = ("text", "text_pair")


@pytest.mark.parametrize(
    "one",
    ["a good day", {"text": "a good day"}, MappingProxyType({"text": "a good day"}), ""],
)
def test_one_text_or_record_is_one_row(one: object) -> None:
    assert read_records(one) == (one,)  # type: ignore[arg-type]


def lines() -> Iterator[str]:
    yield from ("one", "two")


@pytest.mark.parametrize(
    "many",
    [
        ["one", "two"],
        ("one", "two"),
        lines(),
        {"one": 1, "two": 2}.keys(),
        np.array(["one", "two"]),
        pd.Series(["one", "two"], index=[7, 3]),
    ],
)
def test_anything_that_gives_rows_is_read_in_order(many: object) -> None:
    rows = read_records(many)  # type: ignore[arg-type]
    assert read_fields(rows, ("text",)).inputs == (("one",), ("two",))


@pytest.mark.parametrize("none", [[], (), iter(()), pd.Series([], dtype=str)])
def test_no_rows_are_none(none: object) -> None:
    assert read_records(none) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [None, 3, 0.5, True, b"text", bytearray(b"text"), pd.DataFrame({"text": ["a"]}), object()],
)
def test_what_has_no_rows_of_text_is_refused(other: object) -> None:
    with pytest.raises(
        InputError, match=rf"^Texts are of type {type(other).__name__}; expected a list"
    ):
        read_records(other)  # type: ignore[arg-type]


class Word(str, enum.Enum):
    GOOD = "good"


class Loud(str):
    __slots__ = ()

    def __str__(self) -> str:
        return self.upper()


@pytest.mark.parametrize("value", [Word.GOOD, Loud("good"), np.str_("good")])
def test_a_subclass_of_str_is_read_as_what_it_holds(value: str) -> None:
    ((found,),) = read_fields([value], ("text",)).inputs
    assert found == "good"
    assert type(found) is str


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "is None; expected a string."),
        (3, "is of type int (3); expected a string."),
        (float("nan"), "is of type float (nan); expected a string."),
        (True, "is of type bool (True); expected a string."),
        (["a", "b"], "is of type list (['a', 'b']); expected a string."),
        (b"text", "is of type bytes (b'text'); expected a string."),
        ("", "is empty."),
        ("   ", "is empty."),
        ("\n\t\u3000\xa0", "is empty."),
        ("\u200b", "is empty: no token is left of U+200B."),
        (" \ufeff\n", "is empty: no token is left of U+FEFF."),
        ("\u00ad\u00ad", "is empty: no token is left of U+00AD."),
        ("\x10\x1b", "is empty: no token is left of U+0010, U+001B."),
        ("\u200d\u2060\u200e\ufe0f", "is empty: no token is left of U+200D, U+200E, U+2060, …."),
        ("\u3164", "is empty: no token is left of U+3164."),
        ("\U000e0041", "is empty: no token is left of U+E0041."),
        ("ab\ud800c", "has a lone surrogate (U+D800) at code point 2; decode"),
        ("\udfff", "has a lone surrogate (U+DFFF) at code point 0; decode"),
    ],
)
def test_what_is_no_text_is_named(value: object, problem: str) -> None:
    found = text_problem(value)
    assert found is not None
    assert found.startswith(problem)


def test_a_value_is_shown_in_part_and_on_one_line() -> None:
    problem = text_problem(np.arange(400).reshape(20, 20))
    assert problem is not None
    assert "\n" not in problem
    assert len(problem) < 100


@pytest.mark.parametrize(
    "text",
    [
        "a",
        " a ",
        "中",
        "naïve",
        "é",
        "👩‍👩‍👧",
        "\U0001f600",
        "\ufeffa",
        "a\x00b",
        "‮abc",
        "�",
        "\u0301",
        "\u0600",
        "🏽",
        "☃",
    ],
)
def test_what_is_odd_but_text_is_read_unchanged(text: str) -> None:
    assert text_problem(text) is None
    assert read_fields([text], ("text",)).inputs == ((text,),)


@settings(deadline=None)
@given(st.text())
def test_a_text_without_a_problem_can_be_encoded(text: str) -> None:
    assert text_problem(text) is None or is_invisible(text)
    assert text.encode("utf-8").decode("utf-8") == text


@settings(deadline=None)
@given(st.text(st.characters(categories=["Cs", "L"]), min_size=1))
def test_every_lone_surrogate_is_found(text: str) -> None:
    has_one = any("\ud800" <= character <= "\udfff" for character in text)
    assert (text_problem(text) is not None) == (has_one or is_invisible(text))


def test_a_record_gives_its_fields_in_the_order_asked_for() -> None:
    rows = [{"text_pair": "b", "id": 7, "text": "a"}]
    assert read_fields(rows, PAIR).inputs == (("a", "b"),)
    assert read_fields(rows, ("text_pair",)).inputs == (("b",),)


@pytest.mark.parametrize(
    ("row", "fields", "problem"),
    [
        ({"txt": "a"}, ("text",), "has no field 'text'; it has txt. Did you mean 'txt'?"),
        ({"body": "a"}, ("text",), "has no field 'text'; it has body."),
        ({}, ("text",), "has no field 'text'; it is empty."),
        ({"a\nb": 1, 3: 2}, ("text",), "has no field 'text'; it has a b, 3."),
        ({"text": "a"}, PAIR, "has no field 'text_pair'; it has text. Did you mean 'text'?"),
        ({"text": "a", "text_pair": None}, PAIR, "field 'text_pair' is None; expected a string."),
        ({"text": " ", "text_pair": "b"}, PAIR, "field 'text' is empty."),
        ({"text": ["a"]}, ("text",), "field 'text' is of type list (['a']); expected a string."),
        (
            "a good day",
            PAIR,
            "is one string, but the task reads 2 fields; give {'text': …, 'text_pair': …}.",
        ),
        (("a", "b"), PAIR, "is of type tuple; expected a record with text, text_pair."),
        (None, PAIR, "is of type NoneType; expected a record with text, text_pair."),
        (None, ("text",), "the text is None; expected a string."),
        (7, ("text",), "the text is of type int (7); expected a string."),
    ],
)
def test_a_bad_row_says_what_is_wrong(row: object, fields: tuple[str, ...], problem: str) -> None:
    given_fields = read_fields([row], fields)
    assert given_fields.rows == given_fields.inputs == ()
    assert [(bad.row, bad.problem) for bad in given_fields.bad] == [(0, problem)]


def test_a_record_with_many_fields_names_eight() -> None:
    row = {f"column_{index}": "a" for index in range(20)}
    (bad,) = read_fields([row], ("text",)).bad
    assert "column_7" in bad.problem
    assert "column_8" not in bad.problem


def test_a_bad_row_costs_one_row() -> None:
    rows = ["one", None, {"text": "three"}, "\ud800", 5, "six"]
    given_fields = read_fields(rows, ("text",))
    assert given_fields.rows == (0, 2, 5)
    assert given_fields.inputs == (("one",), ("three",), ("six",))
    assert [bad.row for bad in given_fields.bad] == [1, 3, 4]


ROW = st.one_of(
    st.none(), st.text(max_size=3), st.integers(), st.fixed_dictionaries({"text": st.text()})
)


@settings(deadline=None)
@given(st.lists(ROW))
def test_every_row_is_good_or_bad_and_never_both(rows: list[object]) -> None:
    given_fields = read_fields(rows, ("text",))
    places = [*given_fields.rows, *(bad.row for bad in given_fields.bad)]
    assert sorted(places) == list(range(len(rows)))
    assert len(given_fields.inputs) == len(given_fields.rows)
    assert list(given_fields.rows) == sorted(given_fields.rows)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_a_text_decoded_from_another_encoding_is_refused(encoding: str) -> None:
    for text in ("I hated this film", "café"):
        wrong = text.encode(encoding).decode("latin-1")
        assert "UTF-16 or UTF-32" in str(text_problem(wrong))
    for text in ("\0张伟", "a\0b", "\0" * 9 + "late", "a\0b\0\0c"):
        assert text_problem(text) is None


@pytest.mark.parametrize("text", ["\u2800", " \u2800\u3164", "\u2800\n\u200b"], ids=ascii)
def test_a_blank_braille_cell_is_a_space(text: str) -> None:
    assert "is empty" in str(text_problem(text))
    assert text_problem(f"\u2813{text}") is None
