"""Parsing from a treebank to trees of new texts, as users do it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapterhub import Hub
from adapterhub.errors import UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.training.data.dataset import read_for_task
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.kinds.table import evaluate
from adapterhub.training.options import training_options
from adapterhub.training.train import train
from tests.training.rows import tree_rows, write_rows

QUICK: dict[str, Any] = {
    "epochs": 25,
    "batch_size": 64,
    "depths": (0, 1),
    "parser_widths": (16, 8),
    "learning_rates": (0.02,),
    "weight_decays": (0.01,),
    "validation_fraction": 0.25,
    "head_dropout": 0.1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parsing")


@pytest.fixture(scope="module")
def trained(folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder) -> TrainedTask:
    return train(
        tree_rows(100),
        task="tree",
        options=training_options(**QUICK, cache_dir=folder / "cache"),
        registry=folder / "registry.yaml",
        backbone=tiny_backbone,
        encoder=tiny_encoder,
    )


@pytest.mark.slow
def test_a_parser_learns_a_language_in_which_words_say_their_heads(
    trained: TrainedTask,
) -> None:
    figures = {metric.name: metric.value for metric in trained.metrics}
    assert figures["las"] > 0.9
    assert figures["uas"] >= figures["las"]
    assert trained.table.metric == "las"
    assert {row.head.depths for row in trained.table.rows} == {(0,), (1,), (0, 1)}
    assert "biaffine 16+8" in trained.table.render()
    assert trained.spec.calibration.temperature == 1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_parser(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    options = training_options(**QUICK | {"epochs": 2}, cache_dir=folder / "cache")
    one, other = (
        train(
            tree_rows(40),
            task="tree",
            options=options,
            registry=None,
            backbone=tiny_backbone,
            encoder=tiny_encoder,
        )
        for _ in range(2)
    )
    assert one.table.rows == other.table.rows
    assert all(tensor.equal(other.tensors[name]) for name, tensor in one.tensors.items())


@pytest.mark.slow
def test_the_saved_parser_scores_beside_others_and_is_evaluated(
    trained: TrainedTask, folder: Path
) -> None:
    hub = Hub(folder / "registry.yaml", device="cpu")
    (words,) = hub.score("she was good day 中国", "tree")["tree"].answers
    assert [word["word"] for word in words][-1] == "中国"
    assert words[1]["relation"] == "root"
    assert [word["head"] for word in words].count(0) == 1
    rows = tree_rows(30, seed=5)
    file = write_rows(folder / "test.jsonl", rows)
    dataset = read_for_task(file, trained.spec, training_options())
    assert dataset.roles == {"tokens": "tokens", "heads": "head", "target": "deprel"}
    scores = hub.score([{"text": text} for (text,) in dataset.inputs], "tree")["tree"]
    figures = {metric.name: metric.value for metric in evaluate(trained.spec, scores, dataset)}
    assert set(figures) == {"las", "uas", "word_f1"}
    assert figures["las"] > 0.85
    renamed = [{"w": row["tokens"], "up": row["head"], "r": row["deprel"]} for row in rows]
    found = hub.evaluate(renamed, "tree", tokens="w", heads="up", target="r")["tree"]
    assert {metric.name: metric.value for metric in found.metrics} == figures


def test_a_parser_has_its_own_metrics(tiny_backbone: Backbone) -> None:
    with pytest.raises(UsageError, match="las or uas"):
        train(
            tree_rows(40),
            task="tree",
            options=training_options(metric="accuracy"),
            registry=None,
            backbone=tiny_backbone,
        )


@pytest.mark.slow
def test_an_adapter_trains_with_a_parser(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    adapter = {"method": "lora", "from_depth": 1, "rank": 4, "epochs": 12, "batch_size": 4}
    options = {**QUICK, "depths": (2,), "epochs": 1, "cache_dir": folder / "cache"}
    tuned = train(
        tree_rows(100),
        task="tuned",
        options={**options, "adapter": {**adapter, "head_learning_rate": 0.01}},
        registry=folder / "registry.yaml",
        backbone=tiny_backbone,
        encoder=tiny_encoder,
    )
    assert tuned.spec.adapter is not None
    assert tuned.spec.head.arc_width == 16
    figures = {metric.name: metric.value for metric in tuned.metrics}
    alone, trained = tuned.table.rows
    assert figures["las"] > 0.8 > alone.value
    assert trained.value == pytest.approx(figures["las"], abs=0.05)
    hub = Hub(folder / "registry.yaml", device="cpu")
    scores = hub.score("she was good day", ["tree", "tuned"])
    assert len(scores["tuned"].answers[0]) == len(scores["tree"].answers[0]) == 4
