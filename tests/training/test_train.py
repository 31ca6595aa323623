"""Training from rows to answers, as users do it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import adapterhub
from adapterhub import Hub
from adapterhub.errors import DataError, MissingExtraError, RegistryError, UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.store.registry import read_registry
from adapterhub.training.data.dataset import read_for_task
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.heads import search_heads as search_module
from adapterhub.training.kinds.table import evaluate
from adapterhub.training.options import TrainingOptions, training_options
from adapterhub.training.train import train
from tests.training.rows import (
    Rows,
    pair_rows,
    question_rows,
    rating_rows,
    sentiment_rows,
    tagged_rows,
    topic_rows,
    write_rows,
)

QUICK: dict[str, Any] = {
    "epochs": 4,
    "batch_size": 16,
    "hidden_widths": (8,),
    "learning_rates": (0.01, 0.03),
    "weight_decays": (0.01,),
    "validation_fraction": 0.25,
    "tolerance": 2.0,
}


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    return tmp_path / "tasks" / "registry.yaml"


@pytest.fixture
def quick(tmp_path: Path) -> TrainingOptions:
    return training_options(**QUICK, cache_dir=tmp_path / "cache")


SINGLE_DEPTHS = {(0,), (1,), (2,), (3,), (4,)}


def _train(
    rows: object, backbone: Backbone, encoder: Encoder, options: TrainingOptions, **changes: Any
) -> TrainedTask:
    return train(
        rows,
        **{"task": "mine", "registry": None, **changes},
        options=options,
        backbone=backbone,
        encoder=encoder,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "metric", "least"),
    [
        (sentiment_rows(96), "accuracy", 0.85),
        (pair_rows(96), "accuracy", 0.6),
        (topic_rows(96), "macro_f1", 0.8),
        (rating_rows(96), "spearman", 0.7),
        (tagged_rows(96), "span_f1", 0.8),
        (question_rows(96), "f1", 0.8),
    ],
)
def test_a_task_of_every_kind_is_trained_and_served(
    rows: Rows,
    metric: str,
    least: float,
    tiny_backbone: Backbone,
    tiny_encoder: Encoder,
    quick: TrainingOptions,
    registry: Path,
) -> None:
    options = quick.model_copy(update={"epochs": 12, "aliases": ("prod",)})
    trained = _train(rows, tiny_backbone, tiny_encoder, options, registry=registry)
    values = {one.name: one.value for one in trained.metrics}
    assert values[metric] >= least
    assert trained.data is not None
    assert trained.data.train_rows + trained.data.validation_rows == 96
    assert trained.data.kind == trained.spec.kind
    assert trained.saved is not None
    assert trained.saved.version == 1
    # The registry opens anywhere, and the hub replays the known answers on load.
    hub = Hub(registry, device="cpu")
    inputs = [dict(zip(trained.spec.fields, ("the food was good",) * 2, strict=False))]
    assert hub.score(inputs, tasks="mine@prod")["mine@prod"][0] is not None
    truth = read_for_task(rows, trained.spec, options)
    records = [dict(zip(truth.fields, row, strict=True)) for row in truth.inputs]
    scores = hub.score(records, tasks="mine", logits=True)["mine"]
    again = {one.name: one.value for one in evaluate(trained.spec, scores, truth, split="all")}
    assert again.keys() == values.keys()
    assert again[metric] >= least - 0.1


def test_the_record_says_how_it_was_made(
    tiny_backbone: Backbone, tiny_encoder: Encoder, quick: TrainingOptions, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "reviews.jsonl.gz", sentiment_rows())
    options = quick.model_copy(
        update={
            "seed": 7,
            "dataset_license": "CC0-1.0",
            "languages": ("en",),
            "license": "apache-2.0",
            "description": "Whether a text is good.",
        }
    )
    trained = _train(path, tiny_backbone, tiny_encoder, options)
    spec, record = trained.spec, trained.spec.training
    assert record is not None
    assert (record.dataset, record.dataset_license, record.seed) == ("reviews", "CC0-1.0", 7)
    assert record.rows + spec.metrics[0].rows == 48
    assert record.candidates == trained.table.candidates >= 40
    assert (spec.languages, spec.license) == (("en",), "apache-2.0")
    assert spec.max_length == tiny_encoder.max_positions
    assert spec.backbone == tiny_backbone.spec
    assert len(spec.known_answers) == 2
    assert not {answer.inputs[0] for answer in spec.known_answers} & {
        row["text"] for row in sentiment_rows()
    }


@pytest.mark.slow
def test_equal_input_gives_equal_bytes(
    tiny_backbone: Backbone, tiny_encoder: Encoder, quick: TrainingOptions, registry: Path
) -> None:
    first, second = (
        _train(sentiment_rows(), tiny_backbone, tiny_encoder, quick, registry=registry)
        for _ in range(2)
    )
    assert first.saved == second.saved
    other = quick.model_copy(update={"seed": 1})
    third = _train(sentiment_rows(), tiny_backbone, tiny_encoder, other, registry=registry)
    assert third.saved is not None
    assert third.saved.version == 2
    assert len(read_registry(registry).backbones) == 1


def test_every_pooling_depth_and_shape_is_tried(
    tiny_backbone: Backbone, tiny_encoder: Encoder, quick: TrainingOptions
) -> None:
    heads = [row.head for row in _train(
        sentiment_rows(), tiny_backbone, tiny_encoder, quick
    ).table.rows]  # fmt: skip
    assert {head.pooling for head in heads} == {"cls", "mean", "max", "attentive"}
    assert {head.depths for head in heads if len(head.depths) == 1} == SINGLE_DEPTHS
    mixes = {head.depths for head in heads if len(head.depths) > 1}
    assert 1 <= len(mixes) <= 3
    assert mixes <= {(0, 1), (0, 1, 2), (0, 1, 2, 3), (0, 1, 2, 3, 4)}
    assert {head.hidden_width for head in heads} == {None, 8}
    assert len(set(heads)) == len(heads)


def test_options_narrow_the_search(
    tiny_backbone: Backbone, tiny_encoder: Encoder, quick: TrainingOptions
) -> None:
    options = quick.model_copy(
        update={"depths": (0, 2), "poolings": ("mean",), "mixes": False, "hidden_widths": ()}
    )
    table = _train(sentiment_rows(), tiny_backbone, tiny_encoder, options).table
    assert [row.head.depths for row in table.rows] == [(0,), (2,)]
    alone = options.model_copy(update={"poolings": ("attentive",)})
    table = _train(sentiment_rows(), tiny_backbone, tiny_encoder, alone).table
    assert {row.head.pooling for row in table.rows} == {"attentive"}
    deep = options.model_copy(update={"depths": (9,)})
    with pytest.raises(UsageError, match="depths: 9 is over the backbone's 4"):
        _train(sentiment_rows(), tiny_backbone, tiny_encoder, deep)


@pytest.mark.slow
def test_little_memory_gives_the_same_choice_with_notes(
    tiny_backbone: Backbone, tiny_encoder: Encoder, quick: TrainingOptions
) -> None:
    rows = sentiment_rows()
    tap_bytes = len(rows) * tiny_encoder.hidden_size * 2
    small = quick.model_copy(update={"memory_bytes": 2 * tap_bytes})
    table = _train(rows, tiny_backbone, tiny_encoder, small).table
    assert any("Mixes of depths are left out" in note for note in table.notes)
    assert any("Attentive pooling is left out" in note for note in table.notes)
    assert {row.head.depths for row in table.rows} == SINGLE_DEPTHS
    words = quick.model_copy(update={"memory_bytes": 40_000})
    trained = _train(tagged_rows(), tiny_backbone, tiny_encoder, words)
    assert any("training rows are used" in note for note in trained.table.notes)
    assert trained.spec.training is not None
    assert 8 <= trained.spec.training.rows < 36


def test_an_interrupted_search_leaves_no_task(
    tiny_backbone: Backbone,
    tiny_encoder: Encoder,
    quick: TrainingOptions,
    registry: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(search_module, "fit", stop)
        with pytest.raises(KeyboardInterrupt):
            _train(sentiment_rows(), tiny_backbone, tiny_encoder, quick, registry=registry)
    assert not registry.exists()
    trained = _train(sentiment_rows(), tiny_backbone, tiny_encoder, quick, registry=registry)
    assert trained.saved is not None


def test_a_backbone_is_found_by_the_registry(tiny_registry: Path, quick: TrainingOptions) -> None:
    train(sentiment_rows(), task="fresh", options=quick, registry=tiny_registry)
    known = read_registry(tiny_registry)
    assert known.tasks["fresh"].backbone == "tiny"


def test_a_name_that_is_taken_is_refused_before_anything_is_encoded(
    tiny_registry: Path, quick: TrainingOptions
) -> None:
    with pytest.raises(RegistryError, match="is multi_label on the backbone 'tiny'"):
        train(sentiment_rows(), task="topics", options=quick, registry=tiny_registry)
    assert quick.cache_dir is not None
    assert not quick.cache_dir.exists()


def test_what_cannot_work_is_refused_at_once(
    tiny_backbone: Backbone,
    tiny_encoder: Encoder,
    quick: TrainingOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UsageError, match="task 'No Name!' is not allowed"):
        _train(sentiment_rows(), tiny_backbone, tiny_encoder, quick, task="No Name!")
    spans = quick.model_copy(update={"metric": "span_f1"})
    with pytest.raises(UsageError, match="the data make a single_label task"):
        _train(sentiment_rows(), tiny_backbone, tiny_encoder, spans)
    with pytest.raises(DataError, match="there is no such file"):
        _train("absent.jsonl", tiny_backbone, tiny_encoder, quick)
    other = replace(
        tiny_backbone,
        spec=tiny_backbone.spec.model_copy(update={"fingerprint": f"sha256:{'0' * 64}"}),
    )
    with pytest.raises(UsageError, match="belongs to another backbone"):
        _train(sentiment_rows(), other, tiny_encoder, quick)
    monkeypatch.setitem(sys.modules, "seqeval.metrics", None)
    with pytest.raises(MissingExtraError, match=r"adapterhub\[train\]"):
        _train(sentiment_rows(), tiny_backbone, tiny_encoder, quick)


def test_training_needs_no_terminal(
    tiny_backbone: Backbone,
    tiny_encoder: Encoder,
    quick: TrainingOptions,
    capfd: pytest.CaptureFixture[str],
) -> None:
    _train(sentiment_rows(), tiny_backbone, tiny_encoder, quick)
    assert capfd.readouterr() == ("", "")


def test_names_are_public() -> None:
    assert adapterhub.train is train
    assert adapterhub.TrainedTask is TrainedTask
    assert adapterhub.TrainingOptions is TrainingOptions
    assert torch.is_grad_enabled()
    assert np.isfinite(1)
