"""Labels are added, renamed and dropped: the next version, with the other labels as they were."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import adapterhub.labels.edit as edit
from adapterhub import Hub, add_labels, drop_labels, rename_label, train
from adapterhub.errors import RegistryError, UnknownTaskError, UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.remote.find import find
from adapterhub.specs import TaskSpec
from adapterhub.store.registry import read_registry
from adapterhub.store.versions import add_version
from tests.adapters import adapter_task, config_of, make_adapter

_FEW = (
    "a good day",
    "the day is late and not very good " * 40,
    "food",
    "the city was late and very bad",
    "she is not early",
    "it",
)
TEXTS = (*_FEW, *(f"{word} day {n}" for n in range(20) for word in ("good", "bad", "food")))
ROWS = [
    (f"{words} {number}", label)
    for label, words in (("food", "good food"), ("place", "the city"), ("time", "a late day"))
    for number in range(3)
]


@pytest.fixture(scope="module")
def _original(tmp_path_factory: pytest.TempPathFactory, tiny_backbone_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    shutil.copytree(tiny_backbone_folder, folder / "backbone")
    options = {"kind": "prototype", "cache_dir": folder / "cache", "examples": ("good food",)}
    registry = folder / "registry.yaml"
    backbone = folder / "backbone"
    train(ROWS, task="topics", options=options, registry=registry, backbone=backbone)
    return registry


@pytest.fixture
def registry(_original: Path, tmp_path: Path) -> Path:
    shutil.copytree(_original.parent, tmp_path / "registry")
    return tmp_path / "registry" / "registry.yaml"


@pytest.fixture
def hub(registry: Path) -> Hub:
    return Hub(registry, device="cpu")


def similarities(hub: Hub, name: str = "topics", texts: Sequence[str] = TEXTS) -> Any:
    hub.load(name)
    found = hub.score(texts, [name], logits=True)[name].logits
    assert isinstance(found, np.ndarray)
    return found


def spec_of(registry: Path, name: str = "topics") -> TaskSpec:
    return find(name, registry).spec


@pytest.mark.parametrize("rows", [1, 2, 7, 64])
def test_added_labels_leave_the_others_bit_identical(hub: Hub, registry: Path, rows: int) -> None:
    texts = TEXTS[:rows]
    before = similarities(hub, texts=texts)
    saved = add_labels("topics", {"film": ["a film", "the film"], "she": ["she was"]}, hub=hub)
    assert (saved.task, saved.version) == ("topics", 2)
    again = Hub(registry, device="cpu")
    assert spec_of(registry).labels == ("food", "place", "time", "film", "she")
    after = similarities(again, texts=texts)
    assert after.shape == (rows, 5)
    assert np.array_equal(after[:, :3], before)
    assert np.array_equal(similarities(again, "topics:1", texts), before)  # it never changes
    drop_labels("topics", ["place", "film"], registry=registry)
    assert spec_of(registry).labels == ("food", "time", "she")
    assert np.array_equal(similarities(Hub(registry), texts=texts), after[:, [0, 2, 4]])
    rename_label("topics", "food", "meals", registry=registry)
    assert spec_of(registry).labels == ("meals", "time", "she")
    assert np.array_equal(similarities(Hub(registry), texts=texts), after[:, [0, 2, 4]])
    assert read_registry(registry).resolve("topics").version == 4


def test_a_new_label_is_predicted(hub: Hub) -> None:
    add_labels("topics", {"film": ["a film", "the film"]}, hub=hub)
    hub.load("topics")
    found = hub.score(["a film", "good food 1"], ["topics", "topics:1"])
    assert list(found.to_columns()["topics.label"]) == ["film", "food"]
    assert "film" not in list(found.to_columns()["topics:1.label"])


def test_a_label_may_have_a_description_alone(registry: Path) -> None:
    saved = add_labels("topics", descriptions={"film": "a film"}, registry=registry)
    assert saved.version == 2
    found = Hub(registry, device="cpu").score("a film", ["topics"])
    assert found.to_columns()["topics.label"] == ["film"]


def test_more_examples_are_a_running_mean(hub: Hub, registry: Path) -> None:
    both = ["a film", "it is the film", "she was early"]
    add_labels("topics", {"one": both[:1], "all": both}, hub=hub)
    add_labels("topics", {"one": both[1:]}, extend=True, hub=hub)
    head = find("topics", registry).load()
    assert head.tensors["head.counts"].tolist() == [3, 3, 3, 3, 3]
    one, whole = head.tensors["head.prototypes"][-2:]
    assert torch.allclose(one, whole, atol=1e-6)
    assert head.spec.training is not None
    assert [(e.action, e.labels, e.rows) for e in head.spec.training.edits] == [
        ("added", ("one", "all"), 4),
        ("extended", ("one",), 2),
    ]


def test_the_record_stays_true(hub: Hub, registry: Path) -> None:
    first = spec_of(registry)
    assert first.training is not None
    assert first.metrics
    assert first.diagnostics is not None
    rename_label("topics", "food", "meals", registry=registry)
    renamed = spec_of(registry)
    assert (renamed.metrics, renamed.diagnostics) == (first.metrics, first.diagnostics)
    assert [one.labels[0].label for one in renamed.examples] == ["meals"]
    assert {label for known in renamed.known_answers for label in known.answers} <= set(
        renamed.labels
    )
    add_labels("topics", {"film": ["a film"]}, hub=hub)
    added = spec_of(registry)
    assert added.metrics == ()
    assert added.diagnostics is None
    assert added.calibration == first.calibration
    assert [one.inputs for one in added.examples] == [("good food",)]
    assert [one.inputs for one in added.known_answers] == [o.inputs for o in first.known_answers]
    drop_labels("topics", "meals", registry=registry, hub=hub)
    dropped = spec_of(registry)
    assert dropped.metrics == ()
    assert dropped.training is not None
    changed = {"edits": ()}
    assert dropped.training.model_copy(update=changed) == first.training
    assert [(e.action, e.labels, e.rows) for e in dropped.training.edits] == [
        ("renamed", ("food", "meals"), 0),
        ("added", ("film",), 1),
        ("dropped", ("meals",), 0),
    ]
    assert [e.data_digest is None for e in dropped.training.edits] == [True, False, True]
    assert [one.labels[0].label for one in dropped.examples] != ["meals"]
    Hub(registry, device="cpu").load("topics")  # recomputes its known answers


def test_an_older_version_can_be_the_start(hub: Hub, registry: Path) -> None:
    add_labels("topics", {"film": ["a film"]}, hub=hub)
    saved = add_labels("topics:1", {"she": ["she was"]}, hub=hub)
    assert saved.version == 3
    assert spec_of(registry).labels == ("food", "place", "time", "she")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda r: add_labels("topics", {"food": ["x"]}, registry=r), "has a label 'food' already"),
        (
            lambda r: add_labels("topics", {"fod": ["x"]}, extend=True, registry=r),
            "no label 'fod'.*Did you mean 'food'",
        ),
        (lambda r: add_labels("topics", {"x": []}, registry=r), "no example and no description"),
        (lambda r: add_labels("topics", registry=r), "no label to add"),
        (lambda r: add_labels("topics", {"x": [" "]}, registry=r), r"of label 'x' is empty\.$"),
        (lambda r: add_labels("topics", {"x": ["\u200b"]}, registry=r), "of label 'x'"),
        (lambda r: rename_label("topics", "fod", "x", registry=r), "no label 'fod'"),
        (lambda r: rename_label("topics", "food", "time", registry=r), "has a label 'time'"),
        (lambda r: drop_labels("topics", "fod", registry=r), "no label 'fod'"),
        (lambda r: drop_labels("topics", ["food", "time"], registry=r), "would have 1 label"),
        (lambda r: drop_labels("topics", [], registry=r), "no label to drop"),
        (lambda r: drop_labels("./a.safetensors", "x", registry=r), "is a file"),
        (lambda r: drop_labels("a/b:topics", "x"), "is on the Hub"),
        (lambda r: drop_labels("shipped:sentiment-en", "x"), "are not changed"),
    ],
)
def test_what_cannot_be_changed_is_refused(registry: Path, change: Any, problem: str) -> None:
    before = registry.read_bytes()
    with pytest.raises(UsageError, match=problem):
        change(registry)
    assert registry.read_bytes() == before
    assert len(list((registry.parent / "heads").iterdir())) == 1


def test_tasks_of_other_kinds_are_refused(tiny_registry: Path) -> None:
    with pytest.raises(UsageError, match=r"'sentiment' is single_label.*--kind prototype"):
        drop_labels("sentiment", "positive", registry=tiny_registry)
    with pytest.raises(UnknownTaskError, match="Did you mean 'sentiment'"):
        drop_labels("sentimant", "positive", registry=tiny_registry)


def test_another_version_meanwhile_is_no_lost_label(
    hub: Hub, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = edit._save

    def slow(edited: Any, head: Any, context: Any) -> Any:
        monkeypatch.setattr(edit, "_save", save)
        add_labels("topics", {"she": ["she was"]}, hub=hub)
        return save(edited, head, context)

    monkeypatch.setattr(edit, "_save", slow)
    with pytest.raises(RegistryError, match="has version 2 since its version 1 was read"):
        add_labels("topics", {"film": ["a film"]}, hub=hub)
    assert spec_of(registry).labels == ("food", "place", "time", "she")


def test_a_renamed_task_keeps_its_new_name(hub: Hub, registry: Path) -> None:
    from adapterhub import rename_task

    rename_task("topics", "subjects", registry=registry)
    saved = add_labels("subjects", {"film": ["a film"]}, hub=hub, registry=registry)
    assert (saved.task, saved.version) == ("subjects", 2)
    assert spec_of(registry, "subjects").task == "subjects"


def test_prototypes_read_the_adapter_of_another_task(
    registry: Path, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    _, adapter = make_adapter(tiny_backbone, config_of("Lora", (2, 3), r=2))
    spec, tensors = adapter_task(tiny_backbone, adapter, task="lora", depths=(4,))
    (entry,) = read_registry(registry).backbones.values()
    add_version(registry, spec, tensors, backbone_key="backbone", backbone_entry=entry)
    options = {"kind": "prototype", "adapter_of": "lora", "cache_dir": tmp_path / "cache"}
    train(ROWS, task="few", options=options, registry=registry)
    few = spec_of(registry, "few")
    assert few.adapter == spec.adapter
    assert {metric.split for metric in few.metrics} == {"leave-one-out"}
    hub = Hub(registry, device="cpu")
    before = similarities(hub, "few")
    assert hub.explain(["few", "lora", "topics"]).trunks[0].branches[0].tasks == ("few", "lora")
    add_labels("few", {"film": ["a film", "the film"]}, hub=hub)
    assert np.array_equal(similarities(hub, "few")[:, :3], before)
    assert hub.score("a film", ["few"]).to_columns()["few.label"] == ["film"]


def test_a_minimum_of_confidence_is_dropped_with_its_figures(
    registry: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"kind": "prototype", "none_label": "none", "cache_dir": tmp_path / "cache"}
    rows = [*ROWS, *((f"it is not {number}", "none") for number in range(4))]
    train(rows, task="few", options=options, registry=registry)
    found = spec_of(registry, "few").abstention
    assert found is not None
    assert (found.split, found.rows, found.outside) == ("leave-one-out", 9, 4)
    with pytest.raises(UsageError, match="'none' means none of the labels"):
        rename_label("few", "food", "none", registry=registry)
    rename_label("few", "food", "meals", registry=registry)
    assert spec_of(registry, "few").abstention == found
    drop_labels("few", "meals", registry=registry)
    assert spec_of(registry, "few").abstention is None
    assert "its new version always answers" in caplog.text


def test_a_task_that_always_answered_loses_no_minimum(
    registry: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"kind": "prototype", "min_accuracy": 0.01, "cache_dir": tmp_path / "cache"}
    train(ROWS, task="few", options=options, registry=registry)
    found = spec_of(registry, "few").abstention
    assert found is not None
    assert found.min_confidence == 0
    drop_labels("few", "food", registry=registry)
    assert spec_of(registry, "few").abstention is None
    assert "always answers" not in caplog.text
