"""The right choice of each row: by place, by letter, by text, or by what the row calls it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adapterhub.choices.answers import read_answers
from adapterhub.choices.rows import ChoiceRow

WORDS = ChoiceRow("p", ("red", "green", "blue"))
NUMBERS = ChoiceRow("six plus one is", ("2", "7", "1"))
MARKED = ChoiceRow("p", ("red", "green", "blue"), ("1", "2", "3"))
TWICE = ChoiceRow("p", ("red", "red", "blue"))


@pytest.mark.parametrize(
    ("values", "rows", "expected"),
    [
        (["2", "0"], [WORDS, WORDS], [2, 0]),
        ([2, 1.0, "1.0"], [WORDS] * 3, [2, 1, 1]),
        (["A", "c", "(B)", "B."], [WORDS] * 4, [0, 2, 1, 1]),
        (["green", " blue "], [WORDS, WORDS], [1, 2]),
        (["3", "1"], [MARKED, MARKED], [2, 0]),
        (["7", "2"], [NUMBERS, NUMBERS], [1, 0]),
        (["0", "2"], [TWICE, TWICE], [0, 2]),
    ],
)
def test_all_rows_say_it_in_one_way(
    values: Sequence[object], rows: Sequence[ChoiceRow], expected: list[int]
) -> None:
    assert read_answers(values, rows) == expected


@pytest.mark.parametrize(
    ("values", "row", "problem"),
    [
        (["0", "3"], WORDS, "is '3', but there are 3 choices, and places count from 0."),
        (["1", "3"], WORDS, "No row has 0: if places count from 1, subtract 1."),
        (["0", None], WORDS, "is missing"),
        (["0", ""], WORDS, "is missing"),
        (["red", "pink"], WORDS, "is 'pink'; expected the text of a choice, of which there are 3"),
        (["1", "4"], MARKED, "is '4'; expected a name of a choice (1, 2, 3)"),
        (["blue", "red"], TWICE, "is 'red', which is the text of more than one choice"),
        (["B", "D"], WORDS, "is 'D'; expected the letter of a choice"),
        (["0", True], WORDS, "is True; expected the place"),
    ],
)
def test_a_value_that_says_no_choice_is_named(
    values: Sequence[object], row: ChoiceRow, problem: str
) -> None:
    first, second = read_answers(values, [row, row])
    assert isinstance(first, int)
    assert isinstance(second, str)
    assert problem in second


def test_values_that_may_be_places_or_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="may hold the place of a choice, counted from 0, or the"):
        read_answers(["1", "2"], [NUMBERS, NUMBERS])


def test_rows_without_names_of_choices_are_not_asked_for_one() -> None:
    for problem in read_answers(["pink", True], [WORDS, WORDS]):
        assert "expected the place of a choice, counted from 0, of which there are 3." in str(
            problem
        )
