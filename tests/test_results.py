"""Results: answers as rows, columns and tables, with what made them."""

from __future__ import annotations

import builtins
import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from adapterhub.errors import MissingExtraError, UnknownTaskError
from adapterhub.results import Answer, Provenance, RowError, Scores, TaskScores
from adapterhub.specs import Kind


def task_scores(
    kind: Kind, *answers: Answer, name: str = "task", top_k: int | None = 1
) -> TaskScores:
    rows = len(answers)
    return TaskScores(
        kind=kind,
        answers=answers,
        made_by=Provenance(name, 1, "0" * 64, f"sha256:{'0' * 64}"),
        windows=(1,) * rows,
        truncated=(False,) * rows,
        top_k=top_k,
    )


def label(name: str, score: float = 0.5) -> Any:
    return {"label": name, "score": score}


ENTITY: Any = {"entity_group": "PER", "score": 0.75, "word": "Ann", "start": 0, "end": 3}
SCORES = Scores(
    {
        "sentiment": task_scores("single_label", label("good", 0.75), None, label("bad")),
        "topics": task_scores("multi_label", [label("sport"), label("news")], None, []),
        "rating": task_scores("regression", {"value": 4.5}, None, {"value": -1.0}),
        "entities": task_scores("tagging", [], None, [ENTITY]),
    },
    (RowError(1, "the text is empty.", ("sentiment", "topics", "rating", "entities")),),
)


def test_rows_are_flat_records() -> None:
    assert list(SCORES.rows()) == [
        {
            "sentiment.label": "good",
            "sentiment.score": 0.75,
            "topics.labels": [label("sport"), label("news")],
            "rating.value": 4.5,
            "entities.entities": [],
        },
        {
            "sentiment.label": None,
            "sentiment.score": None,
            "topics.labels": None,
            "rating.value": None,
            "entities.entities": None,
        },
        {
            "sentiment.label": "bad",
            "sentiment.score": 0.5,
            "topics.labels": [],
            "rating.value": -1.0,
            "entities.entities": [ENTITY],
        },
    ]


def test_columns_are_the_rows_turned() -> None:
    columns = SCORES.to_columns()
    assert list(columns) == [
        *("sentiment.label", "sentiment.score", "topics.labels", "rating.value"),
        "entities.entities",
    ]
    for place, row in enumerate(SCORES.rows()):
        assert {name: values[place] for name, values in columns.items()} == row


def test_the_n_best_labels_are_one_column() -> None:
    best = task_scores("single_label", [label("good"), label("bad")], None, top_k=2)
    assert Scores({"sentiment": best}).to_columns() == {"sentiment.labels": [best[0], None]}


@pytest.mark.parametrize("top_k", [1, 2, None])
@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression", "tagging"])
def test_bad_rows_alone_make_the_columns_of_good_ones(kind: Kind, top_k: int | None) -> None:
    labels: Any = [label("good")]
    good: Any = {"regression": {"value": 4.5}, "tagging": [ENTITY]}.get(kind, labels)
    if (kind, top_k) == ("single_label", 1):
        good = label("good")
    tables = [
        Scores({"task": task_scores(kind, answer, top_k=top_k)}).to_arrow()
        for answer in (good, None)
    ]
    assert tables[0].schema == tables[1].schema
    assert not any(pa.types.is_null(field.type) for field in tables[1].schema)
    # What Arrow finds by itself where there is a value.
    assert pa.Table.from_pylist(tables[0].to_pylist()).schema == tables[0].schema


def test_two_tasks_never_share_a_column() -> None:
    scores = Scores(
        {
            "mood": task_scores("single_label", label("good")),
            "mood.score": task_scores("regression", {"value": 4.5}),
        }
    )
    assert list(scores.rows()) == [
        {"mood.label": "good", "mood.score": 0.5, "mood.score.value": 4.5}
    ]


def test_a_table_keeps_none_apart_from_empty() -> None:
    table = SCORES.to_arrow()
    assert table.num_rows == 3
    assert table.column("topics.labels").to_pylist() == [[label("sport"), label("news")], None, []]
    assert table.column("entities.entities").to_pylist() == [[], None, [ENTITY]]
    assert table.schema.field("sentiment.label").type == pa.string()
    assert table.schema.field("sentiment.score").type == pa.float64()
    assert table.schema.field("rating.value").type == pa.float64()
    assert table.column("rating.value").null_count == 1


def test_a_table_of_nothing_but_bad_rows_can_be_made() -> None:
    table = Scores({"sentiment": task_scores("single_label", None, None)}).to_arrow()
    assert table.num_rows == 2
    assert table.column("sentiment.label").null_count == 2


def test_a_data_frame_has_the_same_columns_and_rows() -> None:
    frame = SCORES.to_pandas()
    assert list(frame.columns) == list(SCORES.to_columns())
    assert frame["sentiment.label"].iloc[0] == "good"
    assert frame["rating.value"].iloc[2] == -1.0
    assert frame["entities.entities"].iloc[0] == []
    assert frame["entities.entities"].iloc[1] is None


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"adapterhub\[pandas\]"):
        SCORES.to_pandas()


def test_scores_are_a_mapping_in_the_order_of_the_call() -> None:
    assert list(SCORES) == ["sentiment", "topics", "rating", "entities"]
    assert len(SCORES) == 4
    assert "sentiment" in SCORES
    assert "absent" not in SCORES
    assert dict(SCORES.items())["rating"] is SCORES["rating"]
    assert [task.kind for task in SCORES.values()][-1] == "tagging"


def test_a_task_that_was_not_asked_for_is_named() -> None:
    with pytest.raises(UnknownTaskError, match="Did you mean 'sentiment'") as refused:
        SCORES["sentimant"]
    assert refused.value.known == tuple(SCORES)
    assert SCORES.get("sentimant") is None
    assert SCORES.get("sentimant", 3) == 3
    assert SCORES.get("rating") is SCORES["rating"]


def test_answers_are_a_sequence_with_slices() -> None:
    rating = SCORES["rating"]
    assert len(rating) == 3
    assert rating[0] == {"value": 4.5}
    assert rating[-1] == {"value": -1.0}
    assert rating[1:] == (None, {"value": -1.0})
    assert rating[::-1] == ({"value": -1.0}, None, {"value": 4.5})
    assert list(rating) == list(rating.answers)
    with pytest.raises(IndexError):
        rating[3]


def test_scores_cannot_be_changed() -> None:
    tasks = {"rating": SCORES["rating"]}
    scores = Scores(tasks)
    tasks["other"] = SCORES["topics"]
    assert list(scores) == ["rating"]
    with pytest.raises(TypeError):
        scores.tasks["other"] = SCORES["topics"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        scores.errors = ()  # type: ignore[misc]


def test_scores_can_go_to_another_process() -> None:
    logits = np.array([[0.5, 1.0]], np.float32)
    made_by = Provenance("mood", 2, "0" * 64, f"sha256:{'0' * 64}")
    task = TaskScores("single_label", (label("good"),), made_by, (1,), (True,), logits)
    other = pickle.loads(pickle.dumps(Scores({"mood": task}, SCORES.errors)))
    assert list(other.rows()) == [{"mood.label": "good", "mood.score": 0.5}]
    assert other.errors == SCORES.errors
    assert other["mood"].made_by == made_by
    assert other["mood"].truncated == (True,)
    assert np.array_equal(other["mood"].logits, logits)
