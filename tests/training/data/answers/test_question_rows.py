"""Rows of questions: which columns make them, and what is refused with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapterhub.errors import DataError
from adapterhub.training.data.answers.answer_rows import AnswerSpan
from adapterhub.training.data.dataset import Dataset, read_splits
from adapterhub.training.options import training_options

CONTEXT = "Oslo is in Norway."
ROW = {
    "question": "Where is Oslo?",
    "context": CONTEXT,
    "answers": [{"text": "Norway", "start": 11}],
}
NORWAY = AnswerSpan(11, 17)


def whole(data: object, **options: Any) -> Dataset:
    options = {"validation_fraction": 0.2, **options}
    splits = read_splits(data, training_options(**options))
    train, held_out = splits.train, splits.validation
    assert len(held_out) >= 2
    return train


def rows(count: int = 20, **changes: object) -> list[dict[str, object]]:
    made = [{**ROW, "context": f"{CONTEXT} {index}"} for index in range(count)]
    return [{k: v for k, v in {**row, **changes}.items() if v is not None} for row in made]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"answers": {"text": ["Norway"], "answer_start": [11]}},
        {"answers": None, "answer": "Norway", "answer_start": 11},
        {"answers": None, "answer": "Norway"},
        {"title": "a", "id": "1", "is_impossible": False},
        {"label": "x"},
    ],
)
def test_the_columns_say_that_rows_are_questions(changes: dict[str, object]) -> None:
    found = whole(rows(**changes))
    assert found.kind == "question_answering"
    assert found.fields == ("question", "context")
    assert found.labels == ()
    assert set(found.answers()) == {(NORWAY,)}
    assert found.answer_texts()[0] == ("Norway",)


def test_columns_may_have_other_names() -> None:
    renamed = [
        {"ask": row["question"], "passage": row["context"], "answers": row["answers"]}
        for row in rows()
    ]
    options = {"kind": "question_answering", "text": "ask", "pair": "passage"}
    found = whole(renamed, **options)
    assert found.fields == ("question", "context")
    assert found.roles == {"question": "ask", "context": "passage", "target": "answers"}


def test_what_is_no_span_stays_a_label() -> None:
    """BoolQ and its like have the columns of questions, but answers that are labels."""
    made = [
        {**row, "answer": str(index % 2 == 0)}
        for index, row in enumerate(rows(answers=None, text="a", label=None))
    ]
    with pytest.raises(DataError, match="there is no target column"):
        whole(made)
    assert whole(
        [{**row, "text": row["context"], "label": row["answer"]} for row in made]
    ).kind == ("single_label")


def test_questions_without_an_answer_are_rows_too() -> None:
    made = [
        {**row, "context": f"{CONTEXT} {n}"}
        for n, row in enumerate([*rows(12), *rows(12, answers=[]), *rows(12, is_impossible=True)])
    ]
    found = read_splits(made, training_options(validation_fraction=0.25))
    answered = [bool(own) for part in (found.train, found.validation) for own in part.answers()]
    assert sorted(answered) == [False] * 24 + [True] * 12
    with pytest.raises(DataError, match="no training row has an answer"):
        whole(rows(answers=[]))


def test_questions_about_one_context_are_on_one_side() -> None:
    made = [{**row, "context": f"{CONTEXT} {n // 4}"} for n, row in enumerate(rows(80))]
    found = read_splits(made, training_options(validation_fraction=0.25))
    train, held_out = ({texts[1] for texts in p.inputs} for p in (found.train, found.validation))
    assert len(held_out) == 5
    assert len(train) == 15
    assert not train & held_out


def test_a_file_of_squad_is_a_data_set(tmp_path: Path) -> None:
    path = tmp_path / "dev-v1.1.json"
    question = {
        "id": "1",
        "question": "Where?",
        "answers": [{"text": "Norway", "answer_start": 11}],
    }
    paragraphs = [{"context": f"{CONTEXT} {n}", "qas": [question]} for n in range(20)]
    path.write_text(
        json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]})
    )
    found = whole(path)
    assert found.name == "dev-v1.1"
    assert set(found.answers()) == {(NORWAY,)}
