"""The columns of prompt and choices, in our form and in those of known data sets."""

from __future__ import annotations

import pytest

from adapterhub.choices.columns import (
    ChoiceColumns,
    choice_fields,
    columns_read,
    find_choice_columns,
)

GIVEN = {"prompt": None, "choices": None}
SWAG = ("video-id", "sent1", "sent2", "gold-source", "ending0", "ending1", "ending2", "ending3")


@pytest.mark.parametrize(
    ("columns", "prompt", "choices"),
    [
        ("prompt choices label", "prompt", "choices"),
        (" ".join([*SWAG, "label"]), "sent1 sent2", "ending0 ending1 ending2 ending3"),
        ("example_id article question options answer", "article question", "options"),
        ("ind activity_label ctx_a ctx_b ctx endings label", "ctx", "endings"),
        ("context question choice answer", "context question", "choice"),
        ("dialogue question choice answer", "dialogue question", "choice"),
        ("id question choices answerKey", "question", "choices"),
        ("question_stem choices answerKey", "question_stem", "choices"),
        ("goal sol1 sol2 label", "goal", "sol1 sol2"),
        ("premise choice1 choice2 question label", "premise question", "choice1 choice2"),
        (
            "context question answerA answerB answerC label",
            "context question",
            "answerA answerB answerC",
        ),
        ("sentence option1 option2 answer", "sentence", "option1 option2"),
        ("id question A B C D answer", "question", "A B C D"),
        ("content candidates answer", "content", "candidates"),
        (
            "prompt choice_0 choice_1 choice_10 choice_2 label",
            "prompt",
            "choice_0 choice_1 choice_2",
        ),
        ("prompt choices choice_0 choice_1", "prompt", "choices"),
        ("text label", "text", ""),
        ("premise hypothesis label", "premise", ""),
        ("prompt choice_0 choice_2", "prompt", ""),
        ("choices label", "", "choices"),
    ],
)
def test_columns_are_found_by_their_names(columns: str, prompt: str, choices: str) -> None:
    found = find_choice_columns(columns.split())
    assert found == ChoiceColumns(tuple(prompt.split()), tuple(choices.split()))
    assert found.are_there == bool(prompt and choices)


def test_columns_that_were_named_are_read_alone() -> None:
    columns = ["prompt", "choices", "q", "alt_a", "alt_b"]
    assert find_choice_columns(columns, ("q", "alt")) == ChoiceColumns(("q",), ("alt_a", "alt_b"))
    assert find_choice_columns(columns, ("q", "none")) == ChoiceColumns(("q",), ())
    assert columns_read(("q", "alt"), columns, has_choices=True) == ("q", "alt_a", "alt_b")
    assert columns_read(("q", "alt"), columns, has_choices=False) == ("q", "alt")


def test_names_of_the_user_come_before_those_of_the_training_data() -> None:
    trained = {"prompt": "q", "choices": "alt"}
    columns = ["prompt", "choices", "q", "alt", "body"]
    assert choice_fields(GIVEN, trained, columns) == trained
    assert choice_fields(GIVEN, trained, columns[:2]) == {"prompt": "prompt", "choices": "choices"}
    named = {"prompt": "body", "choices": "alt"}
    assert choice_fields(named, trained, columns) == named
    # A column of texts alone is named for the tasks beside it.
    text = {"prompt": "body", "choices": None}
    assert choice_fields(text, {}, columns) == {"prompt": "prompt", "choices": "choices"}
    assert choice_fields(text, {}, ["body", "choices"]) == {"prompt": "body", "choices": "choices"}
