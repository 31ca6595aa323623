"""Prototypes from a few examples: the tap, what is measured, and what is refused."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapterhub import Hub, train_tasks
from adapterhub.errors import DataError, UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.heads.prototypes.cosines import directions
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.heads.prototypes.means import Means
from adapterhub.training.kinds.prototype import TEMPERATURE
from adapterhub.training.option_files import read_descriptions
from adapterhub.training.options import training_options
from adapterhub.training.train import train
from tests.training.rows import Rows, sentiment_rows, write_rows

_WORDS = {"food": ("food", "the food"), "place": ("city", "the city")}


def topic_rows(count: int, seed: int = 0) -> Rows:
    """Returns rows whose label follows from most of their words."""
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        label = ("food", "place")[index % 2]
        words = [draw.choice(_WORDS[label]) for _ in range(4)]
        rows.append({"text": f"{' and '.join(words)} {index}", "label": label})
    return rows


FEW = topic_rows(12)
HELD_OUT = topic_rows(24, seed=7)
ONE_EACH = [
    {"text": "good food", "label": "food"},
    {"text": "a bad city", "label": "place"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prototypes")


def trained_on(
    rows: object, folder: Path, backbone: Backbone, encoder: Encoder, **options: Any
) -> TrainedTask:
    return train(
        rows,
        task=str(options.pop("task", "few")),
        options=training_options(kind="prototype", cache_dir=folder / "cache", **options),
        registry=folder / str(options.get("seed", "registry")) / "registry.yaml",
        backbone=backbone,
        encoder=encoder,
    )


def test_few_examples_make_a_task(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    task = trained_on(FEW, folder, tiny_backbone, tiny_encoder, examples=("a good day",))
    spec = task.spec
    assert (spec.kind, spec.labels, spec.fields) == (
        "prototype",
        ("food", "place"),
        ("text",),
    )
    assert {(one.split, one.rows, one.used_for) for one in spec.metrics} == {
        ("leave-one-out", 12, ("selection", "calibration"))
    }
    assert {one.name for one in spec.metrics} == {"accuracy", "macro_f1", "mcc", "ece"}
    record = spec.training
    assert record is not None
    assert (record.rows, record.epochs, record.learning_rate) == (12, 0, 0)
    assert record.validation_digest is None
    assert record.edits == ()
    assert task.tensors["head.counts"].tolist() == [6, 6]
    assert spec.diagnostics is not None
    assert spec.diagnostics.split == "leave-one-out"
    assert "prototypes" in task.table.render()
    hub = Hub(folder / "registry/registry.yaml", device="cpu")
    shown = hub.score("a good day", ["few"]).to_columns()["few.label"]
    assert [one.labels[0].label for one in spec.examples] == shown
    scored = hub.score([row["text"] for row in HELD_OUT], ["few"], logits=True)
    logits, columns = scored["few"].logits, scored.to_columns()
    assert isinstance(logits, np.ndarray)
    assert np.abs(logits).max() <= 1
    scores = np.exp(logits / spec.calibration.temperature)
    scores /= scores.sum(1, keepdims=True)
    assert columns["few.score"] == pytest.approx(scores.max(1), abs=1e-6)
    pairs = zip(columns["few.label"], HELD_OUT, strict=True)
    right = [label == row["label"] for label, row in pairs]
    assert np.mean(right) > 0.7
    measured = hub.evaluate(HELD_OUT, "few")["few"]
    assert {one.name: one.value for one in measured.metrics}["accuracy"] == pytest.approx(
        np.mean(right)
    )
    ranked = hub.score("a good day", ["few"], top_k=None).to_columns()["few.labels"][0]
    assert [one["label"] for one in ranked] == sorted(spec.labels, key=lambda one: one != shown[0])  # type: ignore[attr-defined]


def test_an_example_is_left_out_of_its_own_label_only() -> None:
    draw = torch.Generator().manual_seed(0)
    features, labels = torch.randn(9, 8, generator=draw), np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    groups = (0, 1, 2, 3, 3, 4, 5, 6, 3)  # rows 3, 4 and 8 have one text, of two labels
    means = Means.of(features, labels, 3)
    found = means.without_own(range(9), groups)
    units = directions(features.numpy(), means.center)
    for row in range(9):
        for label in range(3):
            others = [
                units[other]
                for other in range(9)
                if labels[other] == label and groups[other] != groups[row]
            ]
            whole = np.sum(others, 0)
            assert found[row, label] == pytest.approx(units[row] @ whole / np.linalg.norm(whole))


def test_without_two_examples_of_any_label_there_are_no_figures(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    task = trained_on(ONE_EACH, folder, tiny_backbone, tiny_encoder, task="two")
    assert task.spec.metrics == task.metrics == ()
    assert task.spec.diagnostics is None
    assert task.comparison is None
    assert task.spec.calibration.temperature == TEMPERATURE
    assert task.spec.head.depths == (3,)
    assert task.spec.head.pooling == "mean"
    assert "There are no figures" in task.table.render()
    hub = Hub(folder / "registry/registry.yaml", device="cpu")
    texts = [row["text"] for row in ONE_EACH]
    found = hub.score(texts, ["two"]).to_columns()["two.label"]
    assert list(found) == ["food", "place"]


def test_descriptions_are_examples_that_are_never_measured(tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text("neutral: it is a day\nfood: 'it is good'\n", encoding="utf-8")
    rows = [*FEW, {"text": "It is a day", "label": "neutral"}]
    options = training_options(kind="prototype", descriptions=read_descriptions(path))
    splits = read_splits(rows, options)
    assert splits.train.labels == ("food", "neutral", "place")
    assert splits.train.inputs[-2:] == (("it is a day",), ("it is good",))
    assert splits.train.targets[-2:] == ("neutral", "food")
    # The one text of `neutral` is its description.
    assert splits.left_out == tuple(range(12))
    assert splits.validation.inputs == splits.train.inputs[:12]


def test_labels_may_have_descriptions_alone(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder, tmp_path: Path
) -> None:
    rows = [{"label": row["label"], "description": row["text"]} for row in ONE_EACH]
    path = write_rows(tmp_path / "labels.jsonl", rows)
    task = trained_on(path, folder, tiny_backbone, tiny_encoder, task="described")
    assert task.spec.labels == ("food", "place")
    record = task.spec.training
    assert record is not None
    assert record.columns is None  # texts are scored, not descriptions
    described = {row["label"]: row["text"] for row in ONE_EACH}
    texts = [{"text": "it is late", "label": "late"}]
    more = trained_on(
        texts, folder, tiny_backbone, tiny_encoder, task="more", descriptions=described
    )
    assert more.spec.labels == ("food", "late", "place")


def test_rows_may_be_held_out(folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder) -> None:
    task = trained_on(
        FEW, folder, tiny_backbone, tiny_encoder, task="held", validation=HELD_OUT, test=FEW[:4]
    )
    assert [(one.split, one.rows) for one in task.spec.metrics][::4] == [
        ("test", 4),
        ("validation", 24),
    ]
    assert task.metrics[0].seen == 4
    record = task.spec.training
    assert record is not None
    assert record.validation_digest is not None


def test_a_prototype_task_is_trained_among_others(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    options = {"depths": (2,), "cache_dir": folder / "cache"}
    tasks = train_tasks(
        {"few": {**options, "kind": "prototype"}, "whole": {**options, "epochs": 1}},
        data=sentiment_rows(40),
        registry=None,
        backbone=tiny_backbone,
        encoder=tiny_encoder,
    )
    assert [task.spec.kind for task in tasks.values()] == ["prototype", "single_label"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"epochs": 3}, "Option epochs is for heads whose weights are fitted"),
        ({"hidden_widths": (64,)}, "Option hidden_widths"),
        ({"folds": 3}, "Option folds"),
        ({"ngrams": True}, "Option ngrams"),
        ({"ngrams": False, "mixes": False, "hidden_widths": ()}, None),
        ({"adapter": {"method": "lora"}}, "trains no adapter"),
        ({"tune": "top:1"}, "Option tune"),
        ({"pair": "other"}, "a prototype task reads one"),
        ({"metric": "spearman"}, "is chosen by"),
        ({"descriptions": {"food": " "}}, "the sentence of 'food'"),
        ({"descriptions": {"": "x"}}, "the label of ''"),
        ({"descriptions": {"food ": "x"}, "none_label": "food"}, "'food ' is the none_label"),
    ],
)
def test_options_that_do_not_apply_are_refused(
    options: dict[str, Any], problem: str | None
) -> None:
    def read() -> None:
        read_splits(FEW, training_options(kind="prototype", **options))

    if problem is None:
        read()
        return
    with pytest.raises(UsageError, match=problem):
        read()


def test_descriptions_are_for_prototypes() -> None:
    with pytest.raises(UsageError, match=r"Option descriptions .* is for prototypes"):
        read_splits(FEW, training_options(descriptions={"food": "a good day"}))


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (ONE_EACH[:1], "1 training rows; 2 or more"),
        ([ONE_EACH[0], {**ONE_EACH[0], "text": "day"}], "only the label 'food'"),
        ([ONE_EACH[0], {**ONE_EACH[0], "label": "x"}], "the same text"),
    ],
)
def test_too_little_is_refused(rows: Rows, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read_splits(rows, training_options(kind="prototype"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no sentences by label"),
        ("- a\n", "no sentences by label"),
        ("a: 3\n", "the description of 'a' is 3"),
        ("a: [b]\n", "the description of 'a'"),
        ("a: b\na: c\n", "line 2: it is no YAML or JSON of sentences by label"),
    ],
)
def test_files_of_descriptions_are_checked(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=problem):
        read_descriptions(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_descriptions(tmp_path / "nothing.yaml")


def test_a_label_without_example_is_refused(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    rows = [*FEW, {"text": "a day", "label": "rare"}]
    options = {"validation_fraction": 0.3, "max_rows": 4}
    with pytest.raises(UsageError, match=r"Label '.*' has no example among the 4"):
        trained_on(rows, folder, tiny_backbone, tiny_encoder, task="cut", **options)


def test_a_minimum_of_confidence_needs_rows_to_choose_by() -> None:
    with pytest.raises(DataError, match="no label has two examples"):
        read_splits(ONE_EACH, training_options(kind="prototype", min_accuracy=0.9))
