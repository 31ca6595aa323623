"""A task that does not answer: trained, scored, measured again, from rows to files."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from adapterhub import Hub
from adapterhub.errors import DataError, UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.scoring.scorer import Scorer
from adapterhub.specs import Abstention
from tests.training.rows import (
    Rows,
    choice_rows,
    doubtful_rows,
    outside_rows,
    question_rows,
    rating_rows,
    sentiment_rows,
    tagged_rows,
    topic_rows,
    write_rows,
)
from tests.training.run import train_in

QUICK: dict[str, Any] = {
    "depths": (0,),
    "poolings": ("mean",),
    "mixes": False,
    "ngrams": False,
    "hidden_widths": (),
    "learning_rates": (0.02,),
    "weight_decays": (0.03,),
    "epochs": 8,
    "validation_fraction": 0.5,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("abstention")


trained_on = partial(train_in, task="mood", **QUICK)


def mixed(rows: int, outside: int, seed: int) -> Rows:
    return [*doubtful_rows(rows, seed), *outside_rows(outside, seed + 1_000)]


@pytest.fixture(scope="module")
def mood(folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder) -> Abstention:
    """Returns what the file of the task `mood` says, in the registry of the folder."""
    options = {"none_label": "oos", "min_accuracy": 0.9}
    found = trained_on(mixed(240, 60, 0), folder, tiny_backbone, tiny_encoder, **options)
    assert found.spec.abstention is not None
    assert "oos" not in found.spec.labels
    return found.spec.abstention


@pytest.fixture(scope="module")
def hub(mood: Abstention, folder: Path) -> Hub:
    return Hub(folder / "registry.yaml", device="cpu")


def test_training_states_what_it_chose_and_measured(mood: Abstention) -> None:
    assert 0 < mood.min_confidence < 1
    assert (mood.none_label, mood.min_accuracy) == ("oos", 0.9)
    assert (mood.split, mood.used_for) == ("validation", ("selection", "calibration"))
    # The rows out of scope choose whether they are for training or not; half of the others do.
    assert (mood.rows, mood.outside) == (120, 60)
    assert len(mood.table) > 5
    shares = [one.coverage for one in mood.table]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("test_fraction", [0.0, 0.5])
def test_fresh_rows_agree_with_the_file(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder, seed: int, test_fraction: float
) -> None:
    options = {"none_label": "oos", "min_accuracy": 0.85, "test_fraction": test_fraction}
    rows = mixed(280, 60, 10 * seed + 1)
    name = f"mood-{seed}-{int(2 * test_fraction)}"
    trained = trained_on(rows, folder, tiny_backbone, tiny_encoder, task=name, seed=seed, **options)
    stated = trained.spec.abstention
    assert stated is not None
    assert stated.split == ("test" if test_fraction else "validation")
    assert stated.outside == (30 if test_fraction else 60)
    hub = Hub(folder / "registry.yaml", device="cpu")
    fresh = hub.evaluate(mixed(1_000, 400, 10_000 + seed), name)[name]
    assert fresh.outside == 400
    now = fresh.abstention
    assert now is not None
    assert now.min_confidence == stated.min_confidence
    for figure in ("coverage", "accuracy", "rejected"):
        errors = [getattr(one, f"{figure}_error") for one in (stated.chosen, now)]
        gap = getattr(stated.chosen, figure) - getattr(now, figure)
        assert abs(gap) <= 4 * np.hypot(*errors), figure


def test_the_figures_are_those_of_the_predictions(hub: Hub, mood: Abstention) -> None:
    rows, outside = doubtful_rows(200, 77), outside_rows(100, 78)
    found = hub.evaluate([*rows, *outside], "mood")["mood"]
    answers = hub.score([row["text"] for row in rows], "mood")["mood"].answers
    given = [a["label"] == row["label"] for a, row in zip(answers, rows, strict=True) if a["label"]]
    none = hub.score([row["text"] for row in outside], "mood")["mood"].answers
    assert found.abstention is not None
    assert 0 < len(given) < len(rows)
    assert found.abstention.coverage == pytest.approx(len(given) / len(rows), abs=1e-5)
    assert found.abstention.accuracy == pytest.approx(np.mean(given), abs=1e-5)
    missing = [answer["label"] is None for answer in none]
    assert found.abstention.rejected == pytest.approx(np.mean(missing), abs=1e-5)
    # The metrics are those of all answers.
    always = hub.score([row["text"] for row in rows], "mood", min_confidence=0)["mood"].answers
    right = [answer["label"] == row["label"] for answer, row in zip(always, rows, strict=True)]
    accuracy = {metric.name: metric.value for metric in found.metrics}["accuracy"]
    assert accuracy == pytest.approx(np.mean(right), abs=1e-5)
    assert {"coverage", "accuracy_given", "rejected"} <= dict(found.figures).keys()
    other = hub.evaluate(rows, "mood", min_confidence=1.0)["mood"].abstention
    assert other is not None
    assert (other.coverage, other.rejected) == (0.0, None)


def test_a_call_may_say_another_minimum(hub: Hub, mood: Abstention) -> None:
    texts = [row["text"] for row in mixed(30, 30, 5)]
    always = hub.score(texts, "mood", min_confidence=0)["mood"].answers
    by_file = hub.score(texts, "mood")["mood"].answers
    least = mood.min_confidence
    assert [a["label"] for a in by_file] == [
        a["label"] if a["score"] >= least else None for a in always
    ]
    assert [a["score"] for a in by_file] == [a["score"] for a in always]
    assert {a["label"] for a in hub.score(texts, "mood", min_confidence=1)["mood"]} == {None}
    # A ranking is whole.
    assert all(len(row) == 2 for row in hub.score(texts, "mood", top_k=None)["mood"])
    rows = [(text, "mood") for text in texts]
    assert hub.score_rows(rows)["mood"].answers == by_file
    assert hub.score_rows(rows, min_confidence=0)["mood"].answers == always
    streamed = [row["mood"] for row in hub.stream(texts, "mood", min_confidence=0)]
    assert [a["label"] for a in streamed] == [a["label"] for a in always]


def test_files_hold_nothing_where_there_is_no_answer(
    hub: Hub, folder: Path, tmp_path: Path
) -> None:
    texts = [row["text"] for row in mixed(20, 20, 6)]
    expected = hub.score(texts, "mood").to_columns()
    assert None in expected["mood.label"]
    hub.score_file(texts, tmp_path / "a.csv", tasks="mood")
    hub.score_file(texts, tmp_path / "a.parquet", tasks="mood")
    with (tmp_path / "a.csv").open(encoding="utf-8") as file:
        cells = [row["mood.label"] for row in csv.DictReader(file)]
    assert cells == [label or "" for label in expected["mood.label"]]
    table = pq.read_table(tmp_path / "a.parquet")
    assert table["mood.label"].to_pylist() == expected["mood.label"]
    scorer = Scorer("mood", registry=folder / "registry.yaml", device="cpu", min_confidence=0)
    assert None not in scorer({"text": texts})["mood.label"]
    again = Scorer("mood", registry=folder / "registry.yaml", device="cpu")
    assert again({"text": texts})["mood.label"] == expected["mood.label"]


def test_another_minimum_is_another_job(hub: Hub, tmp_path: Path) -> None:
    texts = [row["text"] for row in mixed(8, 8, 7)]
    out, options = tmp_path / "parts", {"min_confidence": 0.1}
    hub.score_file(texts, out, tasks="mood", options=options)
    hub.score_file(texts, out, tasks="mood", options=options)
    with pytest.raises(DataError, match=r"min_confidence was 0\.1 and is that of each file now"):
        hub.score_file(texts, out, tasks="mood")


def test_a_job_with_a_minimum_gets_a_task_that_always_answers(
    tiny_registry: Path, tmp_path: Path
) -> None:
    hub = Hub(tiny_registry, device="cpu")
    texts, options = ["a good day", "it is late"], {"min_confidence": 1.0}
    hub.score_file(texts, tmp_path / "parts", tasks="sentiment", options=options)
    both = ["sentiment", "rating"]
    done = hub.score_file(texts, tmp_path / "parts", tasks=both, options=options)
    assert done.tasks == ("sentiment", "rating")
    table = pq.read_table(tmp_path / "parts")
    assert table["sentiment.label"].to_pylist() == [None, None]
    expected = hub.score(texts, "rating").to_columns()["rating.value"]
    assert table["rating.value"].to_pylist() == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "options"),
    [
        (topic_rows(160), {}),
        (tagged_rows(120), {}),
        (choice_rows(120), {}),
        (question_rows(100), {"epochs": 2}),
    ],
)
def test_other_kinds_withhold_what_they_predict(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder, rows: Rows, options: Any
) -> None:
    known = {"min_accuracy": 0.8, "depths": (2,), **options}
    known |= {"kind": "multiple_choice"} if "choices" in rows[0] else {}
    name = f"other-{len(rows)}-{len(rows[0])}-{'tags' in rows[0]}".lower()
    trained = trained_on(rows, folder, tiny_backbone, tiny_encoder, task=name, **known)
    found = trained.spec.abstention
    assert found is not None
    assert found.outside == 0
    hub = Hub(folder / "registry.yaml", device="cpu")
    again = hub.evaluate(rows, name, min_confidence=0.999)[name].abstention
    assert again is not None
    assert again.coverage < 1
    inputs: Any = [
        row.get("text") or ({"text": " ".join(row["tokens"])} if "tokens" in row else row)
        for row in rows
    ]
    assert any(_given(one) for one in hub.score(inputs, name, min_confidence=0)[name])
    assert not any(_given(one) for one in hub.score(inputs, name, min_confidence=1)[name])


def _given(answer: Any) -> bool:
    parts = answer if isinstance(answer, list) else [answer]
    return any(
        next(part[key] for key in ("label", "choice", "answer", "word") if key in part)
        not in (None, "")
        for part in parts
    )


def test_a_demand_that_nothing_meets_is_said(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    rows = doubtful_rows(120, 3)
    for number, row in enumerate(rows):
        row["label"] = "ab"[number % 2]
    trained = trained_on(rows, folder, tiny_backbone, tiny_encoder, task="coin", min_accuracy=1.0)
    assert trained.spec.abstention is not None
    assert trained.spec.abstention.min_confidence == 0
    assert any("No minimum of confidence makes 1 of" in note for note in trained.table.notes)
    assert any(
        note.startswith("Always answers: the minimum of confidence is 0, ")
        for note in trained.table.notes
    )
    assert any("Of fewer than 20 answers" in note for note in trained.table.notes)


@pytest.mark.parametrize(
    ("rows", "options", "error", "problem"),
    [
        (sentiment_rows(40), {"none_label": "negativ"}, DataError, "Did you mean 'negative'"),
        (outside_rows(40, 0), {"none_label": "oos"}, DataError, "all training rows have the label"),
        (rating_rows(40), {"none_label": "oos"}, UsageError, "none_label is 'oos', but the data"),
        (rating_rows(40), {"min_accuracy": 0.9}, UsageError, "min_accuracy is 0.9, but the data"),
        (topic_rows(40), {"none_label": "oos"}, UsageError, "make a multi_label task"),
        (sentiment_rows(40), {"min_accuracy": 1.5}, UsageError, "min_accuracy"),
        (sentiment_rows(40), {"none_label": ""}, UsageError, "none_label"),
    ],
)
def test_what_cannot_be_is_refused_before_training(
    folder: Path,
    tiny_backbone: Backbone,
    tiny_encoder: Encoder,
    rows: Rows,
    options: dict[str, Any],
    error: type[Exception],
    problem: str,
) -> None:
    with pytest.raises(error, match=problem):
        trained_on(rows, folder / "none", tiny_backbone, tiny_encoder, **options)
    assert not (folder / "none" / "registry.yaml").exists()


def test_rows_out_of_scope_alone_measure_nothing(hub: Hub, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", outside_rows(10, 0))
    with pytest.raises(DataError, match="all rows are out of scope of task 'mood'"):
        hub.evaluate(path, "mood")
    with pytest.raises(DataError, match="has the label 'other', unknown to task 'mood'"):
        hub.evaluate(outside_rows(10, 0, label="other"), "mood")
    with pytest.raises(UsageError, match=r"min_confidence is 2; expected a probability"):
        hub.evaluate(path, "mood", min_confidence=2)


def test_few_rows_are_cross_validated(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    options = {"none_label": "oos", "validation_fraction": None, "folds": 2}
    trained = trained_on(
        mixed(60, 20, 9), folder, tiny_backbone, tiny_encoder, task="few", **options
    )
    found = trained.spec.abstention
    assert found is not None
    assert (found.split, found.rows, found.outside) == ("cross-validation", 60, 20)
    again = Hub(folder / "registry.yaml", device="cpu").evaluate(mixed(60, 20, 9), "few")["few"]
    assert again.earlier_use == "all 60 rows are those that the task was trained on"


def test_a_split_column_says_what_rows_out_of_scope_are_for(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    parts = {"train": mixed(80, 5, 1), "validation": mixed(60, 10, 2), "test": mixed(50, 20, 3)}
    rows = [{**row, "part": name} for name, own in parts.items() for row in own]
    options = {"none_label": "oos", "validation_fraction": None, "split_column": "part"}
    trained = trained_on(rows, folder, tiny_backbone, tiny_encoder, task="parts", **options)
    found = trained.spec.abstention
    assert found is not None
    assert (found.split, found.rows, found.outside, found.used_for) == ("test", 50, 20, ())
    assert trained.data is not None
    assert trained.data.outside_rows == (15, 20)


def test_kinds_that_always_answer_refuse_a_minimum(tiny_registry: Path) -> None:
    hub = Hub(tiny_registry, device="cpu")
    with pytest.raises(
        UsageError, match="'rating' is a regression task, 'trees' is a parsing task"
    ):
        hub.score("a good day", ["rating", "trees"], min_confidence=0.5)
    hub.score("a good day", "rating", min_confidence=0)
    both = hub.score("a good day", ["rating", "sentiment"], min_confidence=1.0)
    assert both["rating"][0] == hub.score("a good day", "rating")["rating"][0]
    assert both["sentiment"][0]["label"] is None  # type: ignore[index, typeddict-item, call-overload]
