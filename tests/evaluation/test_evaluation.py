"""`Hub.evaluate`: its metrics are those of scoring, and what is behind them is counted right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from adapterhub import Hub
from adapterhub.errors import DataError, UnknownTaskError, UsageError
from adapterhub.evaluation.labelled import column_options
from adapterhub.results import Scores

TEXTS = [f"the film number {n} was {word}" for n in range(20) for word in ("good", "bad")]
ROWS = [
    {"text": text, "label": ("negative", "positive")[n % 3 == 0], "labels": [["sport"], []][n % 2]}
    for n, text in enumerate(TEXTS)
]
RATED = [{"text": text, "score": n / 10} for n, text in enumerate(TEXTS)]


@pytest.mark.slow
def test_the_metrics_are_those_of_the_predictions(hub: Hub) -> None:
    scores = hub.score(TEXTS, "sentiment")["sentiment"]
    predicted = [answer["label"] for answer in scores]
    truth = [row["label"] for row in ROWS]
    found = hub.evaluate(ROWS, "sentiment")["sentiment"]
    values = {metric.name: metric.value for metric in found.metrics}
    assert values["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"), 1e-5)
    assert found.rows == len(ROWS)
    assert found.columns == {"text": "text", "target": "label"}
    diagnostics = found.comparison.diagnostics
    assert diagnostics is not None
    expected = confusion_matrix(truth, predicted, labels=["negative", "positive"])
    assert np.array_equal(diagnostics.confusion, expected)
    each = f1_score(truth, predicted, average=None, labels=found.labels)
    assert [one.f1 for one in found.comparison.labels] == pytest.approx(list(each), 1e-5)
    labels = found.comparison.labels
    assert [one.count for one in labels] == [truth.count(name) for name in found.labels]
    assert [one.predicted for one in labels] == [predicted.count(name) for name in found.labels]


@pytest.mark.slow
def test_values_are_beside_the_true_ones(hub: Hub) -> None:
    found = hub.evaluate(RATED, "rating").tasks["rating"].comparison
    assert found.true is not None
    assert found.predicted is not None
    assert found.true.tolist() == pytest.approx([row["score"] for row in RATED])
    expected = [answer["value"] for answer in hub.score(TEXTS, "rating")["rating"]]
    assert found.predicted.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_entities_are_counted_by_type(hub: Hub) -> None:
    words = [{"tokens": text.split(), "tags": ["B-PER", *["O"] * 5]} for text in TEXTS]
    found = hub.evaluate(words, "entities")["entities"]
    (person,) = found.comparison.labels
    assert (person.label, person.count) == ("PER", len(TEXTS))
    values = {metric.name: metric.value for metric in found.metrics}
    assert person.precision == pytest.approx(values["span_precision"], abs=1e-5)
    assert person.recall == pytest.approx(values["span_recall"], abs=1e-5)


@pytest.mark.slow
def test_tasks_on_the_same_texts_are_scored_together(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    score = hub.score

    def watched(texts: object, tasks: list[str], **options: object) -> Scores:
        calls.append(tasks)
        return score(texts, tasks, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(hub, "score", watched)
    found = hub.evaluate(iter(ROWS), ["sentiment", "topics"])
    assert calls == [["sentiment", "topics"]]
    assert list(found) == ["sentiment", "topics"]
    table, values = found.render(), found.as_dict()
    assert "micro_f1" in table
    assert "sentiment:1: read text from 'text', target from 'label'" in table
    assert [one["task"] for one in values["tasks"]] == ["sentiment", "topics"]  # type: ignore[attr-defined]
    with pytest.raises(UnknownTaskError, match="Did you mean 'topics'"):
        found["topic"]


@pytest.mark.slow
def test_all_kinds_are_drawn_in_one_figure(hub: Hub, tmp_path: Path) -> None:
    found = hub.evaluate(ROWS, ["sentiment", "topics"])
    alone = found.plot(tmp_path / "two.svg").stat().st_size
    assert hub.evaluate(ROWS, "topics").plot(tmp_path / "one.svg").stat().st_size < alone
    assert hub.evaluate(RATED, "rating").plot(str(tmp_path / "rating.png")).is_file()
    with pytest.raises(UsageError, match="A plot cannot be written"):
        found.plot(tmp_path / "plot.jpeg")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tagret": "label"}, UsageError, "Did you mean 'target'?"),
        ({"epochs": 3}, UsageError, "there is no such option"),
        ({"target": "lable"}, DataError, "'lable'"),
        ({"text": 3}, UsageError, "text"),
    ],
)
def test_what_cannot_be_read_is_refused(
    hub: Hub, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        hub.evaluate(ROWS, "sentiment", **options)


def test_each_column_that_training_reads_can_be_named() -> None:
    names = {name: f"my {name}" for name in ("text", "pair", "target", "tokens", "heads")}
    assert column_options(names).model_dump(include=set(names)) == names
