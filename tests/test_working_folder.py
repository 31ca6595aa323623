"""What a relative path names does not change with the working folder of the process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterhub import ImportOptions, import_task, train
from adapterhub.errors import HeadFileError, UsageError
from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.peft.export_folder import export_peft
from adapterhub.remote.calls import current_place
from adapterhub.remote.find import find
from adapterhub.store.headfile import write_head
from adapterhub.store.references import absolute
from adapterhub.store.registry import registry_to_write, shipped_registry
from adapterhub.training.options import TrainingOptions, cache_folder
from tests.builders import head_tensors
from tests.tiny import add_task, save_backbone, tiny_task


def write_file(path: Path, backbone: Backbone, *, labels: tuple[str, str]) -> None:
    """Writes a head file with a task of its own two labels."""
    path.parent.mkdir(exist_ok=True)
    spec = tiny_task(backbone, "single_label", task="own", labels=labels)
    write_head(path, spec, head_tensors(spec, 0))


@pytest.fixture
def two_folders(
    tiny_registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path]:
    """Returns two folders with a registry each; `own` has other labels in each of them."""
    here, there = tiny_registry.parent, tmp_path / "there"
    shutil.copytree(here, there)
    hub = Hub(tiny_registry, device="cpu")
    backbone = open_backbone(here / "backbone")
    for folder, labels in ((here, ("no", "yes")), (there, ("ham", "spam"))):
        spec = tiny_task(backbone, "single_label", task="own", labels=labels)
        path = folder / "registry.yaml"
        add_task(path, spec, encoder=hub.encoder, tokenizer=hub.tokenizer)
        write_file(folder / "own.safetensors", backbone, labels=labels)
    monkeypatch.chdir(here)
    return here, there


def label(hub: Hub, task: str) -> str:
    (answer,) = hub.score("a good day", tasks=task)[task]
    assert isinstance(answer, dict)
    return str(answer["label"])


@pytest.mark.parametrize("registry", ["registry.yaml", ".", "../registry/registry.yaml", None])
@pytest.mark.slow
def test_a_hub_stays_with_its_registry(
    two_folders: tuple[Path, Path], registry: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(registry, device="cpu")
    monkeypatch.chdir(two_folders[1])
    assert hub.registry_path.is_absolute()
    assert label(hub, "own") in ("no", "yes")
    assert hub.spec("own").labels == ("no", "yes")
    assert "own" in [task.name for task in hub.tasks()]
    hub.load("topics", "own:1")


def test_a_hub_in_the_folder_of_a_link(
    two_folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = two_folders[1] / "deep"
    deep.mkdir()
    (tmp_path / "registry" / "link").symlink_to(deep)
    hub = Hub("link/../registry.yaml", device="cpu")
    monkeypatch.chdir(tmp_path)
    assert label(hub, "own") in ("ham", "spam")


def test_a_relative_file_is_the_one_of_the_folder_at_the_call(
    two_folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = two_folders
    hub = Hub(here, device="cpu")
    name = "./own.safetensors"
    assert label(hub, name) in ("no", "yes")
    assert hub.tasks()
    monkeypatch.chdir(there)
    assert hub.spec(name).labels == ("ham", "spam")
    assert label(hub, name) in ("ham", "spam")
    assert label(hub, str(here / "own.safetensors")) in ("no", "yes")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HeadFileError):
        hub.score("a good day", tasks=name)
    with pytest.raises(UsageError, match="not resident"):
        hub.unload(name)
    monkeypatch.chdir(here)
    hub.unload(name)


def test_an_output_is_written_where_it_was_named(
    two_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = two_folders

    def rows() -> Iterator[str]:
        yield "a good day"
        monkeypatch.chdir(there)
        yield "a bad day"

    hub = Hub(".", device="cpu")
    done = hub.score_file(rows(), "out.csv", tasks=["./own.safetensors", "own"])
    assert done.path == Path("out.csv")
    written = (here / "out.csv").read_text()
    assert "yes" in written or "no" in written
    assert not (there / "out.csv").exists()


def test_the_name_of_a_version_is_absolute(two_folders: tuple[Path, Path]) -> None:
    path = registry_to_write(".")
    assert find("./own.safetensors", path).pinned == str(two_folders[0] / "own.safetensors")
    assert find("own@prod", path).pinned == "own:1"
    assert absolute("owner/repo:own") == "owner/repo:own"


def test_folders_of_caches_are_absolute(
    two_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = two_folders
    monkeypatch.setenv("HF_HUB_CACHE", "hub-cache")
    monkeypatch.setenv("ADAPTERHUB_CACHE", "features-cache")
    monkeypatch.setenv("HOME", str(here / "home"))
    assert current_place().cache == here / "hub-cache"
    assert cache_folder(TrainingOptions()) == here / "features-cache" / "features"
    assert cache_folder(TrainingOptions(cache_dir=Path("own"))) == here / "own"
    monkeypatch.setenv("ADAPTERHUB_CACHE", "~/cache")
    assert cache_folder(TrainingOptions()) == here / "home" / "cache" / "features"


@pytest.mark.slow
def test_training_stays_with_its_backbone_while_it_reads_rows(
    two_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    class Rows(list[dict[str, str]]):
        def __iter__(self) -> Iterator[dict[str, str]]:
            os.chdir(there)
            return super().__iter__()

    here, there = two_folders
    save_backbone(there / "backbone", seed=3)
    rows = Rows({"text": f"a good day {n}", "label": str(n % 2)} for n in range(24))
    options = TrainingOptions(
        epochs=1, depths=(2,), hidden_widths=(), ngrams=False, folds=0, cache_dir=tmp_path / "cache"
    )
    trained = train(rows, task="mine", registry=None, backbone="./backbone", options=options)
    assert trained.backbone.spec == open_backbone(here / "backbone").spec


def test_a_removed_working_folder(
    tmp_path: Path, tiny_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    hub = Hub(tiny_registry, device="cpu")
    monkeypatch.chdir(gone)
    os.rmdir(gone)
    assert len(hub.score("a good day", tasks="sentiment")["sentiment"]) == 1
    for call in (
        lambda: hub.score("a good day", tasks="./own.safetensors"),
        lambda: Hub("registry.yaml"),
        lambda: open_backbone("./backbone"),
        lambda: train("data.csv", task="own", registry=None),
        lambda: train([("a", "b")], task="own", registry=None, backbone="./backbone"),
        lambda: import_task("./folder", task="own", options=ImportOptions(), registry=None),
        lambda: export_peft(find("sentiment", tiny_registry).load(), "./out"),
    ):
        with pytest.raises(UsageError, match="working folder was removed"):
            call()


def test_the_shipped_registry_is_absolute() -> None:
    assert shipped_registry().is_absolute()
