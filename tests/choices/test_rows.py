"""Rows of a prompt and choices: what is read of them, and the one problem of a bad one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from adapterhub.choices.columns import FIELDS
from adapterhub.choices.rows import (
    ChoiceRow,
    choice_pairs,
    read_choice_row,
    read_inputs,
    record_of,
)

NAMED = [{"text": "a", "label": "A"}, {"text": "b", "label": "B"}]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "p", "choices": ["a", "b"]}, ChoiceRow("p", ("a", "b"))),
        ({"prompt": "p", "choices": ("a", "b", "a")}, ChoiceRow("p", ("a", "b", "a"))),
        ({"prompt": "p", "choices": np.array(["a", "b"])}, ChoiceRow("p", ("a", "b"))),
        ({"prompt": "p", "choices": '["a", "b, c"]'}, ChoiceRow("p", ("a", "b, c"))),
        ({"prompt": "p", "choices": "['a', 'b']"}, ChoiceRow("p", ("a", "b"))),
        (
            {"question": "p", "choices": {"text": ["a", "b"], "label": ["A", "B"]}},
            ChoiceRow("p", ("a", "b"), ("A", "B")),
        ),
        ({"question": "p", "choices": NAMED}, ChoiceRow("p", ("a", "b"), ("A", "B"))),
        (
            {"sent1": "She sits.", "sent2": "He", "ending0": "runs.", "ending1": "eats."},
            ChoiceRow("She sits. He", ("runs.", "eats.")),
        ),
        (
            {"dialogue": ["W: Hi.", "M: Bye."], "question": "Who?", "choice": ["W", "M"]},
            ChoiceRow("W: Hi.\nM: Bye. Who?", ("W", "M")),
        ),
        ({"premise": "p", "question": None, "choices": ["a", "b"]}, ChoiceRow("p", ("a", "b"))),
        (
            {"prompt": "p", "choice_0": "a", "choice_1": "b", "choice_2": "", "choice_3": None},
            ChoiceRow("p", ("a", "b")),
        ),
    ],
)
def test_a_row_is_read_in_the_form_that_it_has(
    row: Mapping[str, object], expected: ChoiceRow
) -> None:
    assert read_choice_row(row, FIELDS) == expected


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a text", "is of type str; expected a record such as"),
        ({"choices": ["a", "b"]}, "has no field 'prompt'; it has choices"),
        ({"prompt": "p", "choice": "a"}, "field 'choice' is of type str ('a'); expected a list"),
        ({"prompt": "p"}, "has no field 'choices'; it has prompt"),
        ({"prompt": "p", "choices": []}, "field 'choices' has no choices; two or more"),
        ({"prompt": "p", "choices": ["a"]}, "field 'choices' has one choice; two or more"),
        ({"prompt": "p", "choices": "a or b"}, "is of type str ('a or b'); expected a list"),
        ({"prompt": "p", "choices": ["a", " "]}, "choice 1 (from 0) of field 'choices' is empty"),
        ({"prompt": "p", "choices": ["a", 3]}, "choice 1 (from 0) of field 'choices' is of type"),
        ({"prompt": "", "choices": ["a", "b"]}, "field 'prompt' is empty"),
        ({"prompt": 3, "choices": ["a", "b"]}, "field 'prompt' is of type int"),
        (
            {"prompt": "p", "choice_0": "a", "choice_1": "", "choice_2": "c"},
            "choice 1 (from 0) of fields 'choice_0' to 'choice_2' is empty",
        ),
        (
            {"prompt": "p", "choices": {"text": ["a", "b"], "label": ["A"]}},
            "field 'choices' has 2 texts, but 1 labels",
        ),
    ],
)
def test_a_bad_row_has_one_clear_problem(row: object, problem: str) -> None:
    found = read_choice_row(row, FIELDS)
    assert isinstance(found, str)
    assert problem in found


def test_good_rows_and_bad_ones_are_told_apart() -> None:
    good = {"prompt": "p", "choices": ["a", "b", "c"]}
    found = read_inputs(["text", good], FIELDS, has_choices=True)
    assert (found.rows, found.inputs) == ((1,), (("p", "a", "b", "c"),))
    assert [bad.row for bad in found.bad] == [0]
    assert record_of(found.inputs[0], FIELDS, has_choices=True) == good
    assert choice_pairs(found.inputs) == [("p", "a"), ("p", "b"), ("p", "c")]
