"""Some dozens of rows: cross-validation, honest figures, no false certainty."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapterhub.errors import UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.heads.heads import softmax
from adapterhub.training.evaluation.measure import run_head
from adapterhub.training.evaluation.metrics import label_figures, number_figures, set_figures
from adapterhub.training.features import encoding
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.options import TrainingOptions, training_options
from adapterhub.training.train import train
from tests.training.rows import (
    Rows,
    pair_rows,
    rating_rows,
    sentiment_rows,
    tagged_rows,
    topic_rows,
    write_rows,
)

QUICK: dict[str, Any] = {
    "epochs": 8,
    "batch_size": 16,
    "depths": (0, 2),
    "poolings": ("mean",),
    "hidden_widths": (8,),
    "learning_rates": (0.03,),
    "weight_decays": (0.01,),
}


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def quick(tmp_path: Path) -> TrainingOptions:
    return training_options(**QUICK, cache_dir=tmp_path / "cache")


def _train(
    rows: object, backbone: Backbone, encoder: Encoder, options: TrainingOptions
) -> TrainedTask:
    return train(
        rows, task="few", options=options, registry=None, backbone=backbone, encoder=encoder
    )


@pytest.mark.parametrize(
    ("rows", "metric"),
    [
        (sentiment_rows(40), "likelihood"),
        (pair_rows(40), "likelihood"),
        (topic_rows(40), "likelihood"),
        (rating_rows(40), "spearman"),
        (tagged_rows(40), "span_f1"),
    ],
)
@pytest.mark.slow
def test_every_kind_is_measured_on_all_rows(
    rows: Rows,
    metric: str,
    tiny_backbone: Backbone,
    tiny_encoder: Encoder,
    quick: TrainingOptions,
) -> None:
    trained = _train(rows, tiny_backbone, tiny_encoder, quick)
    assert {(one.split, one.rows) for one in trained.metrics} == {("cross-validation", 40)}
    assert trained.spec.training is not None
    assert trained.spec.training.rows == 40
    assert trained.table.metric == metric
    text = trained.table.render()
    assert "Chosen by cross-validation" in text
    assert "a metric on 40 rows is about ±16 points" in text


@pytest.mark.slow
def test_metrics_are_of_heads_that_did_not_see_the_row(
    tiny_backbone: Backbone,
    tiny_encoder: Encoder,
    source: encoding.FeatureSource,
    quick: TrainingOptions,
) -> None:
    """Labels that no text can tell: a head that saw them looks right, the figures do not."""
    rows = [{"text": f"the day {i}", "label": "ab"[i * 7 % 11 % 2]} for i in range(40)]
    options = quick.model_copy(update={"epochs": 60, "learning_rates": (0.1,)})
    trained = _train(rows, tiny_backbone, tiny_encoder, options)
    said = {one.name: one.value for one in trained.metrics}
    assert said["accuracy"] < 0.85
    temperature = trained.spec.calibration.temperature
    assert temperature > 1
    hub_rows = tuple((row["text"],) for row in rows)
    logits = run_head(trained.spec, trained.tensors, hub_rows, source=source, max_windows=4)
    assert isinstance(logits.values, np.ndarray)
    seen = softmax(logits.values / np.float32(temperature))
    labels = [trained.spec.labels.index(row["label"]) for row in rows]
    assert (seen.argmax(1) == labels).mean() > said["accuracy"]


@pytest.mark.parametrize("rows", [sentiment_rows(12), topic_rows(12), rating_rows(12)])
@pytest.mark.slow
def test_two_validation_rows_give_no_warning_and_no_certainty(
    rows: Rows,
    tiny_backbone: Backbone,
    tiny_encoder: Encoder,
    quick: TrainingOptions,
    tmp_path: Path,
) -> None:
    held_out = write_rows(tmp_path / "held-out.jsonl", rows[2:4])
    options = quick.model_copy(update={"validation": held_out})
    trained = _train(rows, tiny_backbone, tiny_encoder, options)
    assert {(one.split, one.rows) for one in trained.metrics} == {("validation", 2)}
    assert any("a metric on 2 rows is about ±71 points" in note for note in trained.table.notes)
    assert 0.2 <= trained.spec.calibration.temperature <= 20


def test_the_fewest_rows_train(
    tiny_backbone: Backbone, tiny_encoder: Encoder, quick: TrainingOptions
) -> None:
    trained = _train(sentiment_rows(8), tiny_backbone, tiny_encoder, quick)
    assert trained.metrics[0].rows == 8


@pytest.mark.slow
def test_a_label_with_one_row_is_no_obstacle(
    tiny_backbone: Backbone, tiny_encoder: Encoder, quick: TrainingOptions
) -> None:
    rows = [*sentiment_rows(20), {"text": "a city", "label": "rare"}]
    trained = _train(rows, tiny_backbone, tiny_encoder, quick)
    assert trained.spec.labels == ("negative", "positive", "rare")


@pytest.mark.slow
def test_words_are_cut_to_memory_in_all_folds_alike(
    tiny_backbone: Backbone, tiny_encoder: Encoder, quick: TrainingOptions
) -> None:
    small = quick.model_copy(update={"memory_bytes": 2**20, "epochs": 1, "ngrams": False})
    rows = tagged_rows(800)
    trained = _train(rows, tiny_backbone, tiny_encoder, small)
    assert trained.spec.training is not None
    assert trained.spec.training.rows == trained.metrics[0].rows < 800
    assert any("training rows are used" in note for note in trained.table.notes)


def test_a_cache_with_other_words_is_refused(
    tiny_backbone: Backbone,
    tiny_encoder: Encoder,
    quick: TrainingOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = tagged_rows(20)
    first = encoding.words_of
    with monkeypatch.context() as patch:
        patch.setattr(encoding, "words_of", lambda text: first(text)[:1])
        with pytest.raises(UsageError, match="holds other words for these texts"):
            _train(rows, tiny_backbone, tiny_encoder, quick)
    with pytest.raises(UsageError, match="Remove that folder"):
        _train(rows, tiny_backbone, tiny_encoder, quick)


def test_figures_of_answers_that_are_all_alike_give_no_warning() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.2]], np.float32)
    assert label_figures(scores, np.array([0, 0]))["mcc"] == 0
    assert label_figures(scores, np.array([0, 1]))["mcc"] == 0
    none = np.zeros((2, 3), np.float32)
    assert set_figures(none > 0, none, none)["macro_f1"] == 0
    assert number_figures(np.ones(2, np.float32), np.array([1.0, 2]))["pearson"] == 0
    assert abs(number_figures(np.array([1, 2], np.float32), np.array([1.0, 2]))["pearson"]) <= 1


@pytest.mark.parametrize("labels", [1, 2])
def test_figures_of_one_label_are_those_of_giving_it(labels: int) -> None:
    truth = np.zeros((8, labels), dtype=np.float32)
    given = np.zeros((8, labels), dtype=np.bool_)
    truth[:3, 0] = 1
    given[1:4, 0] = True  # two of three hits
    figures = set_figures(given, given.astype(np.float32), truth)
    assert figures["macro_f1"] == pytest.approx(2 / 3)
    assert figures["micro_f1"] == pytest.approx(2 / 3)
