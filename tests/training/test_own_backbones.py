"""Backbones that training makes: written with their task, both or neither."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from adapterhub import Hub, saving
from adapterhub.errors import (
    BackboneError,
    BackboneMismatchError,
    RegistryError,
    SaveError,
    UsageError,
)
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone, write_backbone
from adapterhub.store.editing import unlisted_files
from adapterhub.store.registry import read_registry
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.options import TrainingOptions
from adapterhub.training.prepare import prepare
from adapterhub.training.train import train
from tests.tiny import save_backbone
from tests.training.rows import sentiment_rows

pytest.importorskip("sklearn")

WORDS = "embeddings.word_embeddings.weight"

pytestmark = pytest.mark.slow


def tuned(folder: Path, backbone: Any, registry: Path | None = None) -> TrainedTask:
    options = TrainingOptions(
        tune="embeddings",
        epochs=1,
        learning_rates=(0.01,),
        weight_decays=(0.01,),
        hidden_widths=(),
        mixes=False,
        poolings=("mean",),
        ngrams=False,
        cache_dir=folder / "cache",
    )
    return train(
        sentiment_rows(), task="new", options=options, backbone=backbone, registry=registry
    )


@pytest.fixture(scope="module")
def trained(tiny_backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> TrainedTask:
    return tuned(tmp_path_factory.mktemp("tuned"), tiny_backbone)


def score(registry: Path, backbone: str | None = None) -> object:
    hub = Hub(registry, device="cpu", backbone=backbone)
    return hub.score(["the food was good"], tasks=["new"])["new"][0]


def test_a_task_in_memory_is_saved_with_its_backbone(trained: TrainedTask, tmp_path: Path) -> None:
    registries = [tmp_path / name / "registry.yaml" for name in ("one", "two")]
    for registry in registries:
        saved = trained.save(registry)
        assert saved.backbone.source == "./backbones/new-1"
        assert trained.save(registry).version == 1, "the same bytes are no new version"
        assert [path.name for path in (registry.parent / "backbones").iterdir()] == ["new-1"]
    assert score(registries[0]) == score(registries[1])
    assert unlisted_files(registries[0]) == []
    shutil.copytree(tmp_path / "one/backbones/new-1", tmp_path / "one/backbones/new-2")
    assert unlisted_files(registries[0]) == [tmp_path / "one/backbones/new-2"]
    # A registry is moved with its folder.
    shutil.move(tmp_path / "one", tmp_path / "moved")
    assert score(tmp_path / "moved") == score(registries[1])


def test_it_stands_beside_other_backbones(trained: TrainedTask, tiny_registry: Path) -> None:
    taken = tiny_registry.parent / "backbones" / "new-1"
    taken.mkdir(parents=True)
    (taken / "of somebody else").write_text("")
    saved = trained.save(tiny_registry)
    assert (saved.entry.backbone, saved.backbone.source) == ("new-2", "./backbones/new-2")
    assert score(tiny_registry, "new-2") is not None
    others = Hub(tiny_registry, device="cpu")
    assert others.backbone.fingerprint != trained.backbone.spec.fingerprint
    assert others.score(["the food was good"], "sentiment")
    with pytest.raises(BackboneMismatchError, match="new-2"):
        others.load("new")
    again = TrainingOptions(tune="all")
    with pytest.raises(RegistryError, match=r"'new' is on the backbone 'new-2'.*another name"):
        prepare(
            sentiment_rows(), task="new", options=again, registry=tiny_registry, backbone="new-2"
        )
    hub = Hub(tiny_registry, device="cpu", backbone="new-2")
    with pytest.raises(UsageError, match=r"publish-backbone OWNER/NAME --backbone .*new-2"):
        hub.publish(["new"], "acme/heads", dry_run=True)


def test_a_folder_is_removed_though_another_one_has_the_same_weights(
    trained: TrainedTask, tmp_path: Path
) -> None:
    registry = tmp_path / "registry.yaml"
    with contextlib.suppress(KeyError), saving.written_backbones([trained.backbone], registry):
        # As another process would, which trained the same.
        trained.save(registry)
        raise KeyError
    assert [path.name for path in (tmp_path / "backbones").iterdir()] == ["new-2"]
    assert score(registry) is not None


@pytest.mark.parametrize("broken", ["add_versions", "write_backbone"])
def test_where_one_cannot_be_written_there_is_neither(
    broken: str,
    tiny_registry: Path,
    tiny_backbone: Backbone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = tiny_registry.read_bytes()

    def fails(*words: Any, **options: Any) -> Any:
        raise OSError(28, "No space left on device")

    where = saving if broken == "add_versions" else "adapterhub.model.backbone.open_backbone"
    with monkeypatch.context() as patch:
        if broken == "add_versions":
            patch.setattr(where, broken, fails)
        else:
            patch.setattr(f"{where}.{broken}", fails)
        with pytest.raises(SaveError, match="No space left") as caught:
            tuned(tmp_path, tiny_backbone, tiny_registry)
    assert tiny_registry.read_bytes() == before
    assert not (tiny_registry.parent / "backbones").exists()
    assert not (tiny_registry.parent / "heads" / "new.safetensors").exists()
    caught.value.trained.save(tiny_registry)
    assert "new" in read_registry(tiny_registry).tasks
    monkeypatch.chdir(tmp_path)
    elsewhere = saving.write_elsewhere(caught.value.trained)
    assert elsewhere == tmp_path / "new" / "registry.yaml"
    assert score(elsewhere) == score(tiny_registry, "new-1")


def test_files_in_half_precision_are_written_in_full(tmp_path: Path) -> None:
    from transformers import AlbertModel

    folder = save_backbone(tmp_path / "half")
    AlbertModel.from_pretrained(folder).half().save_pretrained(folder)
    # Files of language models may have the table of words a second time, as the output layer.
    tensors = load_file(folder / "model.safetensors")
    output = {"predictions.decoder.weight": tensors[WORDS].clone()}
    save_file({**tensors, **output}, folder / "model.safetensors", metadata={"format": "pt"})
    trained = tuned(tmp_path, open_backbone(folder))
    (tmp_path / "out").mkdir()
    write_backbone(trained.backbone, tmp_path / "out")
    model = AlbertModel.from_pretrained(tmp_path / "out")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    for name, tensor in trained.backbone.weights.items():
        assert torch.equal(model.state_dict()[name], tensor), name
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(written["predictions.decoder.weight"], trained.backbone.weights[WORDS])
    # A base that changed meanwhile would give another encoder.
    save_backbone(folder, seed=1)
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", encoding="utf-8")
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(BackboneError):
        write_backbone(trained.backbone, tmp_path / "out")
